//! A farm's models on this machine: fetched once, checked before they are used.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tracing::{Instrument, trace_span};
use vqfarm_service::trace::TARGET as TRACE;
use vqfarm_storage::{Storage, StoreError};

use crate::models::ModelRef;
use crate::seal::Seal;

/// Why a model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    #[error("the model `{name}`: {source}")]
    Fetch { name: String, source: StoreError },
    #[error("the model `{name}`: cannot read {path}: {source}")]
    Read { name: String, path: String, source: io::Error },
    #[error("the job does not say which weights `{0}` means")]
    NoHash(String),
}

impl CacheError {
    /// Whether this machine is to blame, so that another may do better.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Fetch { source: StoreError::File { .. }, .. })
    }
}

/// Whether a file has been found whole in this process's life; locked while one looks.
type Checked = Arc<tokio::sync::Mutex<bool>>;

/// A folder of models. Several processes may share it. Nobody writes to a model's file: it appears
/// whole, by a rename, and so may be mapped into memory.
pub struct ModelCache {
    storage: Storage,
    folder: PathBuf,
    models: Mutex<HashMap<String, Checked>>,
    /// Read every file once in this process's life, also those that were found whole before.
    check: bool,
}

impl ModelCache {
    pub fn new(storage: Storage, folder: PathBuf) -> Self {
        Self { storage, folder, models: Mutex::default(), check: false }
    }

    /// The same, which also reads files again that were found whole before, if `check` says so.
    pub fn checking(self, check: bool) -> Self {
        Self { check, ..self }
    }

    /// Bytes that are free for more models, and where films are made, whichever are fewer; none
    /// where the system does not say.
    pub fn free(&self) -> Option<u64> {
        // The folder is made when the first model comes.
        let folder = self.folder.ancestors().find(|folder| folder.is_dir())?;
        let free = |folder: &Path| {
            let disk = rustix::fs::statvfs(folder).ok()?;
            Some(disk.f_bavail.saturating_mul(disk.f_frsize))
        };
        Some(free(folder)?.min(free(&std::env::temp_dir())?))
    }

    /// Where weights lie when they are there.
    pub fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(format!("{sha256}.safetensors"))
    }

    /// Makes sure that a model's file is here and whole. A damaged one is fetched again.
    ///
    /// # Errors
    /// Storage does not have it, has it damaged or fails; this machine cannot keep it.
    pub async fn ensure(&self, model: &ModelRef) -> Result<(), CacheError> {
        let ModelRef { name, sha256 } = model;
        if sha256.is_empty() {
            return Err(CacheError::NoHash(name.clone()));
        }
        let checked = {
            let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
            models.entry(sha256.clone()).or_default().clone()
        };
        let mut checked = checked.lock().await;
        let path = self.path(sha256);
        if *checked && path.is_file() {
            return Ok(());
        }
        let read = |source| CacheError::Read {
            name: name.clone(),
            path: path.display().to_string(),
            source,
        };
        let checking = check(path.clone(), self.check);
        let checking = checking.instrument(trace_span!(target: TRACE, "check model"));
        if let Some(found) = checking.await.map_err(read)? {
            if found.is(sha256) {
                *checked = true;
                return Ok(());
            }
            let path = path.display();
            tracing::warn!(model = name, %path, ?found, "a damaged model file is fetched again");
        }
        tracing::info!(model = name, sha256, "fetching a model");
        let fetching = trace_span!(target: TRACE, "fetch model");
        let fetched = self.storage.fetch_model(sha256, &self.folder).instrument(fetching).await;
        fetched.map_err(|source| CacheError::Fetch { name: name.clone(), source })?;
        remember(Seal::of(&path).map_err(read)?, &path);
        *checked = true;
        Ok(())
    }
}

/// What a file is.
#[derive(Debug)]
enum Content {
    /// What it was when it was found whole.
    Sealed,
    /// SHA-256 in hexadecimal.
    Hashed(String),
}

impl Content {
    fn is(&self, sha256: &str) -> bool {
        match self {
            Self::Sealed => true,
            Self::Hashed(found) => found == sha256,
        }
    }
}

