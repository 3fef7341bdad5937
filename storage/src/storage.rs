//! A farm's storage: jobs, models, and where they lie.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;

use crate::error::Result;
use crate::job_store::{JobStore, Put};
use crate::options::{self, StorageOptions};

/// Everything that a farm stores. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Storage {
    url: Arc<str>,
    pub(crate) root: JobStore,
}

impl Storage {
    /// The store behind `file:///folder`, `s3://bucket/prefix` or `memory://`. Nothing is asked
    /// of it yet; see [`Storage::probe`].
    ///
    /// # Errors
    /// The URL or the options make no sense, or the folder cannot be made.
    pub fn open(url: &str, options: &StorageOptions) -> Result<Self> {
        let (objects, root) = options::open(url, options)?;
        let root = JobStore::new(objects, root).patient(options.patience);
        Ok(Self { url: url.into(), root: root.ordered(url.starts_with("s3:")) })
    }

    /// Where it is; holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All of the farm's objects.
    pub fn root(&self) -> &JobStore {
        &self.root
    }

    /// One job's objects.
    pub fn job(&self, job: JobId) -> JobStore {
        self.root.under(&keys::job_root(job))
    }

    /// Writes one key twice, create-only.
    ///
    /// # Errors
    /// The store does not answer, or lets both writes succeed.
    pub async fn probe(&self) -> Result<()> {
        self.root.probe().await
    }

    /// The jobs that have objects here, the oldest first. Asks for folders, not for their
    /// contents.
    pub async fn jobs(&self) -> Result<Vec<JobId>> {
        let folders = self.root.folders(JOBS).await?;
        let mut jobs: Vec<JobId> = folders.iter().filter_map(|name| name.parse().ok()).collect();
        jobs.sort_unstable();
        Ok(jobs)
    }

    /// The whole object, or `None` when there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.root.get(key).await
    }

    /// Writes an object that must not exist yet.
    pub async fn create(&self, key: &str, bytes: Bytes) -> Result<Put> {
        self.root.create(key, bytes).await
    }

    /// Writes an object, in place of an older one if there is one.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.root.replace(key, bytes).await
    }

    /// Removes an object; none there is no error.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.root.delete(key).await
    }

    /// Bytes of the object, or `None` when there is none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        self.root.size(key).await
    }

    /// Names of the objects right under `folder`, sorted.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        self.root.names(folder).await
    }
}

/// The folder that [`keys::job_root`] puts jobs into.
const JOBS: &str = "jobs";

/// The path of a key under `root`.
pub(crate) fn path(root: &Path, key: &str) -> Path {
    key.split('/').fold(root.clone(), |path, part| path.join(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn jobs_are_listed_by_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = format!("file://{}", dir.path().display());
        for url in ["memory://", &file] {
            let storage = Storage::open(url, &StorageOptions::default()).unwrap();
            storage.probe().await.unwrap();
            assert_eq!(storage.jobs().await.unwrap(), []);
            let ids = [JobId::generate(), JobId::generate()];
            for id in ids {
                let job = storage.job(id);
                job.create(keys::JOB_RECORD, "{}".into()).await.unwrap();
                job.create(&keys::frame(0), "x".into()).await.unwrap();
            }
            storage.create("jobs/not-a-job/x", "".into()).await.unwrap();
            assert_eq!(storage.jobs().await.unwrap(), ids);
            let key = format!("{}/job.json", keys::job_root(ids[0]));
            assert_eq!(storage.get(&key).await.unwrap().unwrap(), "{}");
            assert_eq!(storage.size(&key).await.unwrap(), Some(2));
            assert_eq!(storage.size("nothing").await.unwrap(), None);
        }
    }
}
