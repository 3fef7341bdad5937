//! Long texts on a terminal, a screen at a time.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::process::{Command, Stdio};

use anstream::{AutoStream, ColorChoice};

/// Prints a text: through `PAGER`, or less, where it is longer than the terminal.
///
/// # Errors
/// Standard output cannot be written to.
pub fn show(text: &str) -> io::Result<()> {
    if !(is_long(text) && paged(text).is_ok()) {
        write!(anstream::stdout(), "{text}")?;
    }
    Ok(())
}

fn is_long(text: &str) -> bool {
    let height = || crossterm::terminal::size().ok().map(|(_, height)| usize::from(height));
    io::stdout().is_terminal() && height().is_some_and(|height| text.lines().count() >= height)
}

fn paged(text: &str) -> io::Result<()> {
    let pager = env::var("PAGER").ok().filter(|pager| !pager.trim().is_empty());
    let pager = pager.unwrap_or_else(|| "less".into());
    let mut words = pager.split_whitespace();
    let Some(program) = words.next() else { return Err(io::ErrorKind::NotFound.into()) };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::piped());
    if env::var_os("LESS").is_none() {
        // Colours as they are, no waiting at the end of what fits, nothing wiped away.
        command.env("LESS", "FRX");
    }
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever quits has seen enough.
        let _ = match AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => {
                write!(stdin, "{}", anstream::adapter::strip_str(text))
            }
            _ => stdin.write_all(text.as_bytes()),
        };
    }
    child.wait()?;
    Ok(())
}
