//! Bytes of a file by position, checked against its length before anything is allocated.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use memmap2::{Advice, Mmap};

use crate::error::{InFile, Reason, Result as FileResult};

/// Longest config or record that is read.
const MAX_TEXT: u64 = 1 << 20;

/// A model file on disk or in memory.
pub(crate) enum Source<'a> {
    File { file: File, len: u64 },
    Bytes(&'a [u8]),
    Mapped(Bytes),
}

impl Source<'_> {
    pub fn file(file: File) -> Result<Self, Reason> {
        let len = file.metadata()?.len();
        Ok(Self::File { file, len })
    }

    /// The file's own pages, read when they are looked at and shared with other processes.
    ///
    /// Whoever changes the file while it is mapped changes what was read of it; whoever cuts it
    /// short ends this process with SIGBUS. So this is for files that nobody writes to.
    #[allow(unsafe_code, reason = "a mapped file is memory that other processes may change")]
    pub fn mapped(file: &File) -> Result<Self, Reason> {
        if file.metadata()?.len() == 0 {
            return Ok(Self::Bytes(&[]));
        }
        // SAFETY: the caller vouches that nobody writes to the file; see above.
        let map = unsafe { Mmap::map(file)? };
        // All of it will be wanted; where the system takes no advice it is merely read later.
        let _ = map.advise(Advice::WillNeed);
        Ok(Self::Mapped(Bytes::from_owner(map)))
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Mapped(bytes) => bytes.len() as u64,
        }
    }

    /// `len` bytes from `from`; `what` they are is named when the file is too short.
    pub fn read(&self, what: &str, from: u64, len: u64) -> Result<Vec<u8>, Reason> {
        let to = self.end(what, from, len)?;
        match self {
            Self::File { file, .. } => {
                let mut file = file;
                file.seek(SeekFrom::Start(from))?;
                let mut bytes = vec![0; len as usize];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Self::Bytes(bytes) => Ok(bytes[from as usize..to as usize].to_vec()),
            Self::Mapped(bytes) => Ok(bytes[from as usize..to as usize].to_vec()),
        }
    }

    /// As [`Source::read`], without a copy where the file is mapped.
    pub fn share(&self, what: &str, from: u64, len: u64) -> Result<Bytes, Reason> {
        match self {
            Self::Mapped(bytes) => {
                let to = self.end(what, from, len)?;
                Ok(bytes.slice(from as usize..to as usize))
            }
            _ => self.read(what, from, len).map(Bytes::from),
        }
    }

    fn end(&self, what: &str, from: u64, len: u64) -> Result<u64, Reason> {
        let to = from.saturating_add(len);
        match to > self.len() {
            true => Err(Reason::Truncated { what: what.into(), from, to, len: self.len() }),
            false => Ok(to),
        }
    }

    /// At most `len` bytes from the start.
    pub fn head(&self, len: u64) -> Result<Vec<u8>, Reason> {
        self.read("the head", 0, len.min(self.len()))
    }
}

/// The whole of a small text file, such as a config.
pub(crate) fn read_text(path: &Path) -> FileResult<String> {
    let len = fs::metadata(path).in_file(path)?.len();
    if len > MAX_TEXT {
        let what = "its size in bytes".into();
        return Err(Reason::Limit { what, found: len, limit: MAX_TEXT }.at(path));
    }
    let bytes = fs::read(path).in_file(path)?;
    String::from_utf8(bytes).map_err(|_| Reason::Unrecognised("not UTF-8 text".into()).at(path))
}

/// Little-endian integers at the front of a slice that is known to be long enough.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u64 {
    (0..2).rev().fold(0, |n, i| n << 8 | u64::from(bytes[at + i]))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u64 {
    (0..4).rev().fold(0, |n, i| n << 8 | u64::from(bytes[at + i]))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    (0..8).rev().fold(0, |n, i| n << 8 | u64::from(bytes[at + i]))
}
