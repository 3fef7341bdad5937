//! What operators do to jobs and workers. Decisions about a job are stored before the queue
//! hears of them, so that a farm whose queue has lost its memory still knows them.

use vqfarm_core::id::{JobId, WorkerId};
use vqfarm_core::record::JobControl;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::{JobSnapshot, JobState, QueueError, Retry, WorkerSnapshot};

use crate::error::{Error, Result};
use crate::farm::{Farm, layer_number};

impl Farm {
    pub async fn pause(&self, job: JobId) -> Result<JobSnapshot> {
        self.decide(job, "a pause", |control| control.paused = true).await?;
        self.queue.pause(job).await?;
        Ok(self.queue.job(job).await?)
    }

    pub async fn resume(&self, job: JobId) -> Result<JobSnapshot> {
        self.decide(job, "a resume", |control| control.paused = false).await?;
        self.queue.resume(job).await?;
        Ok(self.queue.job(job).await?)
    }

    pub async fn set_priority(&self, job: JobId, priority: i32) -> Result<JobSnapshot> {
        self.decide(job, "a priority", |control| control.priority = Some(priority)).await?;
        self.queue.set_priority(job, priority).await?;
        Ok(self.queue.job(job).await?)
    }

    /// Ends a job. A job that is done stays done.
    pub async fn cancel(&self, job: JobId) -> Result<JobSnapshot> {
        let before = self.queue.job(job).await?;
        if before.state != JobState::Cancelled {
            let old = self.decide(job, "a cancel", |control| control.cancelled = true).await?;
            match self.queue.cancel(job).await {
                Ok(()) => (),
                Err(error @ QueueError::Finished { .. }) => {
                    // Its last task was committed in the meantime: what is stored must not
                    // say otherwise.
                    self.set_control(job, &old).await?;
                    return Err(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.queue.job(job).await?)
    }

    /// Gives tasks a fresh set of attempts: those named, or all that failed for good.
    pub async fn retry(
        &self,
        job: JobId,
        layer: &str,
        indices: Vec<u64>,
    ) -> Result<(u64, JobSnapshot)> {
        let which = if indices.is_empty() {
            Retry::Failed
        } else {
            let layer = layer_number(&self.queue.job(job).await?, layer)?;
            Retry::Tasks { layer, indices }
        };
        let retried = self.queue.retry(job, &which).await?;
        Ok((retried, self.queue.job(job).await?))
    }

    /// A draining worker finishes what it has and leaves.
    pub async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<WorkerSnapshot> {
        self.queue.drain(worker, drain).await?;
        let workers = self.queue.workers().await?;
        let gone = || Error::refused(Reason::NotFound, format!("worker {worker} has just left"));
        workers.into_iter().find(|found| found.info.id == *worker).ok_or_else(gone)
    }

    /// Stores a decision about a job that is not over; answers with what was decided before.
    async fn decide(
        &self,
        job: JobId,
        action: &str,
        change: impl FnOnce(&mut JobControl),
    ) -> Result<JobControl> {
        if self.queue.epoch().await?.is_none() {
            return Err(QueueError::Closed.into());
        }
        let state = self.queue.job(job).await?.state;
        if matches!(state, JobState::Done | JobState::Cancelled) {
            return Err(QueueError::Finished { job, state, action: action.into() }.into());
        }
        let old = self.control(job).await?;
        let mut new = old.clone();
        change(&mut new);
        if new != old {
            self.set_control(job, &new).await?;
        }
        Ok(old)
    }
}
