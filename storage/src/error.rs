//! What can go wrong between a process and its storage.

use std::time::Duration;

/// Why storage cannot be opened or did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No store is behind such a URL.
    #[error("storage `{url}`: {reason}")]
    Url { url: String, reason: String },
    /// The folder of a `file://` store cannot be made or entered.
    #[error("cannot use the folder {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    /// The store refused or lost an operation.
    #[error("storage failed to {action} `{key}`: {source}")]
    Object { action: &'static str, key: String, source: object_store::Error },
    /// The store did not answer, or too slowly, over all attempts.
    #[error("storage did not {action} `{key}` within {} s", patience.as_secs_f32())]
    TooSlow { action: &'static str, key: String, patience: Duration },
    /// The bytes are not those that the key names.
    #[error("`{key}` is damaged: its SHA-256 is {found}")]
    Damaged { key: String, found: String },
    /// Nothing that is read as a whole is so large: somebody else wrote it.
    #[error("`{key}` has {size} bytes, more than the {most} that it may have")]
    TooLarge { key: String, size: u64, most: u64 },
    /// Something must be there and is not.
    #[error("`{0}` is not in storage")]
    Missing(String),
    /// A file on this machine cannot be read or written.
    #[error("cannot use the file {path}: {source}")]
    File { path: String, source: std::io::Error },
    /// The store lets two writers create the same object, so frames could be overwritten.
    #[error("{0} ignores create-only writes: a frame could be overwritten. Use another store")]
    NotCreateOnly(String),
}

impl StoreError {
    /// Whether the same operation may succeed at another time: the store was slow, away or in
    /// trouble, and did not refuse.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Object { source, .. } => {
                matches!(source, object_store::Error::Generic { .. })
            }
            Self::TooSlow { .. } => true,
            _ => false,
        }
    }
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;
