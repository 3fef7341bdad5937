//! Private Redis servers: one, a master with replica and sentinel, or a cluster. Each lives
//! in a folder that vanishes, and dies with the test, however that ends.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A slow machine under load needs a while.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// A running server; killed when dropped, or when the process that started it is gone.
pub struct RedisServer {
    guard: Option<Child>,
    folder: TempDir,
    port: u16,
    tls_port: Option<u16>,
    arguments: Vec<String>,
    account: Option<(String, String)>,
}

impl RedisServer {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::with(&["--save", ""])
    }

    /// A server that has logged every change on disk before it answers.
    pub fn durable() -> Self {
        Self::with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
    }

    /// A server with these arguments besides port and folder.
    pub fn with(arguments: &[&str]) -> Self {
        Self::launch(arguments, false)
    }

    /// A server that speaks TLS on another port, with a certificate that [`Self::ca`] tells.
    pub fn with_tls() -> Self {
        Self::launch(&["--save", "", "--tls-auth-clients", "no"], true)
    }

    fn launch(arguments: &[&str], tls: bool) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        for _ in 0..3 {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let tls_port = tls.then(|| {
                write_certificate(folder.path());
                free_port()
            });
            let (port, arguments) = (free_port(), arguments.clone());
            let mut server = Self { guard: None, folder, port, tls_port, arguments, account: None };
            // Somebody may have taken the port meanwhile.
            if server.spawn() {
                return server;
            }
            eprintln!("redis-server does not start:\n{}", server.log());
        }
        panic!("redis-server does not start; is Debian's package `redis-server` installed?");
    }

    /// Starts the process; says whether it answers.
    fn spawn(&mut self) -> bool {
        let mut arguments = vec!["--port".to_owned(), self.port.to_string()];
        let mut say = |name: &str, value: &str| {
            arguments.extend([name.to_owned(), value.to_owned()]);
        };
        say("--bind", "127.0.0.1");
        say("--dir", &self.folder.path().display().to_string());
        say("--logfile", &self.folder.path().join("log").display().to_string());
        say("--pidfile", &self.folder.path().join("pid").display().to_string());
        if let Some(port) = self.tls_port {
            say("--tls-port", &port.to_string());
            say("--tls-cert-file", &self.folder.path().join("cert.pem").display().to_string());
            say("--tls-key-file", &self.folder.path().join("key.pem").display().to_string());
            say("--tls-ca-cert-file", &self.folder.path().join("cert.pem").display().to_string());
        }
        arguments.extend(self.arguments.iter().cloned());
        self.guard = Some(guarded(&arguments));
        let deadline = Instant::now() + STARTS_WITHIN;
        while Instant::now() < deadline {
            match self.command(&["PING"]) {
                Ok(answer) if answer.contains("LOADING") => (),
                Ok(_) => return true,
                Err(_) => (),
            }
            if self.log().contains("Failed listening") || self.log().contains("FATAL") {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        self.kill();
        false
    }

    /// The account with which the test itself gives commands from now on.
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.account = Some((user.to_owned(), password.to_owned()));
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// # Panics
    /// The server was not started with TLS.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.tls_port.expect("a server with TLS"))
    }

    /// The certificate to trust, as PEM.
    ///
    /// # Panics
    /// The server was not started with TLS.
    pub fn ca(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("cert.pem")).expect("a server with TLS")
    }

    /// What the server wrote in its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// SIGKILL: what is not on disk is lost.
    pub fn kill(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            // The guard kills when its input ends.
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }

    /// Starts again after [`Self::kill`], on the same port with what is on disk.
    ///
    /// # Panics
    /// The server does not come up.
    pub fn start_again(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server does not come back:\n{}", self.log());
    }

    /// Gives a command; the answer as text, its elements one a line. An error begins with
    /// its code.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn command(&self, words: &[&str]) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        if let Some((user, password)) = &self.account {
            stream.write_all(&packed(&["AUTH", user, password]))?;
            read_answer(&mut answers)?;
        }
        stream.write_all(&packed(words))?;
        read_answer(&mut answers)
    }

    /// As [`Self::command`], of a server that is there and agrees.
    ///
    /// # Panics
    /// It is not there, or does not agree.
    pub fn ask(&self, words: &[&str]) -> String {
        let answer = self.command(words).expect("an answer of the server");
        let is_code = |word: &str| word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase());
        let first = answer.split(' ').next().unwrap_or_default();
        let refused = answer.contains(' ') && is_code(first) && words[0] != "INFO";
        assert!(!refused, "{words:?}: {answer}");
        answer
    }

    /// A number from the server's INFO.
    ///
    /// # Panics
    /// There is no such number.
    pub fn info(&self, name: &str) -> u64 {
        let info = self.ask(&["INFO", "everything"]);
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.and_then(|value| value.trim().parse().ok()).expect("a number in INFO")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master with one replica, and a sentinel that makes the replica master when the master
/// is gone for two seconds.
pub struct RedisSentinel {
    pub master: RedisServer,
    pub replica: RedisServer,
    guard: Option<Child>,
    _folder: TempDir,
    port: u16,
}

impl RedisSentinel {
    /// # Panics
    /// A server does not start, or the replica does not find its master.
    pub fn start() -> Self {
        let master = RedisServer::start();
        let replica = RedisServer::start();
        replica.ask(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
        wait_until("the replica follows", || master.info("connected_slaves") == 1);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile {}\n\
             sentinel monitor farm 127.0.0.1 {} 1\nsentinel down-after-milliseconds farm 2000\n\
             sentinel failover-timeout farm 10000\n",
            folder.path().display(),
            folder.path().join("log").display(),
            master.port,
        );
        fs::write(&file, settings).expect("written");
        let arguments = [file.display().to_string(), "--sentinel".to_owned()];
        let guard = Some(guarded(&arguments));
        let sentinel = Self { master, replica, guard, _folder: folder, port };
        wait_until("the sentinel knows the replica", || {
            let known = command_at(port, &["SENTINEL", "replicas", "farm"]);
            known.is_ok_and(|text| text.contains(&sentinel.replica.port.to_string()))
        });
        sentinel
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://127.0.0.1:{}/farm", self.port)
    }

    /// Waits until the sentinel names the replica as master.
    ///
    /// # Panics
    /// It does not.
    pub fn wait_for_failover(&self) {
        wait_until("the replica is master", || {
            let master = command_at(self.port, &["SENTINEL", "get-master-addr-by-name", "farm"]);
            master.is_ok_and(|text| text.contains(&self.replica.port.to_string()))
                && self.replica.ask(&["ROLE"]).starts_with("master")
        });
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// A cluster of three masters.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// # Panics
    /// A node does not start, or they do not agree.
    pub fn start() -> Self {
        let arguments =
            ["--save", "", "--cluster-enabled", "yes", "--cluster-node-timeout", "5000"];
        let nodes: Vec<RedisServer> = (0..3).map(|_| RedisServer::with(&arguments)).collect();
        let first = nodes[0].port.to_string();
        let slots = [0..5461, 5461..10923, 10923..16384];
        for (at, (node, slots)) in nodes.iter().zip(slots).enumerate() {
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let words = ["CLUSTER", "ADDSLOTS"].into_iter();
            node.ask(&words.chain(slots.iter().map(String::as_str)).collect::<Vec<_>>());
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
        }
        for node in &nodes[1..] {
            node.ask(&["CLUSTER", "MEET", "127.0.0.1", &first]);
        }
        wait_until("the cluster is whole", || {
            nodes.iter().all(|node| {
                let info = node.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        });
        Self { nodes }
    }

    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }
}

/// Waits for something that other processes bring about.
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + STARTS_WITHIN;
    while !is_so() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        std::thread::sleep(PAUSE);
    }
}

/// Runs a server that is killed when the guard's input ends: at the latest when this process
/// is gone, whatever ended it. `VQFARM_REDIS_SERVER` names another program than
/// `redis-server`, such as an older one or Valkey's.
fn guarded(arguments: &[String]) -> Child {
    const GUARD: &str = r#""$@" & read -r _; kill -9 $!; wait"#;
    let program = std::env::var("VQFARM_REDIS_SERVER").unwrap_or("redis-server".into());
    Command::new("sh")
        .args(["-c", GUARD, "guard", &program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    // A cluster's node listens 10,000 ports higher, too.
    if port > 55_000 { free_port() } else { port }
}

fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate");
    fs::write(folder.join("cert.pem"), made.cert.pem()).expect("written");
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("written");
}

fn command_at(port: u16, words: &[&str]) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(&packed(words))?;
    read_answer(&mut BufReader::new(stream))
}

fn packed(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
    }
    bytes
}

fn read_answer(answers: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if answers.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let line = line.trim_end();
    let odd = || io::Error::other(format!("not an answer: {line:?}"));
    let (kind, rest) = line.split_at_checked(1).ok_or_else(odd)?;
    let length = || rest.parse::<i64>().map_err(|_| odd());
    match kind {
        "+" | "-" | ":" => Ok(rest.to_owned()),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(String::new()) };
            let mut bytes = vec![0; length + 2];
            answers.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let elements = (0..length()?).map(|_| read_answer(answers));
            Ok(elements.collect::<io::Result<Vec<_>>>()?.join("\n"))
        }
        _ => Err(odd()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_server_is_gone_and_comes_back_with_its_log() {
        let mut server = RedisServer::durable();
        server.ask(&["SET", "a", "1"]);
        server.kill();
        assert!(server.command(&["PING"]).is_err());
        server.start_again();
        assert_eq!(server.ask(&["GET", "a"]), "1");
    }

    #[test]
    fn a_dropped_server_is_gone() {
        let server = RedisServer::start();
        let port = server.port();
        assert_eq!(server.ask(&["PING"]), "PONG");
        drop(server);
        assert!(command_at(port, &["PING"]).is_err());
    }
}
