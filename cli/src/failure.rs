//! Why a command ended without doing what it was asked, and its exit status.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};
use vqfarm_core::file::{JobError, Problem};

use crate::{diagnostics, style};

/// Exit status of bad usage and bad job files; clap's too.
pub const USAGE: u8 = 2;

#[derive(Debug)]
pub enum Failure {
    /// The user's to mend; nothing was changed.
    Usage(String),
    /// The user's to mend, in a file or a flag.
    Mistakes(Vec<Problem>),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Mistakes(problems) => {
                let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

impl Failure {
    pub fn job(error: JobError) -> Self {
        Self::Mistakes(error.problems)
    }

    pub fn status(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Mistakes(_) => ExitCode::from(USAGE),
            Self::Other(_) => ExitCode::FAILURE,
        }
    }

    /// Says it on standard error.
    pub fn tell(&self) {
        match self {
            Self::Mistakes(problems) => anstream::eprintln!("{}", diagnostics::rendered(problems)),
            failure => anstream::eprintln!("{}: {failure}", style::error("error")),
        }
    }

    /// An object for each thing that is wrong.
    pub fn as_json(&self) -> Vec<Value> {
        let one = |kind: &str| {
            vec![json!({ "type": "error", "kind": kind, "message": self.to_string() })]
        };
        match self {
            Self::Mistakes(problems) => problems.iter().map(diagnostics::as_json).collect(),
            Self::Usage(_) => one("usage"),
            Self::Other(_) => one("failed"),
        }
    }

    /// Whether the reader of our output has seen enough, which is no error.
    pub fn is_broken_pipe(&self) -> bool {
        let io = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
        };
        match self {
            Self::Other(error) => {
                error.chain().any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
            }
            _ => false,
        }
    }
}

/// The status of a command; an error is told on standard error, as JSON where that was asked for.
pub fn report(result: Result<ExitCode, Failure>, json: bool) -> ExitCode {
    let failure = match result {
        Ok(status) => return status,
        Err(failure) if failure.is_broken_pipe() => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    if json {
        failure.as_json().iter().for_each(|object| anstream::eprintln!("{object}"));
    } else {
        failure.tell();
    }
    failure.status()
}
