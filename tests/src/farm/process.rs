//! A program of the farm while it runs: what it says is kept, and shown when its test fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Nothing that a test waits for takes longer, however busy the machine.
pub const SURELY: Duration = Duration::from_secs(600);
/// Pause between two looks at something that sends no word when it changes.
const LOOK: Duration = Duration::from_millis(20);
/// Lines of a log that are shown when a test fails.
const SHOWN: usize = 60;

/// Looks again and again until there is an answer; panics when that takes longer than any
/// machine needs.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SURELY;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(LOOK);
    }
}

/// A running program; killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Where its own words begin in the log.
    start: usize,
}

impl Process {
    /// Starts `command`; both its outputs go to a file in `folder`, after what an earlier
    /// process of this name said.
    pub fn start(name: &str, command: &mut Command, folder: &Path) -> Self {
        let log = folder.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log).expect("a log file");
        let start = file.metadata().map_or(0, |meta| meta.len()) as usize;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log, start }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// All that it and its predecessors of the same name have said.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Where the log of this process begins, after what its predecessors said.
    pub fn start_of_log(&self) -> usize {
        self.start
    }

    /// Where the log ends now: what is said later can be told from what was said before.
    pub fn mark(&self) -> usize {
        self.log().len()
    }

    /// Waits for a line with all of these words, said after `mark`, and answers with it.
    pub fn wait_for_line(&mut self, mark: usize, words: &[&str]) -> String {
        let what = format!("{} says {words:?}", self.name);
        until(&what, || {
            // Asked first: what it said with its last breath is read below.
            let ended = self.ended();
            let log = self.log();
            let said = log.get(mark..).unwrap_or_default();
            let found = said.lines().find(|line| words.iter().all(|word| line.contains(word)));
            assert!(found.is_some() || ended.is_none(), "{what}: it ended: {ended:?}");
            found.map(str::to_owned)
        })
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        until(&format!("{} ends", self.name), || self.ended())
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// SIGKILL; returns when it is gone. It must have been running.
    pub fn kill(&mut self) {
        assert!(self.ended().is_none(), "{} had ended by itself", self.name);
        self.signal(Signal::KILL);
        self.wait();
    }

    /// SIGSTOP; returns when it stands still.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        until(&format!("{} stands still", self.name), || {
            let stat = fs::read_to_string(&stat).ok()?;
            // The state follows the name, which is in parentheses.
            let state = stat.rsplit(") ").next()?.chars().next()?;
            (state == 'T').then_some(())
        });
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(SHOWN);
            eprintln!("--- {} ---\n{}", self.name, lines[from..].join("\n"));
        }
    }
}
