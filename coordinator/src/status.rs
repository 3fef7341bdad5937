//! The farm at a glance.

use std::collections::BTreeMap;
use std::time::Instant;

use vqfarm_core::ending::cause;
use vqfarm_core::id::JobId;
use vqfarm_queue::{
    JobSnapshot, JobState, Jobs, Persistence, QueueError, TaskCounts, TaskKind, Tasks, WorkerInfo,
    WorkerSnapshot,
};

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::why::{Kind, Reason, first_line};

/// Failed tasks that are looked at to group them, and jobs that are over and have some.
const FAILED: u32 = 1000;
const FAILED_JOBS: u32 = 50;
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
    pub groups: Vec<WorkerGroup>,
    pub tasks_a_minute: f64,
    pub frames_an_hour: f64,
    pub seconds_left: Option<u64>,
    /// The oldest live job of which nothing runs, else the oldest one with tasks that wait for a
    /// worker; and why.
    pub oldest: Option<(JobSnapshot, Vec<Reason>)>,
    pub failures: Vec<Failures>,
    pub health: Vec<PartHealth>,
}

/// Workers that do the same.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerGroup {
    pub activity: Activity,
    pub workers: u64,
    /// Bytes of device memory, all of theirs together.
    pub memory: u64,
    /// Mean share of the last seconds that their devices computed, of those that say.
    pub busy: Option<f64>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    Busy,
    Idle,
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

