//! Who asks: the token that a farm knows somebody by. It is never on a command line.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;
use tonic::metadata::{Ascii, MetadataValue};

use super::way::Setting;
use crate::failure::Failure;
use crate::style;

/// Where a token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Text(Secret),
    File(PathBuf),
    /// A program and its arguments, which prints it.
    Command(Vec<String>),
}

/// A text that is shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Whether people are there to be asked and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Talking,
    Silent,
}

impl Setting<Token> {
    /// The header that says it.
    ///
    /// # Errors
    /// The file cannot be read, the program fails, or what they say is no token.
    pub async fn header(&self, manner: Manner) -> Result<MetadataValue<Ascii>, Failure> {
        let (text, from) = match &self.value {
            Token::Text(Secret(text)) => (text.clone(), self.from.to_string()),
            Token::File(path) => {
                let from = self.named("token_file", path.display());
                if manner == Manner::Talking && is_open(path) {
                    let (warning, path) = (style::warning("warning"), path.display());
                    anstream::eprintln!("{warning}: {from}: others can read it; chmod 600 {path}");
                }
                let text = fs::read_to_string(path)
                    .map_err(|error| Failure::Usage(format!("{from}: {error}")))?;
                (text, from)
            }
            Token::Command(words) => {
                let from = self.named("token_command", words.join(" "));
                let text = run(words, manner)
                    .await
                    .map_err(|reason| Failure::Usage(format!("{from}: {reason}")))?;
                (text, from)
            }
        };
        let header = format!("Bearer {}", text.trim()).parse();
        let mut header: MetadataValue<Ascii> =
            header.map_err(|_| Failure::Usage(format!("{from}: this is not a token")))?;
        if text.trim().is_empty() {
            return Err(Failure::Usage(format!("{from}: the token is empty")));
        }
        header.set_sensitive(true);
        Ok(header)
    }
}

/// Whether others than its owner can read a file.
#[cfg(unix)]
pub fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
pub fn is_open(_: &Path) -> bool {
    false
}

/// What a program prints. It may ask on the terminal, where people are.
async fn run(words: &[String], manner: Manner) -> Result<String, String> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("it names no program".into());
    };
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
    match manner {
        Manner::Talking => command.stdin(Stdio::inherit()).stderr(Stdio::inherit()),
        Manner::Silent => command.stdin(Stdio::null()).stderr(Stdio::null()),
    };
    let child = command.spawn().map_err(|error| format!("cannot start it: {error}"))?;
    let ran = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if !ran.status.success() {
        return Err(format!("it failed ({})", ran.status));
    }
    String::from_utf8(ran.stdout).map_err(|_| "it printed no text".into())
}
