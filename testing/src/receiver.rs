//! An HTTP server that keeps what is posted to it and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What was posted.
#[derive(Clone, Debug)]
pub struct Post {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Post {
    /// A header that must be there.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    Status(u16),
    /// With a header and its value.
    With(u16, &'static str, String),
    /// Nothing, for as long as the other side waits.
    Hang,
}

/// A running server; posts are answered with 200 when nothing else was asked for.
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    posts: Vec<Post>,
    answers: VecDeque<Answer>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // A client that goes away in the middle is no business of ours.
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// The answers to the next posts, in their order.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state).answers.extend(answers);
    }

    /// All that was posted, also what was not answered.
    pub fn posts(&self) -> Vec<Post> {
        lock(&self.state).posts.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let post = read(&stream)?;
    let answer = {
        let mut state = lock(state);
        state.posts.push(post);
        state.answers.pop_front().unwrap_or(Answer::Status(200))
    };
    let (status, header) = match answer {
        Answer::Status(status) => (status, String::new()),
        Answer::With(status, name, value) => (status, format!("{name}: {value}\r\n")),
        Answer::Hang => {
            let mut rest = [0; 64];
            while stream.read(&mut rest).ok()? > 0 {}
            return None;
        }
    };
    let head = format!("HTTP/1.1 {status} As Told\r\n{header}Connection: close\r\n");
    let body = format!("told {status}");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).ok()
}

fn read(stream: &TcpStream) -> Option<Post> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body).ok()?;
    Some(Post { path, headers, body })
}
