//! What can go wrong with the library.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::error::WeightsError;

#[derive(Debug, Error)]
pub enum LibraryError {
    #[error(
        "neither VQFARM_MODELS, XDG_DATA_HOME nor HOME is set: set VQFARM_MODELS to a folder for models"
    )]
    NoHome,

    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error(transparent)]
    Weights(#[from] WeightsError),

    #[error("model name `{name}`: {problem}")]
    Name { name: String, problem: &'static str },

    #[error("no model is called `{name}`{}", remedy(name, *published, known))]
    Unknown { name: String, published: bool, known: Vec<String> },

    #[error("{}: damaged record of a model: {problem}", path.display())]
    Record { path: PathBuf, problem: String },

    #[error("`{name}` cannot be pulled: {how}")]
    NotPublished { name: String, how: String },

    #[error("{url}: {problem}")]
    Download { url: String, problem: String },

    #[error("{url}: its SHA-256 is {found} and should be {expected}; the download was thrown away")]
    Checksum { url: String, found: String, expected: String },
}

pub type Result<T, E = LibraryError> = std::result::Result<T, E>;

fn remedy(name: &str, published: bool, known: &[String]) -> String {
    let mut text = String::new();
    if published {
        text += &format!("; get it with `vqfarm models pull {name}`");
    } else {
        text += "; bring a file in with `vqfarm models import FILE --name NAME`";
    }
    if !known.is_empty() {
        text += &format!(" (there are: {})", known.join(", "));
    }
    text
}

/// Names the path in an error of the operating system.
pub(super) trait Io<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> Io<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| LibraryError::Io { path: path.to_owned(), source })
    }
}
