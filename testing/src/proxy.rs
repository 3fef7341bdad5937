//! A proxy between a program and its server that does harm on command, and counts the harm.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What is wrong with the network. A new fault holds for connections that are open already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Open connections end, new ones are closed at once.
    Cut,
    /// Every piece of an answer comes so much later.
    Delay(Duration),
    /// Answers come a byte at a time with these pauses.
    Trickle(Duration),
    /// Every answer comes so much later, and all connections together carry no more than so many
    /// bytes a second.
    Slow(Duration, u64),
    /// Nothing arrives any more in either direction, and no connection ends.
    BlackHole,
    /// The answer to the next request that contains these bytes is lost with its connection:
    /// the server has done what was asked. Happens once.
    LoseAnswer(Vec<u8>),
    /// Each HTTP request that contains these bytes in its head is answered with this status
    /// and not passed on.
    Status(u16, Vec<u8>),
    /// Requests have the first bytes replaced by the second, which are as many.
    Rewrite(&'static [u8], &'static [u8]),
}

/// A proxy in front of one server; ends when dropped.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    fired: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<String>>>,
    runtime: Option<Runtime>,
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub fn start(server: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("proxy")
            .enable_all()
            .build()
            .expect("a runtime");
        // Not by the runtime, which must not wait inside of a test's own one.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a bound socket");
        let (fault, faults) = watch::channel(Fault::None);
        let fired = Arc::new(AtomicU64::new(0));
        let asked = Arc::default();
        let wire = Wire {
            fault: faults,
            heal: fault.clone(),
            fired: fired.clone(),
            free: Arc::default(),
            asked: Arc::clone(&asked),
        };
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listening socket");
            accept(listener, server, wire).await;
        });
        Self { address, fault, fired, asked, runtime: Some(runtime) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this is wrong.
    pub fn set(&self, fault: Fault) {
        self.fired.store(0, Ordering::SeqCst);
        self.fault.send_replace(fault);
    }

    /// How often harm was done since the last [`Proxy::set`]: connections cut or refused,
    /// pieces delayed, bytes trickled, pieces swallowed, answers lost, requests refused or
    /// rewritten.
    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::SeqCst)
    }

    /// The first lines of all HTTP requests that came, as `GET /path HTTP/1.1`; of those to S3 that
    /// delete several objects also `KEY key` for each.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until harm was done so often; panics when that takes too long.
    pub fn wait_until_fired(&self, times: u64) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.fired() < times {
            assert!(
                Instant::now() < deadline,
                "the fault did not fire: {:?}",
                *self.fault.borrow()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a connection must know.
#[derive(Clone)]
struct Wire {
    fault: watch::Receiver<Fault>,
    heal: watch::Sender<Fault>,
    fired: Arc<AtomicU64>,
    /// When a slow wire has carried all that it was given so far.
    free: Arc<Mutex<Option<Instant>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Wire {
    fn fire(&self) {
        self.fired.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes note of a piece that is the beginning of an HTTP request.
    fn note(&self, piece: &[u8]) {
        let line = piece.split(|&byte| byte == b'\r').next().unwrap_or_default();
        if line.ends_with(b" HTTP/1.1") {
            self.asked().push(String::from_utf8_lossy(line).into_owned());
        }
        if contains(piece, b"<Delete") {
            let text = String::from_utf8_lossy(piece);
            let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
            self.asked().extend(keys.map(|key| format!("KEY {key}")));
        }
    }

    fn asked(&self) -> MutexGuard<'_, Vec<String>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Fault {
        self.fault.borrow().clone()
    }

    /// Waits until a wire of so many bytes a second has carried these, too.
    async fn carry(&self, bytes: usize, rate: u64) {
        let took = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let until = free.map_or_else(Instant::now, |free| free.max(Instant::now())) + took;
            *free = Some(until);
            until
        };
        tokio::time::sleep_until(until.into()).await;
    }

    async fn until(&mut self, fault: impl FnMut(&Fault) -> bool) {
        // The proxy that sets faults lives longer than its connections.
        let _ = self.fault.wait_for(fault).await;
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, wire: Wire) {
    while let Ok((client, _)) = listener.accept().await {
        if wire.now() == Fault::Cut {
            wire.fire();
            continue;
        }
        let wire = wire.clone();
        tokio::spawn(async move {
            let Ok(server) = TcpStream::connect(server).await else { return };
            for stream in [&client, &server] {
                let _ = stream.set_nodelay(true);
            }
            let mut cut = wire.clone();
            tokio::select! {
                () = carry(client, server, wire) => (),
                () = cut.until(|fault| *fault == Fault::Cut) => cut.fire(),
            }
        });
    }
}

/// Whether something was asked that is not answered yet; not 0 when that answer is to be lost.
type Ends = (Arc<AtomicBool>, Arc<AtomicU64>);

/// Carries bytes both ways until one side ends.
async fn carry(client: TcpStream, server: TcpStream, wire: Wire) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let doomed = Arc::new(AtomicU64::new(0));
    let to_client = Arc::new(tokio::sync::Mutex::new(to_client));
    let ends = (Arc::new(AtomicBool::new(false)), doomed);
    tokio::select! {
        () = requests(from_client, to_server, to_client.clone(), wire.clone(), ends.clone()) => (),
        () = answers(from_server, to_client, wire, ends) => (),
    }
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    to_client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    mut wire: Wire,
    (asked, doomed): Ends,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match client.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let mut bytes = buffer[..read].to_vec();
        wire.note(&bytes);
        asked.store(true, Ordering::SeqCst);
        match wire.now() {
            Fault::BlackHole => {
                wire.fire();
                wire.until(|fault| *fault != Fault::BlackHole).await;
                // What went in does not come out again.
                return;
            }
            Fault::Slow(_, rate) => {
                wire.fire();
                wire.carry(read, rate).await;
            }
            Fault::LoseAnswer(to) if contains(&bytes, &to) => {
                // Once, even when several connections ask at the same time.
                let mine = wire.heal.send_if_modified(|fault| {
                    let armed = matches!(fault, Fault::LoseAnswer(_));
                    if armed {
                        *fault = Fault::None;
                    }
                    armed
                });
                doomed.store(mine.into(), Ordering::SeqCst);
            }
            Fault::Status(status, to) if contains(&bytes, &to) => {
                wire.fire();
                read_body(&mut client, &bytes).await;
                let answer = format!(
                    "HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let mut client = to_client.lock().await;
                let _ = client.write_all(answer.as_bytes()).await;
                let _ = client.shutdown().await;
                return;
            }
            Fault::Rewrite(from, to) => {
                let places: Vec<usize> = (0..bytes.len().saturating_sub(from.len() - 1))
                    .filter(|&at| bytes[at..at + from.len()].eq_ignore_ascii_case(from))
                    .collect();
                for at in places {
                    bytes[at..at + from.len()].copy_from_slice(to);
                    wire.fire();
                }
            }
            _ => (),
        }
        if server.write_all(&bytes).await.is_err() {
            break;
        }
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    client: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    mut wire: Wire,
    (asked, doomed): Ends,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match server.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        if doomed.load(Ordering::SeqCst) > 0 {
            wire.fire();
            return;
        }
        let is_first = asked.swap(false, Ordering::SeqCst);
        let mut client = client.lock().await;
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let piece = match wire.now() {
                Fault::BlackHole => {
                    wire.fire();
                    wire.until(|fault| *fault != Fault::BlackHole).await;
                    return;
                }
                Fault::Delay(by) => {
                    wire.fire();
                    tokio::time::sleep(by).await;
                    rest.len()
                }
                Fault::Slow(by, rate) => {
                    wire.fire();
                    if is_first {
                        tokio::time::sleep(by).await;
                    }
                    wire.carry(read, rate).await;
                    rest.len()
                }
                Fault::Trickle(pause) => {
                    wire.fire();
                    tokio::time::sleep(pause).await;
                    1
                }
                _ => rest.len(),
            };
            if client.write_all(&rest[..piece]).await.is_err() {
                return;
            }
            rest = &rest[piece..];
        }
    }
}

/// Reads what is left of an HTTP request, so that its sender listens to the answer.
async fn read_body(client: &mut OwnedReadHalf, start: &[u8]) {
    let Some(head) = start.windows(4).position(|four| four == b"\r\n\r\n") else { return };
    let text = String::from_utf8_lossy(&start[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let left = length.saturating_sub(start.len() - head - 4) as u64;
    let _ = tokio::io::copy(&mut client.take(left), &mut tokio::io::sink()).await;
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}
