//! A question before something that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;

/// Whether somebody is there to answer.
pub fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and takes nothing but a yes for one.
pub fn agreed(question: &str) -> anyhow::Result<bool> {
    anstream::eprint!("{question} [y/N] ");
    io::stderr().flush().context("ask")?;
    is_yes(&mut io::stdin().lock()).context("read the answer")
}

fn is_yes(answer: &mut impl BufRead) -> io::Result<bool> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\n", true),
            (" yes ", true),
            ("\n", false),
            ("", false),
            ("n", false),
            ("yellow\n", false),
        ] {
            assert_eq!(is_yes(&mut answer.as_bytes()).unwrap(), yes, "{answer:?}");
        }
    }
}
