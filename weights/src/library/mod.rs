//! The models on this machine: converted weights by hash, and names for them.
//!
//! ```text
//! <root>/<sha256>.safetensors   weights under canonical names, their config in the header
//! <root>/<sha256>.json          what is known about them
//! <root>/names/<name>.json      which weights a name stands for
//! <root>/downloads/             what is being pulled
//! ```
//!
//! Every file is written aside and renamed into place, so that a reader sees it whole or not at all.
//! Beside the library there may be a folder of bundled models, which is only read: each
//! `<name>.safetensors` in it describes itself.

mod bundled;
mod catalogue;
mod download;
mod error;
mod import;
mod name;
mod record;

pub use bundled::bundled_dir;
pub use catalogue::{CATALOGUE, Published, published};
pub use download::Pull;
pub use error::{LibraryError, Result};
pub use name::ModelName;
pub use record::{Config, ConfigError, Entry, Record};

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use error::Io;

/// A folder of models, and the folder of bundled ones.
#[derive(Clone, Debug)]
pub struct Library {
    root: PathBuf,
    bundled: Option<PathBuf>,
}

impl Library {
    /// The user's library: `$VQFARM_MODELS`, or `vqfarm/models` under `$XDG_DATA_HOME` or
    /// `~/.local/share`; with the bundled models where they are found.
    pub fn of_user() -> Result<Self> {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("VQFARM_MODELS")
            .or_else(|| Some(set("XDG_DATA_HOME")?.join("vqfarm/models")))
            .or_else(|| Some(set("HOME")?.join(".local/share/vqfarm/models")));
        let root = root.ok_or(LibraryError::NoHome)?;
        Ok(Self::at(root, bundled_dir()))
    }

    /// A library in a folder, which is created when something is imported.
    pub fn at(root: impl Into<PathBuf>, bundled: Option<PathBuf>) -> Self {
        Self { root: root.into(), bundled }
    }

    /// The same with another folder for what is imported.
    pub fn moved_to(self, root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), ..self }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All models by name, the imported ones first. An imported name hides a bundled one.
    pub fn list(&self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let names = self.root.join("names");
        if names.is_dir() {
            for file in fs::read_dir(&names).at(&names)? {
                let path = file.at(&names)?.path();
                if path.extension().is_some_and(|ext| ext == "json") {
                    entries.push(record::read_name(&self.root, &path)?);
                }
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in bundled::list(self.bundled.as_deref())? {
            if entries.iter().all(|known| known.name != entry.name) {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// The model of a name. The error lists what there is, and says so if the name is one that can
    /// be pulled.
    pub fn open(&self, name: &str) -> Result<Entry> {
        let name = ModelName::new(name)?;
        if let Some(entry) = self.imported(&name)? {
            return Ok(entry);
        }
        if let Some(entry) = bundled::open(self.bundled.as_deref(), &name)? {
            return Ok(entry);
        }
        let known = self.list()?.into_iter().map(|entry| entry.name.to_string()).collect();
        let name = name.to_string();
        Err(LibraryError::Unknown { published: published(&name).is_some(), name, known })
    }

    fn imported(&self, name: &ModelName) -> Result<Option<Entry>> {
        let path = self.name_path(name);
        if path.is_file() { record::read_name(&self.root, &path).map(Some) } else { Ok(None) }
    }

    fn name_path(&self, name: &ModelName) -> PathBuf {
        self.root.join("names").join(name.file_stem() + ".json")
    }
}
