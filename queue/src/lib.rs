//! The task queue: which worker may do which task, and which results count.
//!
//! A task is arithmetic (job, layer, index). The queue keeps a cursor, counters and bitmaps
//! for each job, and entries only for tasks that are leased, failed or tried again.

mod api;
mod check;
pub mod conformance;
mod memory;
mod protocol;
mod redis;
mod snapshot;

use std::num::NonZero;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use vqfarm_core::id::{JobId, RequestId, WorkerId};

pub use self::api::*;
pub use self::memory::MemoryQueue;
pub use self::protocol::{PROTOCOL, VERSION};
pub use self::redis::{Account, ConnectError, Identity, RedisOptions, RedisQueue};
pub use self::snapshot::*;

/// The one contract of all queues. Every call is safe to repeat: with the same request id
/// or ticket it answers as it did the first time.
///
/// A queue is open or closed. A server that was never used, or that came back without its
/// memory, is closed: it changes nothing and answers [`QueueError::Closed`] until somebody
/// has put the jobs back with [`Queue::restore`] and called [`Queue::open`]. Reading is
/// always possible.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Which life of the queue's memory this is; `None` while it is closed.
    async fn epoch(&self) -> Result<Option<Epoch>, QueueError>;

    /// Puts a job back under its own id, also while the queue is closed. A job that is there
    /// stays as it is. Says whether it was missing.
    async fn restore(&self, job: &Restoration) -> Result<bool, QueueError>;

    /// Says that all jobs are back. A queue that is open stays in its epoch.
    async fn open(&self) -> Result<Epoch, QueueError>;

    /// Queues a job and answers with its id; with that of the first submit when the request
    /// id has been seen before.
    async fn submit(&self, submission: &Submission) -> Result<JobId, QueueError>;

    /// Takes up to `most` (at most [`MOST_LEASED`]) neighbouring tasks of one layer. Highest
    /// priority first, then the user who has had least, then layers whose models are loaded,
    /// then the oldest job and its highest layer: what has been begun is finished first. A request
    /// that was given a lease gets the same again while one of its tasks runs.
    async fn lease(
        &self,
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<LeaseAnswer, QueueError>;

    /// Returns when there may be work that a lease answering `Nothing { seen, .. }` missed,
    /// or after `at_most`. Where many wait for little work, not all return, nor at once.
    async fn wait_for_work(&self, seen: u64, at_most: Duration) -> Result<(), QueueError>;

    /// Says that the worker lives and goes on with these tasks.
    async fn heartbeat(
        &self,
        worker: &WorkerInfo,
        tickets: &[Ticket],
    ) -> Result<HeartbeatAnswer, QueueError>;

    /// Makes a task's stored result count.
    async fn commit(&self, ticket: &Ticket) -> Result<Committed, QueueError>;

    /// Commits several tasks in their order, as many calls of `commit` would, in one go.
    /// The answers are in the same order.
    async fn commit_all(&self, tickets: &[Ticket]) -> Result<Commits, QueueError> {
        let mut answers = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            answers.push(self.commit(ticket).await);
        }
        Ok(answers)
    }

    /// Commits what a worker has done and takes what it does next, as `commit_all` and then
    /// `lease` would, in one go where the queue can.
    async fn commit_and_lease(
        &self,
        done: &[Ticket],
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<(Commits, LeaseAnswer), QueueError> {
        let committed = self.commit_all(done).await?;
        Ok((committed, self.lease(request, worker, most).await?))
    }

    /// Says that an attempt failed.
    async fn fail(&self, ticket: &Ticket, failure: &Failure) -> Result<Failed, QueueError>;

    /// Hands a task back without having tried it; does not count as a failed attempt.
    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError>;

    /// Ends the leases that have run out. Each counts as a failed attempt.
    async fn reap(&self) -> Result<Reaped, QueueError>;

    /// No more leases of this job until it is resumed; running tasks go on.
    async fn pause(&self, job: JobId) -> Result<(), QueueError>;

    async fn resume(&self, job: JobId) -> Result<(), QueueError>;

    /// Ends a job: what is not done will not be. Running leases become void.
    async fn cancel(&self, job: JobId) -> Result<(), QueueError>;

    /// Gives tasks a fresh set of attempts; answers how many.
    async fn retry(&self, job: JobId, which: &Retry) -> Result<u64, QueueError>;

    /// Removes a job that is over, and all that is known of it.
    async fn forget(&self, job: JobId) -> Result<(), QueueError>;

    async fn set_priority(&self, job: JobId, priority: i32) -> Result<(), QueueError>;

    /// A draining worker gets no more work and is told to leave.
    async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<(), QueueError>;

    async fn job(&self, job: JobId) -> Result<JobSnapshot, QueueError>;

    /// Jobs, the oldest first.
    async fn jobs(&self, which: Jobs) -> Result<Vec<JobSnapshot>, QueueError>;

    /// All jobs' ids, the oldest first. Takes far less than the jobs themselves.
    async fn job_ids(&self) -> Result<Vec<JobId>, QueueError>;

    /// How many jobs are over, at a cost that does not grow with them.
    async fn ended(&self) -> Result<Ended, QueueError>;

    /// The job's tasks that are leased, delayed or failed, in the order of their numbers.
    async fn tasks(&self, job: JobId, which: &Tasks) -> Result<Vec<TaskSnapshot>, QueueError>;

    /// How many tasks of a layer are done among its first `each`, the next `each` and so on;
    /// the last part may be smaller.
    async fn done(&self, job: JobId, layer: u8, each: NonZero<u64>)
    -> Result<Vec<u64>, QueueError>;

    /// The workers heard of within [`FORGET_WORKER`], in the order of their names.
    async fn workers(&self) -> Result<Vec<WorkerSnapshot>, QueueError>;

    /// What stands behind the queue, and what it risks.
    async fn health(&self) -> Result<Health, QueueError>;

    /// What happens from now on. A reader that is too slow is told how much it missed.
    fn events(&self) -> broadcast::Receiver<Event>;
}
