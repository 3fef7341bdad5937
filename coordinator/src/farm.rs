//! What all calls share: the queue, the storage, the limits, the clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use vqfarm_core::clock::{Clock, Timestamp};
use vqfarm_core::id::{FarmName, JobId};
use vqfarm_core::keys;
use vqfarm_core::record::{JobControl, JobRecord};
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::{JobSnapshot, Jobs, Queue, WorkerSnapshot};
use vqfarm_storage::{JobStore, Storage};

use crate::error::{Error, Result};
use crate::pace::Pace;
use crate::quotas::Quotas;
use crate::recent::Recent;

/// What a farm takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Cells of a job.
    pub cells: u64,
    /// Bytes of a job's JSON.
    pub job: usize,
    /// Bytes of one message, the assets of a submit included.
    pub message: usize,
}

/// A farm as its coordinators see it. All state is in the queue and in storage.
pub struct Farm {
    pub name: FarmName,
    pub queue: Arc<dyn Queue>,
    pub storage: Storage,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    /// Milliseconds by which the queue's clock is ahead of ours.
    pub ahead: AtomicI64,
    /// How long a lease lasts: a worker that is silent for longer is lost.
    pub lease: Duration,
    pub pace: Pace,
    pub recent: Recent,
    pub quotas: Quotas,
}

impl Farm {
    /// The job that somebody means: by its id, by the beginning or end of an id that no other
    /// job has, or by the word `last`.
    pub async fn find(&self, text: &str) -> Result<JobId> {
        if text == "last" {
            let newest = self.queue.jobs(Jobs::Newest(1)).await?;
            let none = || Error::refused(Reason::NotFound, "there are no jobs yet");
            return newest.first().map(|job| job.job).ok_or_else(none);
        }
        if text.len() == 32
            && let Ok(job) = text.parse()
        {
            return Ok(job);
        }
        if text.is_empty() || text.len() > 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            let message = format!(
                "{text:?} is not a job's id; write the id that `vqfarm jobs` shows, or `last`"
            );
            return Err(Error::refused(Reason::BadRequest, message));
        }
        let wanted = text.to_ascii_lowercase();
        let mut fitting = self.queue.job_ids().await?.into_iter().filter(|job| {
            let id = job.to_string();
            id.ends_with(&wanted) || id.starts_with(&wanted)
        });
        match (fitting.next(), fitting.next()) {
            (Some(job), None) => Ok(job),
            (None, _) => Err(Error::refused(Reason::NotFound, format!("no job {text}"))),
            (Some(a), Some(b)) => {
                let (a, b) = (a.short(), b.short());
                let message = format!("{text} fits several jobs, among them {a} and {b}");
                Err(Error::refused(Reason::Ambiguous, message))
            }
        }
    }

    /// What is stored of a job.
    pub async fn record(&self, job: JobId) -> Result<Option<JobRecord>> {
        read(&self.storage.job(job), job, keys::JOB_RECORD).await
    }

    pub async fn control(&self, job: JobId) -> Result<JobControl> {
        Ok(read(&self.storage.job(job), job, keys::JOB_CONTROL).await?.unwrap_or_default())
    }

    pub async fn set_control(&self, job: JobId, control: &JobControl) -> Result<()> {
        let json = to_json(control)?;
        Ok(self.storage.job(job).replace(keys::JOB_CONTROL, json.into()).await?)
    }

    /// What the queue's clock shows, as far as is known here.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now().0.saturating_add(self.ahead.load(Ordering::Relaxed)))
    }

    /// Takes note of what the queue's clock shows now.
    pub fn set_clock(&self, queue: Timestamp) {
        // Whoever does not tell has ours.
        let ahead = if queue.0 == 0 { 0 } else { queue.0 - self.clock.now().0 };
        self.ahead.store(ahead, Ordering::Relaxed);
    }

    /// Whether a worker was heard of within a lease.
    pub fn is_alive(&self, worker: &WorkerSnapshot) -> bool {
        self.now().since(worker.last_seen) <= self.lease
    }
}

async fn read<T: DeserializeOwned>(store: &JobStore, job: JobId, key: &str) -> Result<Option<T>> {
    let Some(bytes) = store.get(key).await? else { return Ok(None) };
    let read = serde_json::from_slice(&bytes).map_err(|error| Error::Unreadable {
        key: format!("{}/{key}", keys::job_root(job)),
        reason: error.to_string(),
    })?;
    Ok(Some(read))
}

pub fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| Error::refused(Reason::Internal, error.to_string()))
}

/// The number of the layer that somebody means: the first one when the name is empty.
pub fn layer_number(job: &JobSnapshot, name: &str) -> Result<u8> {
    let found = match name {
        "" => Some(0),
        name => job.layers.iter().position(|layer| layer.name == name),
    };
    found.and_then(|at| u8::try_from(at).ok()).ok_or_else(|| {
        let names: Vec<&str> = job.layers.iter().map(|layer| layer.name.as_str()).collect();
        let message =
            format!("job {} has no layer {name:?}; its layers are {}", job.job, names.join(", "));
        Error::refused(Reason::NotFound, message)
    })
}
