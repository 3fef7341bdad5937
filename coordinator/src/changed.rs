//! Whether a file is another one than before, without reading it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// What tells one state of a file from the next. A file that was put in the place of another one
/// has another number, even within the same tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    modified: Option<SystemTime>,
    number: u64,
    size: u64,
}

impl Stamp {
    /// None where there is no file.
    pub fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        Some(Self { modified: file.modified().ok(), number: file.ino(), size: file.size() })
    }

    /// Whether it is the file that it was, whatever was written to it.
    pub fn is_same_file(&self, before: &Self) -> bool {
        self.number == before.number
    }
}
