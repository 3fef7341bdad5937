//! What the queue tells of its jobs, tasks, workers and itself.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};
use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{JobId, JobName, TaskId, UserName, WorkerId};
use vqfarm_core::plan::Dependency;

use crate::{Epoch, Needs, WorkerInfo};

/// Which jobs to tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Jobs {
    #[default]
    All,
    /// Those that are not [`JobState::is_final`].
    Live,
    /// So many of those submitted last.
    Newest(u32),
    /// So many of those submitted last that are in this state.
    InState(JobState, u32),
}

/// How many jobs are over, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
}

/// Which of a job's tasks to tell of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// Only those after this layer and number: the last ones of the page before.
    pub after: Option<(u8, u64)>,
    /// At most so many.
    pub most: u32,
    pub only: Option<TaskKind>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { after: None, most: u32::MAX, only: None }
    }
}

/// A [`TaskState`] without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    Leased,
    Delayed,
    Failed,
}

/// A job's state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Nothing of it has been leased yet.
    Waiting,
    Running,
    Paused,
    Done,
    /// Some tasks failed for good and nothing else of it can run.
    Failed,
    Cancelled,
}

impl JobState {
    /// Whether nothing happens to the job any more by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// How many tasks are in which state. They add up to `tasks`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    pub tasks: u64,
    pub done: u64,
    /// Failed for good.
    pub failed: u64,
    pub cancelled: u64,
    pub leased: u64,
    /// Waiting for their next attempt.
    pub delayed: u64,
    /// Waiting for nothing but a worker.
    pub ready: u64,
    /// Waiting for other tasks.
    pub blocked: u64,
}

impl TaskCounts {
    /// Waiting for a worker or for other tasks.
    pub fn waiting(&self) -> u64 {
        self.ready + self.blocked
    }
}

impl AddAssign for TaskCounts {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.done += other.done;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.leased += other.leased;
        self.delayed += other.delayed;
        self.ready += other.ready;
        self.blocked += other.blocked;
    }
}

/// A layer as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSnapshot {
    pub name: String,
    pub dependency: Dependency,
    pub needs: Needs,
    pub counts: TaskCounts,
}

/// A job as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSnapshot {
    pub job: JobId,
    pub name: JobName,
    pub user: UserName,
    pub priority: i32,
    pub state: JobState,
    pub submitted: Timestamp,
    /// When it became [`JobState::is_final`].
    pub finished: Option<Timestamp>,
    pub layers: Vec<LayerSnapshot>,
}

impl JobSnapshot {
    /// The layers' counts added up.
    pub fn total(&self) -> TaskCounts {
        let mut sum = TaskCounts::default();
        for layer in &self.layers {
            sum += layer.counts;
        }
        sum
    }
}

/// A task that has more to tell than its number: leased, delayed or failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSnapshot {
    pub task: TaskId,
    pub attempt: u32,
    pub state: TaskState,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    Leased { worker: WorkerId, expires: Timestamp },
    Delayed { until: Timestamp },
    Failed,
}

impl TaskState {
    pub fn kind(&self) -> TaskKind {
        match self {
            Self::Leased { .. } => TaskKind::Leased,
            Self::Delayed { .. } => TaskKind::Delayed,
            Self::Failed => TaskKind::Failed,
        }
    }
}

/// A worker as it was last heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSnapshot {
    pub info: WorkerInfo,
    /// The release that it is of; none of releases that did not say it yet.
    pub version: Option<String>,
    pub last_seen: Timestamp,
    pub draining: bool,
    pub leased: u64,
}

/// What stands behind a queue, and what it risks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `memory`, `redis` or `valkey`.
    pub server: String,
    pub version: String,
    /// Names the server's process. Another one after a restart or failover: the last things
    /// that the queue was told may then be missing, so compare it with what is stored.
    pub run: String,
    pub epoch: Option<Epoch>,
    /// The queue's own time, by which leases run out.
    pub now: Timestamp,
    pub persistence: Persistence,
    /// Servers that hold a copy now.
    pub replicas: u32,
    /// Bytes.
    pub memory_used: u64,
    /// Bytes; `None` where there is no limit.
    pub memory_limit: Option<u64>,
    /// What an operator should know, a sentence each.
    pub warnings: Vec<String>,
}

/// What of the queue's memory survives its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Persistence {
    Nothing,
    /// A snapshot now and then.
    Snapshots,
    /// Every change, written to disk by the operating system when it likes.
    Log,
    /// Every change, on disk within a second.
    LogEverySecond,
    /// Every change, on disk before it is answered.
    LogAlways,
}
