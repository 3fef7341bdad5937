//! What is known about a model, and the files that say so.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::{Io, LibraryError, Result};
use super::name::ModelName;
use crate::clip::ClipConfig;
use crate::source::read_text;
use crate::vqgan::VqganConfig;

/// The sizes of a model of either kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "config", rename_all = "snake_case")]
pub enum Config {
    /// A generator.
    Vqgan(VqganConfig),
    /// A perceptor.
    Clip(ClipConfig),
}

/// A config that was read from elsewhere and is none.
#[derive(Debug, thiserror::Error)]
#[error("the network's sizes: {0}")]
pub struct ConfigError(String);

impl Config {
    /// Reads what [`Serialize`] writes, and refuses sizes that no network can have.
    ///
    /// # Errors
    /// It is no config, or a size is out of its range; the message names the field.
    pub fn read(json: &serde_json::Value) -> Result<Self, ConfigError> {
        let config = Self::deserialize(json).map_err(|error| ConfigError(error.to_string()))?;
        let checked = match &config {
            Self::Vqgan(config) => config.check(),
            Self::Clip(config) => config.check(),
        };
        checked.map_err(|error| ConfigError(error.to_string()))?;
        Ok(config)
    }
}

/// What is known about converted weights, kept beside them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub config: Config,
    /// Size of the converted file in bytes.
    pub bytes: u64,
    /// Number of weights.
    pub parameters: u64,
    /// The file or address that it was made from.
    #[serde(default)]
    pub source: String,
    /// Under what terms it was published, where that is known.
    #[serde(default)]
    pub licence: Option<String>,
    /// What nothing said and was taken for granted when it was converted.
    #[serde(default)]
    pub assumed: Vec<String>,
}

/// A named model that is ready to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub name: ModelName,
    /// Lower-case hexadecimal hash of the file at `path`; identifies the model everywhere.
    pub sha256: String,
    pub path: PathBuf,
    pub record: Record,
    /// Whether it came with the program and cannot be replaced.
    pub bundled: bool,
}

impl Entry {
    /// Whether the file still has the hash that it is known by. Reads all of it.
    pub fn verify(&self) -> Result<bool> {
        Ok(hash_file(&self.path)? == self.sha256)
    }
}

/// What a file under `names/` says.
#[derive(Serialize, Deserialize)]
pub(super) struct Named {
    pub name: String,
    pub sha256: String,
}

pub(super) fn weights_path(root: &Path, sha256: &str) -> PathBuf {
    root.join(format!("{sha256}.safetensors"))
}

pub(super) fn record_path(root: &Path, sha256: &str) -> PathBuf {
    root.join(format!("{sha256}.json"))
}

/// Follows a file under `names/` to its model.
pub(super) fn read_name(root: &Path, path: &Path) -> Result<Entry> {
    let damaged =
        |problem: &str| LibraryError::Record { path: path.to_owned(), problem: problem.to_owned() };
    let named: Named = read_json(path)?;
    let name = ModelName::new(&named.name)?;
    let hash = named.sha256;
    if hash.len() != 64 || !hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(damaged("its sha256 is none"));
    }
    let weights = weights_path(root, &hash);
    if !weights.is_file() {
        let problem = format!("{} is missing; import the model again", weights.display());
        return Err(damaged(&problem));
    }
    let record = read_json(&record_path(root, &hash))?;
    Ok(Entry { name, sha256: hash, path: weights, record, bundled: false })
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read_text(path)?)
        .map_err(|e| LibraryError::Record { path: path.to_owned(), problem: e.to_string() })
}

pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| LibraryError::Record { path: path.to_owned(), problem: e.to_string() })?;
    let aside = Aside::new(path)?;
    aside.file().write_all(text.as_bytes()).at(path)?;
    aside.publish(path)
}

/// A file beside its destination, removed again unless it is published.
pub(super) struct Aside {
    path: PathBuf,
    file: File,
    published: bool,
}

impl Aside {
    /// Created in the folder of `destination`, under a name of this process' own.
    pub fn new(destination: &Path) -> Result<Self> {
        let folder = destination.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).at(folder)?;
        let mut n = 0;
        loop {
            let path = folder.join(format!(".{}-{n}.tmp", std::process::id()));
            match File::create_new(&path) {
                Ok(file) => return Ok(Self { path, file, published: false }),
                // Another thread's, or left by a dead process of the same number.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists && n < 1000 => n += 1,
                Err(e) => return Err(e).at(&path),
            }
        }
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Moves the file to its destination, after its bytes have reached the disk.
    pub fn publish(mut self, destination: &Path) -> Result<()> {
        self.file.sync_all().at(&self.path)?;
        fs::rename(&self.path, destination).at(destination)?;
        self.published = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.published {
            // A left-over is harmless, and there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Hashes what passes through.
pub(super) struct Hashing<W> {
    inner: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> Hashing<W> {
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), len: 0 }
    }

    /// The hash in lower-case hexadecimal, and the number of bytes.
    pub fn finish(self) -> (String, u64) {
        (hex(&self.hash.finalize()), self.len)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.hash.update(&bytes[..len]);
        self.len += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

pub(super) fn hash_file(path: &Path) -> Result<String> {
    let mut hashing = Hashing::new(io::sink());
    let mut file = File::open(path).at(path)?;
    io::copy(&mut file, &mut hashing).at(path)?;
    Ok(hashing.finish().0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
