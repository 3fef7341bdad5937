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

    /// Gives tasks a fresh set of attempts: those named by the numbers that people know them by,
    /// or all that failed for good.
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
            let plan = self.plan(job).await?;
            let planned = plan.as_ref().and_then(|plan| plan.layers.get(usize::from(layer)));
            let task = |number| planned.map_or(number, |planned| planned.task_of(number));
            let indices = indices.into_iter().map(task).collect();
            Retry::Tasks { layer, indices }
        };
        let retried = self.try_again(job, &which).await?;
        Ok((retried, self.queue.job(job).await?))
    }

    /// Has tasks tried again. What the job ends with after that is a new end, which is stored before
    /// the queue hears of it, and taken back where nothing had to be tried. It is counted once more
    /// afterwards: whoever looks in between takes the old end for none of those that follow.
    pub async fn try_again(&self, job: JobId, which: &Retry) -> Result<u64> {
        // Nothing is stored of a job that is not there.
        self.queue.job(job).await?;
        let old = self.control(job).await?;
        if old.deleted {
            let message = format!("job {} is being deleted", job.short());
            return Err(Error::refused(Reason::Finished, message));
        }
        let retries = old.retries.saturating_add(1);
        self.set_control(job, &JobControl { retries, ..old }).await?;
        let retried = self.queue.retry(job, which).await;
        let retries =
            if matches!(retried, Ok(1..)) { retries.saturating_add(1) } else { old.retries };
        let decided = self.control(job).await?;
        self.set_control(job, &JobControl { retries, ..decided }).await?;
        Ok(retried?)
    }

    /// A draining worker finishes what it has and leaves.
    pub async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<WorkerSnapshot> {
        self.queue.drain(worker, drain).await?;
        let workers = self.queue.workers().await?;
        let gone = || Error::refused(Reason::NotFound, format!("worker {worker} has just left"));
        workers.into_iter().find(|found| found.info.id == *worker).ok_or_else(gone)
    }

    /// Makes the queue's job what was decided about it: a server that lagged behind the one that
    /// it replaced may have missed it. Answers whether anything had to change.
    ///
    /// # Errors
    /// Queue or storage do not answer; what is stored cannot be read.
    pub async fn enforce(&self, job: JobId) -> Result<bool> {
        let mut decided = self.control(job).await?;
        let mut changed = false;
        loop {
            changed |= self.apply(job, &decided).await?;
            // Decisions are stored before the queue hears of them, so one that was made in the
            // meantime shows here, and has the last word.
            let now = self.control(job).await?;
            if now == decided {
                return Ok(changed);
            }
            decided = now;
        }
    }

    async fn apply(&self, job: JobId, decided: &JobControl) -> Result<bool> {
        let is = self.queue.job(job).await?;
        if matches!(is.state, JobState::Done | JobState::Cancelled) {
            return Ok(false);
        }
        if decided.cancelled {
            return match self.queue.cancel(job).await {
                Ok(()) => Ok(true),
                // Done in the meantime, which no cancel changes.
                Err(QueueError::Finished { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            };
        }
        let mut changed = false;
        if let Some(priority) = decided.priority.filter(|priority| *priority != is.priority) {
            self.queue.set_priority(job, priority).await?;
            changed = true;
        }
        // A job that has failed shows no pause.
        if is.state != JobState::Failed && decided.paused != (is.state == JobState::Paused) {
            match decided.paused {
                true => self.queue.pause(job).await?,
                false => self.queue.resume(job).await?,
            }
            changed = true;
        }
        Ok(changed)
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
        if old.deleted {
            return Err(QueueError::Finished { job, state, action: action.into() }.into());
        }
        let mut new = old.clone();
        change(&mut new);
        if new != old {
            self.set_control(job, &new).await?;
        }
        Ok(old)
    }
}
