//! What the queue is told and answers. Plain data: the same over a network.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{JobId, JobName, RequestId, Tag, TaskId, UserName, WorkerId};
use vqfarm_core::plan::Dependency;

use crate::JobState;

/// A layer has at most this many tasks.
pub const MOST_TASKS: u64 = 1 << 32;

/// A lease has at most this many tasks.
pub const MOST_LEASED: u32 = 1024;

/// A worker that leases again within this, saying the same of itself, is not noted anew:
/// [`WorkerSnapshot::last_seen`](crate::WorkerSnapshot) may be older by so much.
pub const NOTE_WORKER: Duration = Duration::from_secs(1);

/// A worker that has been silent for longer is forgotten.
pub const FORGET_WORKER: Duration = Duration::from_secs(24 * 3600);

/// Names one life of the queue's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A job to be queued. The queue stores this much of it and nothing for each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// The same id again is the same submit: it answers with the first one's job.
    pub request: RequestId,
    pub job: JobId,
    pub name: JobName,
    pub user: UserName,
    /// Higher goes first.
    pub priority: i32,
    /// From the bottom up; a layer may depend on the one before it. At most 255.
    pub layers: Vec<LayerSpec>,
    /// Tasks whose results are stored already, by layer and number: they count as done from the start.
    pub done: Vec<(u8, Range<u64>)>,
}

/// A job that was submitted before the queue lost its memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Restoration {
    /// With the tasks whose results are stored as `done`.
    pub submission: Submission,
    /// When the submit was answered.
    pub submitted: Timestamp,
    pub standing: Standing,
}

/// What somebody had decided about a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    #[default]
    Active,
    Paused,
    Cancelled,
}

/// The part of a [`vqfarm_core::plan::Layer`] that the queue must know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerSpec {
    pub name: String,
    pub tasks: u64,
    pub dependency: Dependency,
    pub needs: Needs,
}

/// What a worker must have to do a layer's tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    pub tags: BTreeSet<Tag>,
    /// Bytes of device memory; below 2^53.
    pub memory: u64,
    /// Names of the models; workers that have them loaded are preferred.
    pub models: BTreeSet<String>,
}

/// Who asks for work, and what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    pub id: WorkerId,
    pub tags: BTreeSet<Tag>,
    /// Bytes of device memory.
    pub memory: u64,
    /// Names of the models in memory now.
    pub loaded: BTreeSet<String>,
    /// Percent of the last seconds that its devices computed, once it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<u8>,
    /// Bytes free on this machine where it keeps models and makes films, if it knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
}

/// Proof of a lease: the attempt's number and a token that nobody can guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ticket {
    pub task: TaskId,
    /// Counts the task's leases from 1.
    pub attempt: u32,
    pub token: Token,
}

/// A random number that names one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Token(pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A time-limited right to neighbouring tasks of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// In the order of their numbers; at least one.
    pub tickets: Vec<Ticket>,
    /// By the queue's clock. Heartbeat well before.
    pub expires: Timestamp,
    /// How long a lease or heartbeat lasts.
    pub lasts: Duration,
}

/// The answer to a worker that asks for work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LeaseAnswer {
    Work(Lease),
    /// Nothing for this worker. Pass `seen` to [`crate::Queue::wait_for_work`].
    Nothing {
        seen: u64,
        /// When a task that waits for its next attempt may be ready.
        due_in: Option<Duration>,
    },
    /// Finish what you have and leave.
    Drain,
}

/// What a heartbeat says of one lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Beat {
    /// Good until then, by the queue's clock.
    Extended(Timestamp),
    /// The job was cancelled: drop the task.
    Cancelled,
    /// The lease is over: drop the task, its result would be refused.
    Stale,
}

/// The answer to a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// One for each ticket, in their order.
    pub beats: Vec<Beat>,
    /// Finish what you have and leave.
    pub drain: bool,
}

/// The answer to a commit that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Committed {
    Now,
    /// This very attempt was committed earlier; the answer must have been lost.
    Before,
}

/// The answers to several commits, in their order.
pub type Commits = Vec<Result<Committed, QueueError>>;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Kept up to its first 2,000 bytes.
    pub message: String,
    /// Whether another attempt may succeed. If not, the task is quarantined at once.
    pub retryable: bool,
}

impl Failure {
    /// As much of the message as is kept.
    pub fn kept(&self) -> &str {
        &self.message[..self.message.floor_char_boundary(2000)]
    }
}

/// What becomes of a failed task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failed {
    /// It waits until then for its next attempt.
    Retry(Timestamp),
    /// It has failed for good, until somebody retries it.
    Quarantined,
}

/// Which tasks to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retry {
    /// All that failed for good.
    Failed,
    /// These, whether failed or done (a done task is done over).
    Tasks { layer: u8, indices: Vec<u64> },
}

/// What [`crate::Queue::reap`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reaped {
    /// Tasks whose lease had run out.
    pub expired: Vec<TaskId>,
    /// Those of them that have failed too often.
    pub quarantined: Vec<TaskId>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Submitted(JobId),
    Leased {
        tasks: Vec<TaskId>,
        worker: WorkerId,
    },
    Committed(TaskId),
    Failed {
        task: TaskId,
        message: String,
        outcome: Failed,
    },
    Released(TaskId),
    Job {
        job: JobId,
        state: JobState,
    },
    /// The queue was opened with an empty memory or after a restoration.
    Opened(Epoch),
    /// Some events may be missing here: the connection was lost for a while.
    Gap,
}

/// Why the queue refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum QueueError {
    #[error("no job {0}")]
    NoSuchJob(JobId),
    #[error("job {} has no task {} in layer {}", .0.job, .0.index, .0.layer)]
    NoSuchTask(TaskId),
    #[error("no worker {0}")]
    NoSuchWorker(WorkerId),
    #[error("job {0} is there already, from another submit")]
    JobExists(JobId),
    #[error("the lease of task {} (attempt {}) is over; its result does not count", .0.task, .0.attempt)]
    Stale(Ticket),
    #[error("task {0} cannot be committed before the task that it follows")]
    OutOfOrder(TaskId),
    #[error("job {job} is {state:?}; {action} changes nothing any more")]
    Finished { job: JobId, state: JobState, action: String },
    #[error("the submission is not valid: {0}")]
    Invalid(String),
    #[error("job {job} is {state:?}; cancel it before it is forgotten")]
    NotOver { job: JobId, state: JobState },
    /// The queue has lost its memory or was never opened: restore its jobs, then open it.
    #[error("the queue is closed: it has lost its memory or is new; reconcile the farm first")]
    Closed,
    #[error("the queue's server is full and takes no new jobs: {0}")]
    Full(String),
    /// The farm's queue is kept in a way that this program does not know.
    #[error("{0}")]
    Incompatible(String),
    /// The account that the client uses may not do this.
    #[error("the queue's server refuses this: {0}")]
    Denied(String),
    /// Something else is stored where the queue keeps its own.
    #[error("the queue's memory is not as it should be: {0}")]
    Corrupt(String),
    /// The queue's server cannot be reached or does not answer sensibly.
    #[error("the queue does not answer: {0}")]
    Unavailable(String),
}

/// The numbers of a farm's policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// How long a lease or heartbeat lasts.
    pub lease: Duration,
    /// Attempts that may fail or run out before a task is quarantined.
    pub attempts: u32,
    /// The pause after the first failed attempt; doubles with each further one.
    pub backoff: Duration,
    /// For how long a lost answer to commit, fail or release can be asked for again.
    pub memory: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            attempts: 3,
            backoff: Duration::from_secs(2),
            memory: Duration::from_secs(600),
        }
    }
}
