//! What is remembered of a file that was found whole, so that it need not be read again to be sure:
//! a gigabyte takes seconds.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file as it was. Whoever writes to it or puts another in its place changes one of these; the
/// time of the last change of state (`ctime`) cannot be set back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    size: u64,
    device: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seal {
    /// The file as it is now; `None` when there is none.
    ///
    /// # Errors
    /// The system does not say.
    pub fn of(path: &Path) -> io::Result<Option<Self>> {
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            size: meta.size(),
            device: meta.dev(),
            inode: meta.ino(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }))
    }

    /// Whether this is what was remembered of the file at `path`.
    pub fn is_on(&self, path: &Path) -> bool {
        let kept = fs::read(beside(path)).ok();
        kept.and_then(|json| serde_json::from_slice(&json).ok())
            .is_some_and(|kept: Self| kept == *self)
    }

    /// Remembers this of the file at `path`.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn put_on(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut aside = tempfile::NamedTempFile::new_in(folder)?;
        aside.write_all(&serde_json::to_vec(self)?)?;
        aside.persist(beside(path))?;
        Ok(())
    }
}

/// `FILE.sealed`.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sealed");
    name.into()
}
