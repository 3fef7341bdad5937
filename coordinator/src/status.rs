//! The farm at a glance.

use std::collections::BTreeMap;
use std::time::Instant;

use vqfarm_core::id::JobId;
use vqfarm_queue::{
    JobSnapshot, JobState, Jobs, Persistence, TaskCounts, TaskKind, Tasks, WorkerSnapshot,
};

use crate::error::Result;
use crate::farm::Farm;
use crate::why::{Kind, Reason, first_line};

/// Failed tasks that are looked at to group them.
const FAILED: u32 = 1000;
/// Groups of failures that are told.
const GROUPS: usize = 5;

/// The farm at a glance.
#[derive(Clone, Debug)]
pub struct Status {
    pub word: &'static str,
    /// Of the jobs that are not over.
    pub tasks: TaskCounts,
    pub jobs: BTreeMap<&'static str, u64>,
    pub workers: BTreeMap<&'static str, u64>,
    /// Bytes of device memory of the workers that are not lost.
    pub memory: u64,
    pub tasks_a_minute: f64,
    pub seconds_left: Option<u64>,
    /// The oldest live job of which nothing runs, and why.
    pub oldest: Option<(JobSnapshot, Vec<Reason>)>,
    pub failures: Vec<Failures>,
    pub health: Vec<PartHealth>,
}

/// Tasks that failed of the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failures {
    pub message: String,
    pub tasks: u64,
    pub job: JobId,
}

/// How a part of the farm is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHealth {
    pub part: &'static str,
    pub well: bool,
    pub text: String,
    pub warnings: Vec<String>,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    Idle,
    Busy,
    Draining,
    Lost,
}

impl Activity {
    pub fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

impl Farm {
    pub fn activity(&self, worker: &WorkerSnapshot) -> Activity {
        match (self.is_alive(worker), worker.draining, worker.leased) {
            (false, _, _) => Activity::Lost,
            (true, true, _) => Activity::Draining,
            (true, false, 0) => Activity::Idle,
            (true, false, _) => Activity::Busy,
        }
    }

    /// # Errors
    /// The queue does not answer: then there is nothing to tell. Storage that does not answer
    /// is part of the status.
    pub async fn status(&self) -> Result<Status> {
        let jobs = self.queue.jobs(Jobs::All).await?;
        let workers = self.queue.workers().await?;
        let mut by_state = BTreeMap::new();
        let mut tasks = TaskCounts::default();
        for job in &jobs {
            *by_state.entry(word(job.state)).or_default() += 1;
            if !job.state.is_final() {
                tasks += job.total();
            }
        }
        let mut workers_by = BTreeMap::new();
        let mut memory: u64 = 0;
        for worker in &workers {
            let activity = self.activity(worker);
            *workers_by.entry(activity.word()).or_default() += 1;
            if activity != Activity::Lost {
                memory = memory.saturating_add(worker.info.memory);
            }
        }
        let health = vec![self.queue_health().await?, self.storage_health().await];
        let open = self.queue.epoch().await?.is_some();
        let unwell = !open || health.iter().any(|part| !part.well);
        let left = tasks.waiting() + tasks.delayed + tasks.leased;
        let word = match (unwell, tasks.leased, left) {
            (true, _, _) => "unwell",
            (false, 1.., _) => "working",
            (false, 0, 1..) => "waiting",
            (false, 0, 0) => "idle",
        };
        let pace = self.pace.a_minute(self.now());
        let oldest = jobs.iter().find(|job| {
            let total = job.total();
            !job.state.is_final() && total.leased == 0 && total.ready + total.blocked > 0
        });
        let oldest = match oldest {
            Some(job) => {
                let mut reasons = self.why(job).await?;
                // What keeps the whole job from starting, not what follows from that.
                reasons.retain(|reason| reason.kind != Kind::Blocked);
                Some((job.clone(), reasons))
            }
            None => None,
        };
        Ok(Status {
            word,
            tasks,
            jobs: by_state,
            workers: workers_by,
            memory,
            tasks_a_minute: pace,
            seconds_left: (pace > 0.0 && left > 0).then(|| (left as f64 * 60.0 / pace) as u64),
            oldest,
            failures: self.failures(&jobs).await?,
            health,
        })
    }

    /// What tasks failed of, the most frequent first.
    async fn failures(&self, jobs: &[JobSnapshot]) -> Result<Vec<Failures>> {
        let mut groups: BTreeMap<String, Failures> = BTreeMap::new();
        let mut left = FAILED;
        // Recent jobs tell more.
        let failing = jobs
            .iter()
            .rev()
            .filter(|job| job.state != JobState::Cancelled && job.total().failed > 0);
        for job in failing {
            let which = Tasks { most: left, only: Some(TaskKind::Failed), ..Tasks::default() };
            let tasks = self.queue.tasks(job.job, &which).await?;
            left = left.saturating_sub(tasks.len() as u32);
            for task in tasks {
                let error = task.last_error.unwrap_or_else(|| "no reason given".into());
                let message = first_line(&error).to_owned();
                let group = groups.entry(message.clone());
                group.or_insert(Failures { message, tasks: 0, job: job.job }).tasks += 1;
            }
            if left == 0 {
                break;
            }
        }
        let mut groups: Vec<Failures> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.tasks));
        groups.truncate(GROUPS);
        Ok(groups)
    }

    async fn queue_health(&self) -> Result<PartHealth> {
        let health = self.queue.health().await?;
        let limit = match health.memory_limit {
            Some(limit) => format!("{} of {} MiB used", health.memory_used >> 20, limit >> 20),
            None => format!("{} MiB used", health.memory_used >> 20),
        };
        let kept = match health.persistence {
            Persistence::Nothing => "keeps nothing over a restart",
            Persistence::Snapshots => "keeps snapshots",
            Persistence::Log => "keeps a log",
            Persistence::LogEverySecond => "keeps a log, on disk every second",
            Persistence::LogAlways => "keeps a log, on disk at once",
        };
        let replicas = match health.replicas {
            0 => String::new(),
            1 => ", 1 replica".into(),
            n => format!(", {n} replicas"),
        };
        let closed = if health.epoch.is_some() { "" } else { "closed until it is reconciled, " };
        Ok(PartHealth {
            part: "queue",
            well: health.epoch.is_some(),
            text: format!(
                "{closed}{} {}, {limit}, {kept}{replicas}",
                health.server, health.version
            ),
            warnings: health.warnings,
        })
    }

    async fn storage_health(&self) -> PartHealth {
        let began = Instant::now();
        let asked = self.storage.size("health").await;
        let milliseconds = began.elapsed().as_millis();
        let url = self.storage.url();
        let (well, text) = match asked {
            Ok(_) => (true, format!("{url}, answers in {milliseconds} ms")),
            Err(error) => (false, format!("{url}: {error}")),
        };
        PartHealth { part: "storage", well, text, warnings: Vec::new() }
    }
}

pub fn word(state: JobState) -> &'static str {
    match state {
        JobState::Waiting => "waiting",
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    }
}
