//! What can be wrong with a model file.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file that could not be used, and why.
#[derive(Debug, Error)]
#[error("{}: {reason}", path.display())]
pub struct WeightsError {
    pub path: PathBuf,
    pub reason: Reason,
}

/// Why a file could not be used. Says what to do about it where there is a remedy.
#[derive(Debug, Error)]
pub enum Reason {
    #[error("{0}")]
    Io(#[from] io::Error),

    #[error("not a model file: {0}")]
    Unrecognised(String),

    /// The file ends before something that it promises.
    #[error("truncated: {what} needs bytes {from}..{to}, but the file has {len}")]
    Truncated { what: String, from: u64, to: u64, len: u64 },

    /// A size beyond what any model needs; taking it at its word could exhaust the machine.
    #[error("refused: {what} is {found}, over the limit of {limit}")]
    Limit { what: String, found: u64, limit: u64 },

    #[error("damaged safetensors header: {0}")]
    Safetensors(String),

    #[error("damaged or unsafe zip archive: {0}")]
    Zip(String),

    #[error("damaged pickle at byte {at}: {what}")]
    Pickle { at: usize, what: String },

    /// The pickle names something that runs code when Python loads it.
    #[error(
        "refused: its pickle would run code when loaded by Python (it names `{global}`); get the \
         file from a source you trust"
    )]
    Hostile { global: String },

    #[error("unsupported checkpoint: {0}")]
    Unsupported(String),

    #[error("tensor `{name}`: {problem}")]
    Tensor { name: String, problem: String },

    #[error("no tensor `{name}`; {hint}")]
    MissingTensor { name: String, hint: String },

    #[error("config field `{field}`: {problem}")]
    Config { field: String, problem: String },
}

pub type Result<T, E = WeightsError> = std::result::Result<T, E>;

impl Reason {
    /// The error that names the file.
    pub fn at(self, path: &Path) -> WeightsError {
        WeightsError { path: path.to_owned(), reason: self }
    }

    pub(crate) fn tensor(name: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { name: name.to_owned(), problem: problem.into() }
    }

    pub(crate) fn config(field: &str, problem: impl Into<String>) -> Self {
        Self::Config { field: field.to_owned(), problem: problem.into() }
    }
}

/// Names the file in an error that does not know it.
pub(crate) trait InFile<T> {
    fn in_file(self, path: &Path) -> Result<T>;
}

impl<T, E: Into<Reason>> InFile<T> for std::result::Result<T, E> {
    fn in_file(self, path: &Path) -> Result<T> {
        self.map_err(|e| e.into().at(path))
    }
}
