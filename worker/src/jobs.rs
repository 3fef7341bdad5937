//! The jobs that a worker has open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_storage::Storage;

use crate::job::{JobFault, OpenJob};

/// Jobs that stay open. Fair share lets a worker go to and fro between users.
const KEPT: usize = 32;

/// Where jobs come from.
pub enum Jobs {
    /// The one of a standalone render.
    One(Arc<OpenJob>),
    /// A farm's, read when they are met.
    Stored(StoredJobs),
}

impl Jobs {
    /// # Errors
    /// The job is not there, cannot be read or has no plan.
    pub async fn open(&self, id: JobId) -> Result<Arc<OpenJob>, JobFault> {
        match self {
            Self::One(job) if job.id() == id => Ok(job.clone()),
            Self::One(_) => Err(JobFault::Unknown(id)),
            Self::Stored(jobs) => jobs.open(id).await,
        }
    }
}

/// A farm's jobs, those used last kept open.
pub struct StoredJobs {
    storage: Storage,
    /// The one used last comes last.
    kept: Mutex<VecDeque<Arc<OpenJob>>>,
}

impl StoredJobs {
    pub fn new(storage: Storage) -> Self {
        Self { storage, kept: Mutex::default() }
    }

    async fn open(&self, id: JobId) -> Result<Arc<OpenJob>, JobFault> {
        if let Some(job) = self.recall(id) {
            return Ok(job);
        }
        let store = self.storage.job(id);
        let bytes = store.get(keys::JOB_RECORD).await?.ok_or(JobFault::Unknown(id))?;
        let unreadable = |reason: String| JobFault::Record { job: id, reason };
        let record: JobRecord =
            serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?;
        if record.id != id {
            return Err(unreadable(format!("it is of job {}", record.id)));
        }
        if record.spec.spec_hash() != record.spec_hash {
            return Err(unreadable("its spec does not have its spec hash".into()));
        }
        let frames = record.source.map(|source| self.storage.job(source.job));
        let job = OpenJob::new(record, store)?;
        let job = Arc::new(match frames {
            Some(frames) => job.with_frames(frames),
            None => job,
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(job.clone());
        Ok(job)
    }

    fn recall(&self, id: JobId) -> Option<Arc<OpenJob>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|job| job.id() == id)?;
        let job = kept.remove(at)?;
        kept.push_back(job.clone());
        Some(job)
    }
}
