//! A small HTTP server on this machine, with the faults that downloads meet.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How one connection is answered.
#[derive(Clone)]
pub struct Answer {
    pub content: Arc<Vec<u8>>,
    /// Bytes of the body after which the connection is cut.
    pub cut: Option<usize>,
    /// Whether ranges are served, or the whole every time.
    pub ranges: bool,
    pub etag: Option<&'static str>,
    /// In place of the right status.
    pub status: Option<&'static str>,
}

impl Answer {
    pub fn whole(content: &[u8]) -> Self {
        let content = Arc::new(content.to_vec());
        Self { content, cut: None, ranges: true, etag: Some("\"v1\""), status: None }
    }
}

/// Answers connections in the given order, then no more.
pub struct Server {
    pub url: String,
    ranges: Arc<Mutex<Vec<Option<usize>>>>,
}

impl Server {
    pub fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/models/tiny.ckpt?dl=1", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, &answer, |from| seen.lock().unwrap().push(from));
            }
        });
        Self { url, ranges }
    }

    /// The starts of the ranges that were asked for so far, in order.
    pub fn requests(&self) -> Vec<Option<usize>> {
        self.ranges.lock().unwrap().clone()
    }
}

/// Answers one request, after telling the start of the range that it asked for.
fn serve(mut stream: TcpStream, answer: &Answer, tell: impl FnOnce(Option<usize>)) {
    let mut from = None;
    let mut if_range = None;
    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
        let line = line.unwrap();
        let (name, value) = line.split_once(": ").unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "range" => from = value.trim_start_matches("bytes=").trim_end_matches('-').parse().ok(),
            "if-range" => if_range = Some(value.to_owned()),
            "" => break,
            _ => {}
        }
    }
    tell(from);
    let changed = if_range.is_some_and(|tag| Some(tag.as_str()) != answer.etag);
    let total = answer.content.len();
    let (mut status, mut range, mut body) = ("200 OK", String::new(), &answer.content[..]);
    if let Some(from) = from.filter(|_| answer.ranges && !changed) {
        if from >= total {
            (status, body) = ("416 Range Not Satisfiable", &[]);
            range = format!("Content-Range: bytes */{total}\r\n");
        } else {
            (status, body) = ("206 Partial Content", &answer.content[from..]);
            range = format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
        }
    }
    let status = answer.status.unwrap_or(status);
    let etag = answer.etag.map(|tag| format!("ETag: {tag}\r\n")).unwrap_or_default();
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {len}\r\n{range}{etag}Connection: close\r\n\r\n"
    );
    let body = &body[..answer.cut.unwrap_or(len).min(len)];
    // The client may have gone.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}
