//! What is known of a job that has ended.

use std::time::Duration;

use vqfarm_core::clock::Timestamp;
use vqfarm_core::ending::{self, Ending, FrameTotals, JobEnd, TaskTotals};
use vqfarm_core::keys;
use vqfarm_queue::{JobSnapshot, JobState, TaskKind, Tasks};

use crate::error::Result;
use crate::farm::Farm;

/// Failed tasks that are looked at to group them.
const FAILED: u32 = 1000;
/// Frames that are counted one by one.
const COUNTED: u64 = 20_000;
/// The queue's clock and the storage's are no further apart.
const APART: Duration = Duration::from_secs(600);

/// How a job ended, if it has.
pub fn ending(state: JobState) -> Option<Ending> {
    match state {
        JobState::Done => Some(Ending::Done),
        JobState::Failed => Some(Ending::Failed),
        JobState::Cancelled => Some(Ending::Cancelled),
        JobState::Waiting | JobState::Running | JobState::Paused => None,
    }
}

impl Farm {
    /// What is told of a job that has ended; `None` while it has not.
    pub async fn job_end(&self, job: &JobSnapshot) -> Result<Option<JobEnd>> {
        let Some(state) = ending(job.state) else { return Ok(None) };
        let finished = job.finished.unwrap_or_else(|| self.now());
        let counts = job.total();
        let which = Tasks { most: FAILED, only: Some(TaskKind::Failed), ..Tasks::default() };
        let failed = match counts.failed {
            0 => Vec::new(),
            _ => self.queue.tasks(job.job, &which).await?,
        };
        let why = |error: &Option<String>| error.clone().unwrap_or("no reason given".into());
        let messages: Vec<String> = failed.iter().map(|task| why(&task.last_error)).collect();
        Ok(Some(JobEnd {
            event: state.into(),
            farm: Some(self.name.clone()),
            job: job.job,
            name: job.name.clone(),
            user: Some(job.user.clone()),
            state,
            started: time(job.submitted),
            ended: time(finished),
            seconds: finished.since(job.submitted).as_secs_f64(),
            tasks: Some(TaskTotals {
                total: counts.tasks,
                done: counts.done,
                failed: counts.failed,
                cancelled: counts.cancelled,
            }),
            frames: self.frame_totals(job).await?,
            failures: ending::causes(messages.iter().map(String::as_str)),
            outputs: self.output_urls(job).await?,
        }))
    }

    async fn frame_totals(&self, job: &JobSnapshot) -> Result<FrameTotals> {
        let total = self.plan(job.job).await?.map_or(0, |plan| plan.frames());
        let stored = match job.state {
            JobState::Done => Some(total),
            _ if total > COUNTED => None,
            _ => {
                let names = self.storage.job(job.job).names(keys::FRAMES).await?;
                Some(names.iter().filter(|name| keys::frame_index(name).is_some()).count() as u64)
            }
        };
        Ok(FrameTotals { total, stored })
    }

    async fn output_urls(&self, job: &JobSnapshot) -> Result<Vec<String>> {
        let names = self.storage.job(job.job).names(keys::OUTPUTS).await?;
        let farm = self.storage.url().trim_end_matches('/');
        let root = keys::job_root(job.job);
        Ok(names.iter().map(|name| format!("{farm}/{root}/{}/{name}", keys::OUTPUTS)).collect())
    }

    /// When a job ended. A queue that has lost its memory believes that the jobs which were put back
    /// have ended just then; what is stored of them is older.
    pub async fn ended_at(&self, job: &JobSnapshot) -> Result<Timestamp> {
        let finished = job.finished.unwrap_or_else(|| self.now());
        let key = match job.state {
            JobState::Cancelled => Some(keys::JOB_CONTROL),
            JobState::Done => {
                let plan = self.plan(job.job).await?;
                plan.and_then(|plan| plan.outputs().last().copied())
            }
            // One that was put back has not failed yet.
            _ => None,
        };
        let stored = match key {
            Some(key) => self.storage.job(job.job).modified(key).await?,
            None => None,
        };
        Ok(stored.filter(|stored| finished.since(*stored) > APART).unwrap_or(finished))
    }
}

fn time(at: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default()
}
