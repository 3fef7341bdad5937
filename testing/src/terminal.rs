//! A terminal that a program under test draws on, and a person's hands on its keyboard.

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use vt100::Parser;

/// What a test waits for at most.
const SURELY: Duration = Duration::from_secs(60);
/// A program asks with this whether the terminal is there…
const ASKED: &[u8] = b"\x1b[5n";
/// …and every terminal answers.
const ANSWER: &str = "\x1b[0n";
/// What a terminal says before that which shows kitty's pictures, in cells of 10 by 20 pixels.
pub const KITTY: &str = "\x1b_Gi=31;OK\x1b\\\x1b[6;20;10t";

type Keyboard = Arc<Mutex<Box<dyn Write + Send>>>;

/// A pseudo terminal with a program in it, which ends with the test.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    keyboard: Keyboard,
    child: Box<dyn Child + Send + Sync>,
    glass: Arc<Glass>,
}

/// What is to be seen.
struct Glass {
    shown: Mutex<Shown>,
    changed: Condvar,
}

struct Shown {
    parser: Parser,
    /// All that the program wrote.
    written: Vec<u8>,
    /// The program has closed it.
    dark: bool,
}

/// A program to be started in a terminal.
pub struct Program<'a> {
    pub path: &'a Path,
    pub args: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
    /// What the terminal says of itself when it is asked; mostly nothing.
    pub says: &'a str,
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and lines.
    pub fn start(program: &Program<'_>, columns: u16, lines: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, lines)).expect("a pseudo terminal");
        let mut command = CommandBuilder::new(program.path);
        command.args(program.args);
        command.env("TERM", "xterm-256color");
        // Where the tests themselves run must not matter.
        for name in ["TERM_PROGRAM", "LC_TERMINAL", "COLUMNS", "LINES", "TMUX"] {
            command.env_remove(name);
        }
        for (name, value) in program.env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let reader = pair.master.try_clone_reader().expect("the terminal is read");
        let keyboard = pair.master.take_writer().expect("the terminal is written to");
        let keyboard: Keyboard = Arc::new(Mutex::new(keyboard));
        let parser = Parser::new(cells(lines), cells(columns), 0);
        let glass = Glass {
            shown: Mutex::new(Shown { parser, written: Vec::new(), dark: false }),
            changed: Condvar::new(),
        };
        let glass = Arc::new(glass);
        let (seen, answers) = (glass.clone(), keyboard.clone());
        let answer = format!("{}{ANSWER}", program.says);
        thread::spawn(move || seen.follow(reader, &answers, &answer));
        Self { master: pair.master, keyboard, child, glass }
    }

    /// Waits until the terminal is as wanted; answers with what is written on it.
    pub fn until(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) -> String {
        self.until_shown(what, |shown| wanted(shown.parser.screen()))
    }

    /// Waits until the program has written these bytes, which need not be visible.
    pub fn until_written(&self, bytes: &[u8]) {
        self.until_shown(&format!("{bytes:?}"), |shown| {
            shown.written.windows(bytes.len()).any(|window| window == bytes)
        });
    }

    fn until_shown(&self, what: &str, wanted: impl Fn(&Shown) -> bool) -> String {
        let deadline = Instant::now() + SURELY;
        let mut shown = self.glass.lock();
        loop {
            let screen = shown.parser.screen();
            if wanted(&shown) {
                return screen.contents();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !shown.dark, "{what}:\n{}", screen.contents());
            let waited = self.glass.changed.wait_timeout(shown, left);
            shown = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until a text is to be read.
    pub fn until_text(&self, text: &str) -> String {
        self.until(text, |screen| screen.contents().contains(text))
    }

    /// Presses keys, as the bytes that they send.
    pub fn press(&self, keys: &str) {
        let mut keyboard = self.keyboard.lock().unwrap_or_else(PoisonError::into_inner);
        keyboard.write_all(keys.as_bytes()).and_then(|()| keyboard.flush()).expect("keys");
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        self.glass.lock().parser.set_size(cells(lines), cells(columns));
        self.master.resize(size(columns, lines)).expect("another size");
    }

    /// How lines are edited and echoed, in words.
    pub fn modes(&self) -> String {
        format!("{:?}", self.master.get_termios().expect("the terminal's modes"))
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.process_id().expect("the program runs")
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("a child of this process")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Glass {
    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what the program writes, and answers when it asks whether somebody is there.
    fn follow(&self, mut reader: Box<dyn Read + Send>, answers: &Keyboard, answer: &str) {
        let mut buffer = [0; 4096];
        let mut last = Vec::new();
        while let Ok(read @ 1..) = reader.read(&mut buffer) {
            let bytes = &buffer[..read];
            // A question may come in two pieces.
            last.extend_from_slice(bytes);
            if last.windows(ASKED.len()).any(|window| window == ASKED) {
                let mut keyboard = answers.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = keyboard.write_all(answer.as_bytes());
                last.clear();
            }
            last.drain(..last.len().saturating_sub(ASKED.len() - 1));
            let mut shown = self.lock();
            shown.written.extend_from_slice(bytes);
            shown.parser.process(bytes);
            self.changed.notify_all();
        }
        self.lock().dark = true;
        self.changed.notify_all();
    }
}

fn size(columns: u16, lines: u16) -> PtySize {
    PtySize { rows: lines, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn cells(number: u16) -> NonZero<u16> {
    NonZero::new(number).expect("at least one")
}
