//! Models that come with the program.

use std::env;
use std::path::{Path, PathBuf};

use super::error::{Io, LibraryError, Result};
use super::name::ModelName;
use super::record::{Config, Entry, Record, hash_file};
use crate::format::safetensors::read_header;
use crate::source::Source;

/// The folder of bundled models: `$VQFARM_BUNDLED_MODELS`, or the nearest `assets/models` or
/// `share/vqfarm/models` beside the running program or in a folder above it.
pub fn bundled_dir() -> Option<PathBuf> {
    if let Some(set) = env::var_os("VQFARM_BUNDLED_MODELS").filter(|value| !value.is_empty()) {
        return Some(set.into());
    }
    let program = env::current_exe().and_then(std::fs::canonicalize).ok()?;
    program
        .ancestors()
        .skip(1)
        .flat_map(|folder| ["assets/models", "share/vqfarm/models"].map(|dir| folder.join(dir)))
        .find(|dir| dir.is_dir())
}

pub(super) fn list(dir: Option<&Path>) -> Result<Vec<Entry>> {
    let Some(dir) = dir else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for file in std::fs::read_dir(dir).at(dir)? {
        let path = file.at(dir)?.path();
        if path.extension().is_some_and(|ext| ext == "safetensors")
            && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(ModelName::from_file_stem(stem)?);
        }
    }
    names.sort();
    names.iter().filter_map(|name| open(Some(dir), name).transpose()).collect()
}

/// A bundled model. Its file's header says what it is: `kind`, `config`, and perhaps `source` and
/// `license`.
pub(super) fn open(dir: Option<&Path>, name: &ModelName) -> Result<Option<Entry>> {
    let Some(dir) = dir else { return Ok(None) };
    let path = dir.join(name.file_stem() + ".safetensors");
    if !path.is_file() {
        return Ok(None);
    }
    let damaged = |problem: String| LibraryError::Record { path: path.clone(), problem };
    let source = std::fs::File::open(&path)
        .map_err(Into::into)
        .and_then(Source::file)
        .and_then(|source| Ok((read_header(&source)?, source.len())));
    let (header, bytes) = source.map_err(|reason: crate::Reason| reason.at(&path))?;
    let text = |key: &str| header.metadata.get(key).cloned();
    let config = text("config").ok_or_else(|| damaged("its header has no config".into()))?;
    let config = match text("kind").as_deref() {
        Some("vqgan") => serde_json::from_str(&config).map(Config::Vqgan),
        Some("clip") => serde_json::from_str(&config).map(Config::Clip),
        other => return Err(damaged(format!("its header gives the kind {other:?}"))),
    };
    let config = config.map_err(|e| damaged(e.to_string()))?;
    let record = Record {
        config,
        bytes,
        parameters: header.parameters(),
        source: text("source").unwrap_or_else(|| "bundled with the program".into()),
        licence: text("license"),
        assumed: Vec::new(),
    };
    let sha256 = hash_file(&path)?;
    Ok(Some(Entry { name: name.clone(), sha256, path, record, bundled: true }))
}