/// Looks at the file of a model, which is named by its hash, and reads it if it must; `None` when
/// there is none.
async fn check(path: PathBuf, always: bool) -> io::Result<Option<Content>> {
    let look = move || {
        let Some(seal) = Seal::of(&path)? else { return Ok(None) };
        if !always && seal.is_on(&path) {
            return Ok(Some(Content::Sealed));
        }
        let Some(found) = hash(&path)? else { return Ok(None) };
        let is_named_so = path.file_stem().is_some_and(|name| name == found.as_str());
        // Another process may have put another file there meanwhile.
        if is_named_so && Seal::of(&path)?.as_ref() == Some(&seal) {
            remember(Some(seal), &path);
        }
        Ok(Some(Content::Hashed(found)))
    };
    spawn_blocking(look).await.map_err(io::Error::other)?
}

/// Notes that a file is whole. Where that cannot be kept it is looked at again the next time.
fn remember(seal: Option<Seal>, path: &Path) {
    if let Some(Err(error)) = seal.map(|seal| seal.put_on(path)) {
        tracing::debug!(%error, path = %path.display(), "the next start reads this again");
    }
}

/// SHA-256 of a file in hexadecimal, or `None` when there is none.
fn hash(path: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash)?;
    Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use vqfarm_core::keys;
    use vqfarm_storage::StorageOptions;

    use super::*;

    async fn model(storage: &Storage, bytes: &'static str) -> ModelRef {
        let sha256: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        storage.replace(&keys::model(&sha256), bytes.into()).await.unwrap();
        ModelRef { name: "some".into(), sha256 }
    }

    #[test]
    fn the_free_room_is_told_before_there_is_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let of = |below: &str| ModelCache::new(storage.clone(), folder.path().join(below)).free();
        let (there, not_yet) = (of("").unwrap(), of("a/b").unwrap());
        // Others write meanwhile.
        assert!(there > 0 && there.abs_diff(not_yet) < there / 2, "{there}, {not_yet}");
    }

    #[tokio::test]
    async fn a_damaged_file_is_fetched_again_and_a_whole_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let model = model(&storage, "weights").await;
        let cache = || ModelCache::new(storage.clone(), folder.path().join("models"));
        let first = cache();
        first.ensure(&model).await.unwrap();
        let path = first.path(&model.sha256);
        assert_eq!(fs::read(&path).unwrap(), b"weights");

        fs::write(&path, "weighty").unwrap();
        cache().ensure(&model).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"weights");

        storage.delete(&keys::model(&model.sha256)).await.unwrap();
        cache().ensure(&model).await.unwrap();
        fs::write(&path, "weighty").unwrap();
        let gone = cache().ensure(&model).await.unwrap_err();
        assert!(gone.to_string().contains("`some`") && !gone.is_local(), "{gone}");
    }

    #[tokio::test]
    async fn a_file_that_was_found_whole_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let model = model(&storage, "weights").await;
        let cache = || ModelCache::new(storage.clone(), folder.path().to_owned());
        cache().ensure(&model).await.unwrap();
        let path = cache().path(&model.sha256);
        // As if the disk had changed it by itself, which nothing but reading it tells.
        fs::write(&path, "weighty").unwrap();
        Seal::of(&path).unwrap().unwrap().put_on(&path).unwrap();
        cache().ensure(&model).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"weighty");
        cache().checking(true).ensure(&model).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"weights");
        // And whoever writes to it breaks the seal, whatever else he puts right.
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        fs::write(&path, "weighty").unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        cache().ensure(&model).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"weights");
    }

    #[tokio::test]
    async fn what_this_machine_cannot_keep_is_its_own_fault() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let model = model(&storage, "weights").await;
        let cache = ModelCache::new(storage, file.path().join("models"));
        let refused = cache.ensure(&model).await.unwrap_err();
        assert!(refused.is_local(), "{refused}");
        assert!(refused.to_string().contains(&file.path().display().to_string()), "{refused}");
    }
}
