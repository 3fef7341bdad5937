//! Colours with a meaning: red is an error, yellow a warning, bold what matters.
//! `anstream` drops them where a terminal or `NO_COLOR` asks for it.

use anstyle::{AnsiColor, Style};

fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

pub fn error(text: &str) -> String {
    paint(AnsiColor::Red.on_default().bold(), text)
}

pub fn warning(text: &str) -> String {
    paint(AnsiColor::Yellow.on_default().bold(), text)
}

pub fn strong(text: &str) -> String {
    paint(Style::new().bold(), text)
}
