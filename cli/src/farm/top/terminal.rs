//! The terminal, taken and given back as it was.

use std::io::{self, IsTerminal};
use std::panic;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Context;
use crossterm::cursor::Show;
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::DefaultTerminal;
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::failure::Failure;

/// Whether it is taken: it must be given back once only, as the second time would move the
/// cursor to where it was before, over whatever was told since.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A terminal in raw mode that shows its other screen. It is as before when this is dropped,
/// and after a panic of any task, whose message then stays to be read.
pub struct Screen {
    pub terminal: DefaultTerminal,
}

impl Screen {
    /// # Errors
    /// There is no terminal to draw on.
    pub fn take() -> Result<Self, Failure> {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        if dumb || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Failure::Usage(
                "top draws on a terminal, and there is none; `vqfarm status` prints the farm \
                 once, with --json for programs"
                    .into(),
            ));
        }
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            tell(panic);
        }));
        thread::Builder::new()
            .name("hang-up".into())
            .spawn(end_with_the_terminal)
            .context("cannot start the thread that watches the terminal")?;
        let terminal = enter().inspect_err(|_| give_back()).context("cannot take the terminal")?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// What a shell says of a program that a hang-up ended.
const HUNG_UP: i32 = 129;

/// Ends the program when its terminal is gone, as when a connection is lost: what reads the
/// keyboard would read nothing again and again, and never see another thing.
fn end_with_the_terminal() {
    let stdin = io::stdin();
    // A hang-up is told of unasked.
    let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
    while let Err(Errno::INTR) = poll(&mut watched, None) {}
    if watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        give_back();
        process::exit(HUNG_UP);
    }
}

fn enter() -> io::Result<DefaultTerminal> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    ratatui::Terminal::new(CrosstermBackend::new(io::stdout()))
}

fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing back.
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_testing::terminal::{Program, Terminal};

    use super::*;

    /// What the test below starts in a terminal.
    #[test]
    #[ignore = "it panics, in a terminal of its own"]
    fn panics() {
        let mut screen = Screen::take().unwrap();
        screen.terminal.draw(|frame| frame.render_widget("drawn", frame.area())).unwrap();
        panic!("what went wrong");
    }

    #[test]
    fn a_panic_gives_the_terminal_back_and_can_be_read() {
        let this = std::env::current_exe().unwrap();
        let args = ["--ignored", "--nocapture", "--exact", "farm::top::terminal::tests::panics"];
        let program = Program { path: &this, args: &args, env: &[], says: "" };
        let mut terminal = Terminal::start(&program, 100, 30);
        let left = terminal.until("the message", |screen| {
            !screen.alternate_screen() && screen.contents().contains("what went wrong")
        });
        assert!(!left.contains("drawn"), "{left}");
        terminal.until("the cursor", |screen| !screen.hide_cursor());
        assert!(!terminal.wait().success());
    }
}
