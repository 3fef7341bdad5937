//! A farm's models on this machine: fetched once, checked before they are used.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use vqfarm_storage::{Storage, StoreError};

use crate::models::ModelRef;

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

/// A folder of models. Several processes may share it.
pub struct ModelCache {
    storage: Storage,
    folder: PathBuf,
    models: Mutex<HashMap<String, Checked>>,
}

impl ModelCache {
    pub fn new(storage: Storage, folder: PathBuf) -> Self {
        Self { storage, folder, models: Mutex::default() }
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
        if let Some(found) = hash(&path).await.map_err(read)? {
            if found == *sha256 {
                *checked = true;
                return Ok(());
            }
            let path = path.display();
            tracing::warn!(model = name, %path, found, "a damaged model file is fetched again");
        }
        tracing::info!(model = name, sha256, "fetching a model");
        let fetched = self.storage.fetch_model(sha256, &self.folder).await;
        fetched.map_err(|source| CacheError::Fetch { name: name.clone(), source })?;
        *checked = true;
        Ok(())
    }
}

/// SHA-256 of a file in hexadecimal, or `None` when there is none.
async fn hash(path: &Path) -> io::Result<Option<String>> {
    let path = path.to_owned();
    let hash = spawn_blocking(move || {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut hash = Sha256::new();
        io::copy(&mut file, &mut hash)?;
        Ok(Some(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
    });
    hash.await.map_err(io::Error::other)?
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
