//! The terminal, taken and given back as it was.

use std::io::{self, IsTerminal};

use anyhow::Context;
use ratatui::DefaultTerminal;

use crate::failure::Failure;

/// A terminal in raw mode that shows its other screen. It is as before when this is dropped,
/// and after a panic, whose message then stays to be read.
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
        // Also sets the hook that gives the terminal back before a panic is told.
        let terminal = ratatui::try_init().context("cannot take the terminal")?;
        Ok(Self { terminal })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