impl Status {
    fn without_queue(reason: String) -> Self {
        let health = PartHealth { part: "queue", well: false, text: reason, warnings: Vec::new() };
        Self {
            word: "unwell",
            tasks: TaskCounts::default(),
            jobs: BTreeMap::new(),
            workers: BTreeMap::new(),
            memory: 0,
            groups: Vec::new(),
            tasks_a_minute: 0.0,
            frames_an_hour: 0.0,
            seconds_left: None,
            oldest: None,
            failures: Vec::new(),
            health: vec![health],
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

    /// A queue or storage that does not answer is part of the status; so is, if `write` says so, a
    /// storage that cannot be written to.
    ///
    /// # Errors
    /// The queue answers what makes no sense.
    pub async fn status(&self, write: bool) -> Result<Status> {
        let mut status = match self.status_of_queue().await {
            Err(Error::Queue(QueueError::Unavailable(reason))) => Status::without_queue(reason),
            status => status?,
        };
        status.health.push(self.storage_health(write).await);
        if status.health.iter().any(|part| !part.well) {
            status.word = "unwell";
        }
        Ok(status)
    }

    async fn status_of_queue(&self) -> Result<Status> {
        // Of the jobs that are over only numbers are needed, and the last that failed.
        let jobs = self.queue.jobs(Jobs::Live).await?;
        let ended = self.queue.ended().await?;
        let workers = self.queue.workers().await?;
        let mut by_state = BTreeMap::from([
            (word(JobState::Done), ended.done),
            (word(JobState::Failed), ended.failed),
            (word(JobState::Cancelled), ended.cancelled),
        ]);
        by_state.retain(|_, count| *count > 0);
        let mut tasks = TaskCounts::default();
        for job in &jobs {
            *by_state.entry(word(job.state)).or_default() += 1;
            tasks += job.total();
        }
        let groups = self.groups(&workers);
        let alive = groups.iter().filter(|group| group.activity != Activity::Lost);
        let memory = alive.fold(0_u64, |sum, group| sum.saturating_add(group.memory));
        let left = tasks.waiting() + tasks.delayed + tasks.leased;
        let word = match (tasks.leased, left) {
            (1.., _) => "working",
            (0, 1..) => "waiting",
            (0, 0) => "idle",
        };
        let pace = self.pace.tasks_a_minute(self.now());
        Ok(Status {
            word,
            tasks,
            jobs: by_state,
            workers: groups.iter().map(|g| (g.activity.word(), g.workers)).collect(),
            memory,
            groups,
            tasks_a_minute: pace,
            frames_an_hour: self.pace.frames_an_hour(self.now()),
            seconds_left: (pace > 0.0 && left > 0).then(|| (left as f64 * 60.0 / pace) as u64),
            oldest: self.oldest_waiting(&jobs).await?,
            failures: self.failures(&jobs).await?,
            health: vec![self.queue_health().await?],
        })
    }

    /// Workers by what they do.
    fn groups(&self, workers: &[WorkerSnapshot]) -> Vec<WorkerGroup> {
        let mut groups: BTreeMap<Activity, Vec<&WorkerInfo>> = BTreeMap::new();
        for worker in workers {
            groups.entry(self.activity(worker)).or_default().push(&worker.info);
        }
        let group = |(activity, workers): (Activity, Vec<&WorkerInfo>)| {
            let busy: Vec<f64> = workers.iter().filter_map(|w| w.busy).map(f64::from).collect();
            let mean = busy.iter().sum::<f64>() / busy.len().max(1) as f64 / 100.0;
            WorkerGroup {
                activity,
                workers: workers.len() as u64,
                memory: workers.iter().fold(0, |sum, info| sum.saturating_add(info.memory)),
                // What a lost one said is not so any more.
                busy: (!busy.is_empty() && activity != Activity::Lost).then_some(mean),
            }
        };
        groups.into_iter().map(group).collect()
    }

    /// The live job whose tasks wait longest, and why: one of which nothing runs, if there is.
    async fn oldest_waiting(
        &self,
        jobs: &[JobSnapshot],
    ) -> Result<Option<(JobSnapshot, Vec<Reason>)>> {
        let stands = |job: &&JobSnapshot| {
            let total = job.total();
            total.leased == 0 && total.waiting() > 0
        };
        let waits = |job: &&JobSnapshot| job.total().ready > 0;
        let oldest = jobs.iter().find(stands).or_else(|| jobs.iter().find(waits));
        let Some(job) = oldest else { return Ok(None) };
        let mut reasons = self.why(job).await?;
        // What keeps tasks from starting, not what follows from that.
        reasons.retain(|reason| !matches!(reason.kind, Kind::Blocked | Kind::Running));
        Ok(Some((job.clone(), reasons)))
    }

    /// What tasks of live and of failed jobs failed of, the most frequent first.
    async fn failures(&self, live: &[JobSnapshot]) -> Result<Vec<Failures>> {
        let mut jobs = self.queue.jobs(Jobs::InState(JobState::Failed, FAILED_JOBS)).await?;
        jobs.extend(live.iter().filter(|job| job.total().failed > 0).cloned());
        jobs.sort_by_key(|job| job.submitted);

        let mut groups: BTreeMap<String, Failures> = BTreeMap::new();
        let mut left = FAILED;
        // Recent jobs tell more.
        for job in jobs.iter().rev() {
            let which = Tasks { most: left, only: Some(TaskKind::Failed), ..Tasks::default() };
            let tasks = self.queue.tasks(job.job, &which).await?;
            left = left.saturating_sub(tasks.len() as u32);
            for task in tasks {
                let error = task.last_error.unwrap_or_else(|| "no reason given".into());
                let message = first_line(&error).to_owned();
                let group = groups.entry(cause(&message));
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

    async fn storage_health(&self, write: bool) -> PartHealth {
        let began = Instant::now();
        let asked = match write {
            true => self.storage.probe().await,
            false => self.storage.size("health").await.map(drop),
        };
        let milliseconds = began.elapsed().as_millis();
        let url = self.storage.url();
        let (well, text) = match asked {
            Ok(()) if write => {
                (true, format!("{url}, written to and tidied up in {milliseconds} ms"))
            }
            Ok(()) => (true, format!("{url}, answers in {milliseconds} ms")),
            Err(error) => (false, format!("{url}: {error}")),
        };
        PartHealth { part: "storage", well, text, warnings: Vec::new() }
    }
}

/// The state that a word means.
pub fn state(text: &str) -> Option<JobState> {
    let all = [
        JobState::Waiting,
        JobState::Running,
        JobState::Paused,
        JobState::Done,
        JobState::Failed,
        JobState::Cancelled,
    ];
    all.into_iter().find(|state| word(*state) == text)
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
