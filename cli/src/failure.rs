//! Why a command ended without doing what it was asked, and its exit status.

use std::process::ExitCode;

use crate::style;

/// Exit status of bad usage and bad job files; clap's too.
pub const USAGE: u8 = 2;

#[derive(Debug)]
pub enum Failure {
    /// The user's to mend; nothing was changed.
    Usage(String),
    Other(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Other(error) => write!(f, "{error:#}"),
        }
    }
}

/// The status of a command; an error is shown on standard error. A closed pipe is the reader's
/// choice and no error.
pub fn report(result: Result<ExitCode, Failure>) -> ExitCode {
    let (message, status) = match result {
        Ok(status) => return status,
        Err(Failure::Other(error)) if is_broken_pipe(&error) => return ExitCode::SUCCESS,
        Err(Failure::Usage(message)) => (message, ExitCode::from(USAGE)),
        Err(Failure::Other(error)) => (format!("{error:#}"), ExitCode::FAILURE),
    };
    anstream::eprintln!("{}: {message}", style::error("error"));
    status
}

pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}
