//! A trace's file, written by a thread of its own.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// The most bytes of a file; the one before it is kept as `FILE.1`, and what was before that is
/// gone.
pub const MOST: u64 = 128 << 20;
/// Events that wait to be written, at most; more are lost, and the trace says how many.
const WAITING: usize = 8192;
/// After a crash no more than this is missing.
const FLUSH: Duration = Duration::from_secs(1);

/// The near end of a file.
pub struct File {
    lines: SyncSender<Line>,
    lost: Arc<AtomicU64>,
}

enum Line {
    /// Something that happened.
    Event(String),
    /// A track's name, which every file needs.
    Track(String),
    End,
}

/// Ends a trace when dropped, with all that was told before.
pub struct Guard {
    lines: SyncSender<Line>,
    thread: Option<JoinHandle<()>>,
}

impl File {
    /// # Errors
    /// The file cannot be written; the system gives no thread.
    pub fn start(path: &Path, program: &str) -> io::Result<(Self, Guard)> {
        Self::limited(path, program, MOST)
    }

    fn limited(path: &Path, program: &str, most: u64) -> io::Result<(Self, Guard)> {
        let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pid = std::process::id();
        let head = json!({
            "ph": "M", "name": "process_name", "pid": pid,
            // When the trace's time began.
            "args": { "name": program, "unix_time": begin.as_secs_f64() },
        });
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer {
            path: path.to_owned(),
            out: BufWriter::new(fs::File::create(path)?),
            written: 0,
            most,
            head: vec![head.to_string()],
            lost: lost.clone(),
        };
        writer.begin()?;
        let (lines, told) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("trace".into()).spawn(move || {
            if let Err(error) = writer.write_all(&told) {
                tracing::warn!(%error, path = %writer.path.display(), "the trace ends early");
            }
        })?;
        Ok((Self { lines: lines.clone(), lost }, Guard { lines, thread: Some(thread) }))
    }

    pub fn event(&self, event: &Value) {
        self.tell(Line::Event(event.to_string()));
    }

    /// A new track and what it is called.
    pub fn track(&self, id: usize, name: &str) {
        let event = json!({
            "ph": "M", "name": "thread_name", "pid": std::process::id(), "tid": id,
            "args": { "name": name },
        });
        self.tell(Line::Track(event.to_string()));
    }

    fn tell(&self, line: Line) {
        // After the end nobody listens.
        if let Err(TrySendError::Full(_)) = self.lines.try_send(line) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A writer that failed has said so.
        let _ = self.lines.send(Line::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    out: BufWriter<fs::File>,
    written: u64,
    most: u64,
    /// What each file begins with.
    head: Vec<String>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    fn write_all(&mut self, told: &Receiver<Line>) -> io::Result<()> {
        let mut flushed = Instant::now();
        loop {
            match told.recv_timeout(FLUSH) {
                Ok(Line::Event(line)) => self.line(&line)?,
                Ok(Line::Track(line)) => {
                    self.line(&line)?;
                    self.head.push(line);
                }
                Ok(Line::End) | Err(RecvTimeoutError::Disconnected) => return self.end(),
                Err(RecvTimeoutError::Timeout) => (),
            }
            if flushed.elapsed() >= FLUSH {
                self.out.flush()?;
                flushed = Instant::now();
            }
            if self.written >= self.most {
                self.end()?;
                let mut before = self.path.clone().into_os_string();
                before.push(".1");
                fs::rename(&self.path, before)?;
                self.out = BufWriter::new(fs::File::create(&self.path)?);
                self.begin()?;
            }
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.written = 0;
        self.out.write_all(b"[\n")?;
        for line in self.head.clone() {
            self.line(&line)?;
        }
        self.out.flush()
    }

    fn line(&mut self, line: &str) -> io::Result<()> {
        self.written += line.len() as u64 + 2;
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b",\n")
    }

    /// The format does without the bracket at the end, JSON does not.
    fn end(&mut self) -> io::Result<()> {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        let last = json!({
            "ph": "M", "name": "end", "pid": std::process::id(), "args": { "lost": lost },
        });
        write!(self.out, "{last}\n]\n")?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<Value> {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_long_trace_keeps_its_newest_part() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let (file, guard) = File::limited(&path, "some", 2000).unwrap();
        file.track(1, "lane 0");
        for number in 0..200 {
            file.event(&json!({ "ph": "X", "name": "slice", "number": number }));
        }
        drop(guard);
        let (before, now) = (read(&folder.path().join("trace.json.1")), read(&path));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let numbers = before.iter().chain(&now).filter_map(|event| event["number"].as_u64());
        let numbers: Vec<u64> = numbers.collect();
        assert!(numbers.len() > 20 && *numbers.last().unwrap() == 199, "{numbers:?}");
        assert!(numbers.is_sorted_by(|a, b| b - a == 1), "{numbers:?}");
        for part in [before, now] {
            assert_eq!(part[1]["args"]["name"], "lane 0", "each names its tracks");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_at_once() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(File::start(&file.path().join("trace.json"), "some").is_err());
    }
}
