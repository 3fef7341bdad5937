//! Models: large objects that are named by the SHA-256 of their bytes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path as FilePath;

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};
use sha2::{Digest, Sha256};
use vqfarm_core::keys;

use crate::Storage;
use crate::error::{Result, StoreError};
use crate::job_store::{AT_ONCE, PART, Put, object};

/// A model on its way into storage. Dropped before [`ModelUpload::finish`], nothing is stored.
pub struct ModelUpload {
    storage: Storage,
    key: String,
    sha256: String,
    hash: Sha256,
    parts: WriteMultipart,
}

impl Storage {
    /// Whether the weights of this hash are here.
    pub async fn has_model(&self, sha256: &str) -> Result<bool> {
        Ok(self.size(&keys::model(sha256)).await?.is_some())
    }

    /// Begins to store weights whose SHA-256 is known; `None` when they are here already.
    /// Two uploads of the same weights may run at once: whole and of the same bytes, either
    /// may come last.
    pub async fn upload_model(&self, sha256: &str) -> Result<Option<ModelUpload>> {
        if self.has_model(sha256).await? {
            return Ok(None);
        }
        let key = keys::model(sha256);
        let path = self.root.path(&key);
        let upload = self.root.objects.put_multipart(&path);
        let upload = self.root.in_time("write", &key, upload).await?;
        Ok(Some(ModelUpload {
            storage: self.clone(),
            key,
            sha256: sha256.to_owned(),
            hash: Sha256::new(),
            parts: WriteMultipart::new_with_chunk_size(upload, PART as usize),
        }))
    }

    /// Fetches weights into `folder/<sha256>.safetensors`, which appears whole and checked or
    /// not at all.
    ///
    /// # Errors
    /// They are not here or damaged, the store fails, the file cannot be written.
    pub async fn fetch_model(&self, sha256: &str, folder: &FilePath) -> Result<()> {
        let key = keys::model(sha256);
        let size = self.size(&key).await?.ok_or_else(|| StoreError::Missing(key.clone()))?;
        let path = folder.join(format!("{sha256}.safetensors"));
        let fail =
            |source: io::Error| StoreError::File { path: path.display().to_string(), source };
        fs::create_dir_all(folder).map_err(fail)?;
        let mut aside = Aside::new(folder, sha256).map_err(fail)?;
        let mut hash = Sha256::new();
        let object_path = self.root.path(&key);
        let mut start = 0;
        while start < size {
            let part = start..size.min(start + PART);
            start = part.end;
            let read = self.root.objects.get_range(&object_path, part);
            let bytes = self.root.in_time("read", &key, read).await?;
            hash.update(&bytes);
            aside.file.write_all(&bytes).map_err(fail)?;
        }
        let found = hex(hash);
        if found != sha256 {
            return Err(StoreError::Damaged { key, found });
        }
        aside.publish(&path).map_err(fail)
    }
}

impl ModelUpload {
    /// Adds bytes; waits while too many are under way.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.hash.update(&bytes);
        let room = self.parts.wait_for_capacity(AT_ONCE).await;
        room.map_err(|source| object("write", &self.key, source))?;
        self.parts.put(bytes);
        Ok(())
    }

    /// Makes the weights appear, whole.
    ///
    /// # Errors
    /// The bytes have another SHA-256 than was said, or the store fails; then nothing is stored.
    pub async fn finish(self) -> Result<Put> {
        let Self { storage, key, sha256, hash, parts } = self;
        let found = hex(hash);
        if found != sha256 {
            parts.abort().await.map_err(|source| object("write", &key, source))?;
            return Err(StoreError::Damaged { key, found });
        }
        parts.finish().await.map_err(|source| object("write", &key, source))?;
        match storage.has_model(&sha256).await? {
            true => Ok(Put::Stored),
            false => Err(StoreError::Missing(key)),
        }
    }

    /// Gives up and tidies away what was sent.
    pub async fn abort(self) -> Result<()> {
        self.parts.abort().await.map_err(|source| object("write", &self.key, source))
    }
}

/// A file beside its destination, removed again unless it is published.
struct Aside {
    file: File,
    path: tempfile::TempPath,
}

impl Aside {
    fn new(folder: &FilePath, name: &str) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new()
            .prefix(&format!(".{name}-"))
            .suffix(".tmp")
            .tempfile_in(folder)?
            .into_parts();
        Ok(Self { file, path })
    }

    fn publish(self, destination: &FilePath) -> io::Result<()> {
        self.file.sync_all()?;
        self.path.persist(destination).map_err(|e| e.error)
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StorageOptions;

    /// More than two parts.
    fn weights() -> Bytes {
        (0..(2 * PART + 12_345)).map(|n| (n % 251) as u8).collect::<Vec<_>>().into()
    }

    fn hash(bytes: &[u8]) -> String {
        hex(Sha256::new_with_prefix(bytes))
    }

    #[tokio::test]
    async fn weights_come_back_as_they_went() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let weights = weights();
        let sha256 = hash(&weights);
        let mut upload = storage.upload_model(&sha256).await.unwrap().unwrap();
        for chunk in weights.chunks(1 << 20) {
            upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
        assert!(!storage.has_model(&sha256).await.unwrap());
        assert_eq!(upload.finish().await.unwrap(), Put::Stored);
        assert!(storage.upload_model(&sha256).await.unwrap().is_none());
        storage.fetch_model(&sha256, dir.path()).await.unwrap();
        let file = dir.path().join(format!("{sha256}.safetensors"));
        assert!(fs::read(file).unwrap() == weights);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn other_bytes_than_named_are_refused_both_ways() {
        let dir = tempfile::tempdir().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let sha256 = hash(b"weights");
        let mut upload = storage.upload_model(&sha256).await.unwrap().unwrap();
        upload.write("other".into()).await.unwrap();
        assert!(matches!(upload.finish().await, Err(StoreError::Damaged { .. })));
        let missing = storage.fetch_model(&sha256, dir.path()).await.unwrap_err();
        assert!(missing.to_string().contains(&sha256), "{missing}");

        storage.replace(&keys::model(&sha256), "weighty".into()).await.unwrap();
        let damaged = storage.fetch_model(&sha256, dir.path()).await.unwrap_err();
        assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        let sha256 = hash(b"x");
        storage.replace(&keys::model(&sha256), "x".into()).await.unwrap();
        let refused = storage.fetch_model(&sha256, file.path()).await.unwrap_err();
        assert!(refused.to_string().contains(&file.path().display().to_string()), "{refused}");
    }
}
