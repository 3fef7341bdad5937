//! Where one job's objects lie, whatever holds them.
//!
//! Keys are relative to the job's root, so that a farm's `jobs/<id>/` and the folder of a
//! standalone render have the same layout (see [`vqfarm_core::keys`]).

use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use uuid::Uuid;

/// What can go wrong between a worker and its storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder of a `file://` store cannot be made or entered.
    #[error("cannot use the folder {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    /// The store refused or lost an operation.
    #[error("storage failed to {action} `{key}`: {source}")]
    Object { action: &'static str, key: String, source: object_store::Error },
    /// The store lets two writers create the same object, so frames could be overwritten.
    #[error("{0} ignores create-only writes: a frame could be overwritten. Use another store")]
    NotCreateOnly(String),
}

pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Outcome of a create-only write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Stored,
    /// Somebody else's object lay there already and still does.
    Existed,
}

/// The objects of one job.
#[derive(Clone, Debug)]
pub struct JobStore {
    objects: Arc<dyn ObjectStore>,
    root: Path,
}

impl JobStore {
    /// Objects of `store` under `root`.
    pub fn new(objects: Arc<dyn ObjectStore>, root: Path) -> Self {
        Self { objects, root }
    }

    /// A folder on this machine, made when missing. Writes are whole or absent even when the
    /// process dies in the middle, and on disk before they are reported done.
    pub fn folder(path: &FilePath) -> Result<Self> {
        let fail = |source| StoreError::Folder { path: path.display().to_string(), source };
        std::fs::create_dir_all(path).map_err(fail)?;
        let objects = LocalFileSystem::new_with_prefix(path)
            .map_err(|e| fail(std::io::Error::other(e)))?
            .with_fsync(true);
        Ok(Self::new(Arc::new(objects), Path::default()))
    }

    /// Objects that live as long as this process.
    pub fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()), Path::default())
    }

    /// Writes one key twice, create-only; refuses a store that lets both succeed.
    pub async fn probe(&self) -> Result<()> {
        let key = format!("probe-{}", Uuid::now_v7());
        let outcome = match self.create(&key, Bytes::from_static(b"1")).await {
            Ok(_) => self.create(&key, Bytes::from_static(b"2")).await,
            Err(e) => return Err(e),
        };
        self.delete(&key).await?;
        match outcome? {
            Put::Existed => Ok(()),
            Put::Stored => Err(StoreError::NotCreateOnly(self.objects.to_string())),
        }
    }

    /// The whole object, or `None` when there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.objects.get(&self.path(key)).await {
            Ok(found) => Ok(Some(found.bytes().await.map_err(error("read", key))?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(error("read", key)(e)),
        }
    }

    /// Writes an object that must not exist yet.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        match self.objects.put_opts(&self.path(key), bytes.into(), options).await {
            Ok(_) => Ok(Put::Stored),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Put::Existed),
            Err(e) => Err(error("write", key)(e)),
        }
    }

    /// Writes an object, in place of an older one if there is one.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.objects.put(&self.path(key), bytes.into()).await.map_err(error("write", key))?;
        Ok(())
    }

    /// Removes an object; none there is no error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        match self.objects.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(error("delete", key)(e)),
        }
    }

    /// Names of the objects right under `folder`, sorted.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = self.path(folder);
        let mut names: Vec<String> = self
            .objects
            .list(Some(&prefix))
            .try_filter_map(|meta| async move { Ok(meta.location.filename().map(str::to_owned)) })
            .try_collect()
            .await
            .map_err(error("list", folder))?;
        names.sort_unstable();
        Ok(names)
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').fold(self.root.clone(), |path, part| path.join(part))
    }
}

fn error(action: &'static str, key: &str) -> impl FnOnce(object_store::Error) -> StoreError {
    let key = key.to_owned();
    move |source| StoreError::Object { action, key, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keeps_the_first_of_two_creates(store: JobStore) {
        store.probe().await.unwrap();
        let key = "frames/000001.png";
        assert_eq!(store.get(key).await.unwrap(), None);
        assert_eq!(store.create(key, "first".into()).await.unwrap(), Put::Stored);
        assert_eq!(store.create(key, "second".into()).await.unwrap(), Put::Existed);
        assert_eq!(store.get(key).await.unwrap().unwrap(), "first");
        assert_eq!(store.names("frames").await.unwrap(), ["000001.png"]);
        store.replace(key, "third".into()).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap(), "third");
        store.delete(key).await.unwrap();
        store.delete(key).await.unwrap();
        assert_eq!(store.names("frames").await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn memory_and_folder_behave_alike() {
        keeps_the_first_of_two_creates(JobStore::memory()).await;
        let dir = tempfile::tempdir().unwrap();
        keeps_the_first_of_two_creates(JobStore::folder(dir.path()).unwrap()).await;
        assert_eq!(std::fs::read_dir(dir.path().join("frames")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let inside = file.path().join("out");
        let refused = JobStore::folder(&inside).unwrap_err();
        assert!(refused.to_string().contains(&inside.display().to_string()), "{refused}");
    }
}
