//! Which key does what: one table for the keyboard and for the help.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    Up,
    Down,
    OtherList,
    EarlierLayer,
    LaterLayer,
    ScrollUp,
    ScrollDown,
    PauseOrResume,
    Cancel,
    Retry,
    Raise,
    Lower,
    Drain,
    Yes,
    Help,
    Close,
    Quit,
}

/// A line of the help.
pub struct Binding {
    keys: &'static [KeyCode],
    pub shown: &'static str,
    pub does: &'static str,
    command: Command,
}

const fn bind(
    keys: &'static [KeyCode],
    shown: &'static str,
    does: &'static str,
    command: Command,
) -> Binding {
    Binding { keys, shown, does, command }
}

use KeyCode::Char;

pub const BINDINGS: &[Binding] = &[
    bind(&[KeyCode::Up, Char('k')], "↑ k", "the job or worker above", Command::Up),
    bind(&[KeyCode::Down, Char('j')], "↓ j", "the one below", Command::Down),
    bind(
        &[KeyCode::Tab, KeyCode::BackTab],
        "Tab",
        "to the workers, back to the jobs",
        Command::OtherList,
    ),
    bind(&[KeyCode::Left, Char('h')], "← h", "map of the layer before", Command::EarlierLayer),
    bind(&[KeyCode::Right, Char('l')], "→ l", "map of the layer after", Command::LaterLayer),
    bind(&[KeyCode::PageUp], "PgUp", "earlier logs", Command::ScrollUp),
    bind(&[KeyCode::PageDown], "PgDn", "later logs", Command::ScrollDown),
    bind(&[Char('p')], "p", "pause the job, resume it", Command::PauseOrResume),
    bind(&[Char('c')], "c", "cancel the job (asks first)", Command::Cancel),
    bind(&[Char('r')], "r", "try its failed tasks again", Command::Retry),
    bind(&[Char('+'), Char('=')], "+", "raise its priority by one", Command::Raise),
    bind(&[Char('-')], "-", "lower its priority by one", Command::Lower),
    bind(&[Char('d')], "d", "drain the worker, undrain it", Command::Drain),
    bind(&[Char('?')], "?", "this help", Command::Help),
    bind(&[KeyCode::Esc], "Esc", "close what is open", Command::Close),
    bind(&[Char('q')], "q", "quit; the farm goes on", Command::Quit),
];

/// What a key press means.
pub fn command(key: KeyEvent) -> Option<Command> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return (key.code == Char('c')).then_some(Command::Quit);
    }
    // An answer rather than a command, so not in the help.
    if matches!(key.code, Char('y') | Char('Y')) {
        return Some(Command::Yes);
    }
    BINDINGS.iter().find(|binding| binding.keys.contains(&key.code)).map(|found| found.command)
}
