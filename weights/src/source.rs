//! Bytes of a file by position, checked against its length before anything is allocated.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::error::{InFile, Reason, Result as FileResult};

/// Longest config or record that is read.
const MAX_TEXT: u64 = 1 << 20;

/// A model file on disk or in memory.
pub(crate) enum Source<'a> {
    File { file: File, len: u64 },
    Bytes(&'a [u8]),
}

impl Source<'_> {
    pub fn file(file: File) -> Result<Self, Reason> {
        let len = file.metadata()?.len();
        Ok(Self::File { file, len })
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// `len` bytes from `from`; `what` they are is named when the file is too short.
    pub fn read(&self, what: &str, from: u64, len: u64) -> Result<Vec<u8>, Reason> {
        let to = from.saturating_add(len);
        if to > self.len() {
            return Err(Reason::Truncated { what: what.into(), from, to, len: self.len() });
        }
        match self {
            Self::File { file, .. } => {
                let mut file = file;
                file.seek(SeekFrom::Start(from))?;
                let mut bytes = vec![0; len as usize];
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
            Self::Bytes(bytes) => Ok(bytes[from as usize..to as usize].to_vec()),
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
