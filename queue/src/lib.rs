//! The task queue: which worker may do which task, and which results count.
//!
//! A task is arithmetic (job, layer, index). The queue keeps a cursor, counters and bitmaps
//! for each job, and entries only for tasks that are leased, failed or tried again.

mod api;
pub mod conformance;
mod memory;

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use vqfarm_core::id::{JobId, RequestId, WorkerId};

pub use self::api::*;
pub use self::memory::MemoryQueue;

/// The one contract of all queues. Every call is safe to repeat: with the same request id
/// or ticket it answers as it did the first time.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Queues a job and answers with its id; with that of the first submit when the request
    /// id has been seen before.
    async fn submit(&self, submission: &Submission) -> Result<JobId, QueueError>;

    /// Takes up to `most` neighbouring tasks of one layer. Highest priority first, then the
    /// user who has had least, then jobs whose models are loaded, then the oldest.
    async fn lease(
        &self,
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<LeaseAnswer, QueueError>;

    /// Returns when there may be work that a lease answering `Nothing { seen, .. }` missed,
    /// or after `at_most`.
    async fn wait_for_work(&self, seen: u64, at_most: Duration) -> Result<(), QueueError>;

    /// Says that the worker lives and goes on with these tasks.
    async fn heartbeat(
        &self,
        worker: &WorkerInfo,
        tickets: &[Ticket],
    ) -> Result<HeartbeatAnswer, QueueError>;

    /// Makes a task's stored result count.
    async fn commit(&self, ticket: &Ticket) -> Result<Committed, QueueError>;

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

    async fn set_priority(&self, job: JobId, priority: i32) -> Result<(), QueueError>;

    /// A draining worker gets no more work and is told to leave.
    async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<(), QueueError>;

    async fn job(&self, job: JobId) -> Result<JobSnapshot, QueueError>;

    /// All jobs, the oldest first.
    async fn jobs(&self) -> Result<Vec<JobSnapshot>, QueueError>;

    /// The job's tasks that are leased, delayed or failed, in the order of their numbers.
    async fn tasks(&self, job: JobId) -> Result<Vec<TaskSnapshot>, QueueError>;

    async fn workers(&self) -> Result<Vec<WorkerSnapshot>, QueueError>;

    /// What happens from now on. A reader that is too slow is told how much it missed.
    fn events(&self) -> broadcast::Receiver<Event>;
}
