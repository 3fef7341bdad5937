//! Whether the farm keeps its promises: what is checked here is what the fault tests check.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use vqfarm_core::id::{JobId, WorkerId};
use vqfarm_core::keys;
use vqfarm_core::plan::{Plan, Work, ranges};
use vqfarm_queue::{
    JobSnapshot, JobState, Jobs, LayerSnapshot, QueueError, Retry, TaskCounts, TaskState, Tasks,
};
use vqfarm_storage::{Found, check};

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::status::Activity;

/// Frames that are read at the same time.
const AT_ONCE: usize = 8;
/// A worker that takes longer than this to take what it could have is idling.
const IDLE: Duration = Duration::from_secs(2);
/// How often idling is looked at within that time.
const LOOKS: u32 = 4;

/// What was looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    pub jobs: u64,
    /// Stored frames that were read to their end.
    pub frames: u64,
    pub problems: Vec<Problem>,
}

/// A promise that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub job: Option<JobId>,
    pub kind: ProblemKind,
    pub text: String,
    /// The tasks have been given back to the queue.
    pub repaired: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// Submitted ≠ done + failed + cancelled + live.
    Counts,
    /// A done frame is missing, damaged or another job's.
    Frame,
    /// A contact sheet, film or table that was made is missing.
    Output,
    /// A lease without a worker.
    Lease,
    /// Work that nobody does though somebody could.
    Idle,
    /// Storage and queue do not know the same jobs.
    Record,
}

/// What is not stored of what should be.
enum Missing {
    Frames(Vec<u64>),
    /// Too few, but which ones cannot be told while tasks wait.
    Unknown(String),
}

impl ProblemKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Counts => "counts",
            Self::Frame => "frame",
            Self::Output => "output",
            Self::Lease => "lease",
            Self::Idle => "idle",
            Self::Record => "record",
        }
    }
}

impl Farm {
    /// Checks one job or all. With `repair`, done tasks whose frames are missing or damaged are
    /// given back to the queue.
    ///
    /// # Errors
    /// Queue or storage do not answer.
    pub async fn audit(&self, job: Option<JobId>, repair: bool) -> Result<Audit> {
        let mut audit = Audit::default();
        let jobs = match job {
            Some(job) => vec![self.queue.job(job).await?],
            None => self.queue.jobs(Jobs::All).await?,
        };
        if job.is_none() {
            self.strangers(&jobs, &mut audit).await?;
        }
        for job in &jobs {
            audit.jobs += 1;
            counts(job, &mut audit);
            self.leases(job, &mut audit).await?;
            self.frames(job, repair, &mut audit).await?;
        }
        self.idling(job, &mut audit).await?;
        Ok(audit)
    }

    /// Jobs in storage that the queue does not know.
    async fn strangers(&self, jobs: &[JobSnapshot], audit: &mut Audit) -> Result<()> {
        let known: HashSet<JobId> = jobs.iter().map(|job| job.job).collect();
        for job in self.storage.jobs().await? {
            // One that is being submitted at this moment is known by now.
            let missing = !known.contains(&job)
                && matches!(self.queue.job(job).await, Err(QueueError::NoSuchJob(_)));
            if missing && self.storage.job(job).size(keys::JOB_RECORD).await?.is_some() {
                let text = "it is in storage, but not in the queue; run vqfarm reconcile".into();
                audit.add(Some(job), ProblemKind::Record, text);
            }
        }
        Ok(())
    }

    async fn leases(&self, job: &JobSnapshot, audit: &mut Audit) -> Result<()> {
        if job.total().leased == 0 {
            return Ok(());
        }
        let known: HashMap<WorkerId, bool> = {
            let workers = self.queue.workers().await?;
            workers.into_iter().map(|w| (w.info.id.clone(), self.is_alive(&w))).collect()
        };
        let now = self.now();
        for task in self.queue.tasks(job.job, &Tasks::default()).await? {
            let TaskState::Leased { worker, expires } = task.state else { continue };
            // A lost worker's lease is ended within a lease and a few seconds.
            let overdue = now.since(expires) > Duration::from_secs(5);
            if !known.contains_key(&worker) || overdue {
                let text = format!(
                    "task {} of layer {} is leased to {worker}, which is gone",
                    task.task.index,
                    job.layers[usize::from(task.task.layer)].name
                );
                audit.add(Some(job.job), ProblemKind::Lease, text);
            }
        }
        Ok(())
    }

    /// Every stored frame is whole and the job's own, and every done one is stored.
    async fn frames(&self, job: &JobSnapshot, repair: bool, audit: &mut Audit) -> Result<()> {
        let record = match self.record(job.job).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                let text = "it has no job.json in storage".into();
                audit.add(Some(job.job), ProblemKind::Record, text);
                return Ok(());
            }
            Err(Error::Unreadable { key, reason }) => {
                audit.add(Some(job.job), ProblemKind::Record, format!("{key}: {reason}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let plan = match record.plan() {
            Ok(plan) => plan,
            Err(error) => {
                audit.add(Some(job.job), ProblemKind::Record, error.to_string());
                return Ok(());
            }
        };
        let store = self.storage.job(job.job);
        let names = store.names(keys::FRAMES).await?;
        let indices = names.iter().filter_map(|name| keys::frame_index(name));
        let indices: Vec<u64> = indices.filter(|index| *index < plan.frames()).collect();
        let (store, spec) = (&store, &record.spec_hash);
        let found: Vec<(u64, Found)> = stream::iter(indices)
            .map(|index| async move {
                Ok::<_, Error>((index, check(store, &keys::frame(index), spec).await?))
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut bad: Vec<(u64, String)> = Vec::new();
        let mut whole = BTreeSet::new();
        for (index, found) in found {
            match found {
                Found::Frame(_) => {
                    whole.insert(index);
                }
                Found::Nothing => (),
                Found::Damaged(why) => bad.push((index, format!("is damaged: {why}"))),
                Found::OtherJob => bad.push((index, "is another job's".into())),
            }
        }
        audit.frames += whole.len() as u64;
        let mut there = whole;
        there.extend(bad.iter().map(|(index, _)| *index));
        // The counts of before the listing: what is committed later may be missing in it.
        for (number, layer) in (0..).zip(&job.layers) {
            match self.missing(job, (number, layer), &plan, &there).await? {
                Missing::Frames(frames) => {
                    bad.extend(frames.into_iter().map(|index| (index, "is missing".to_owned())));
                }
                Missing::Unknown(text) => audit.add(Some(job.job), ProblemKind::Frame, text),
            }
        }
        for (index, why) in bad {
            let repaired = repair && self.do_again(job, plan.maker(index)).await?;
            let text = format!("{} {why}", keys::frame(index));
            let kind = ProblemKind::Frame;
            audit.problems.push(Problem { job: Some(job.job), kind, text, repaired });
        }
        self.outputs(job, &plan, repair, audit).await
    }

    /// What has been stitched is stored.
    async fn outputs(
        &self,
        job: &JobSnapshot,
        plan: &Plan,
        repair: bool,
        audit: &mut Audit,
    ) -> Result<()> {
        let layers = (0..).zip(&plan.layers).zip(&job.layers);
        for ((number, layer), found) in layers {
            if layer.work != Work::Stitch || found.counts.done == 0 {
                continue;
            }
            let mut missing = Vec::new();
            for key in plan.outputs() {
                if self.storage.job(job.job).size(key).await?.is_none() {
                    missing.push(key);
                }
            }
            if missing.is_empty() {
                continue;
            }
            let repaired = repair && self.do_again(job, Some((number, 0))).await?;
            let text = format!("{} is missing, though it was stitched", missing.join(", "));
            let kind = ProblemKind::Output;
            audit.problems.push(Problem { job: Some(job.job), kind, text, repaired });
        }
        Ok(())
    }

    /// Frames of a layer's done tasks that are not among the stored ones.
    async fn missing(
        &self,
        job: &JobSnapshot,
        (number, layer): (u8, &LayerSnapshot),
        plan: &Plan,
        there: &BTreeSet<u64>,
    ) -> Result<Missing> {
        let Some(planned) = plan.layers.get(usize::from(number)) else {
            return Ok(Missing::Frames(Vec::new()));
        };
        let Work::Render { frames, .. } = &planned.work else {
            return Ok(Missing::Frames(Vec::new()));
        };
        let made = plan.made(there);
        let made = made.iter().filter(|(at, _)| *at == number).map(|(_, range)| range);
        let stored: u64 = made.map(|range| range.end - range.start).sum();
        let counts = &layer.counts;
        if stored >= counts.done {
            return Ok(Missing::Frames(Vec::new()));
        }
        // Which ones is known where nothing waits: all but the failed.
        if counts.done + counts.failed < counts.tasks {
            let own = there.range(frames.clone()).copied().collect();
            let shown: Vec<String> = ranges(&own)
                .iter()
                .take(10)
                .map(|range| format!("{}-{}", range.start, range.end - 1))
                .collect();
            return Ok(Missing::Unknown(format!(
                "of {} done tasks of layer {} the frames of {stored} are stored (frames {})",
                counts.done,
                layer.name,
                shown.join(", ")
            )));
        }
        let tasks = self.queue.tasks(job.job, &Tasks::default()).await?;
        let failed: HashSet<u64> = tasks
            .iter()
            .filter(|task| task.task.layer == number && task.state == TaskState::Failed)
            .map(|task| task.task.index)
            .collect();
        let wanted = (0..counts.tasks).filter(|index| !failed.contains(index));
        let wanted = wanted.filter_map(|index| planned.frames_of(index)).flatten();
        Ok(Missing::Frames(wanted.filter(|frame| !there.contains(frame)).collect()))
    }

    async fn do_again(&self, job: &JobSnapshot, task: Option<(u8, u64)>) -> Result<bool> {
        let Some((layer, index)) = task.filter(|_| job.state != JobState::Cancelled) else {
            return Ok(false);
        };
        let which = Retry::Tasks { layer, indices: vec![index] };
        match self.queue.retry(job.job, &which).await {
            Ok(retried) => Ok(retried > 0),
            Err(QueueError::Finished { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Ready tasks that a fitting, idle worker leaves lying for some time.
    async fn idling(&self, only: Option<JobId>, audit: &mut Audit) -> Result<()> {
        let mut idle = self.idlers(only).await?;
        for _ in 0..LOOKS {
            if idle.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(IDLE / LOOKS).await;
            let now = self.idlers(only).await?;
            idle.retain(|pair| now.contains(pair));
        }
        for (job, worker) in idle {
            let text = format!("{worker} is idle, though it could do tasks of this job");
            audit.add(Some(job), ProblemKind::Idle, text);
        }
        Ok(())
    }

    async fn idlers(&self, only: Option<JobId>) -> Result<HashSet<(JobId, WorkerId)>> {
        let workers = self.queue.workers().await?;
        let idle: Vec<_> =
            workers.iter().filter(|worker| self.activity(worker) == Activity::Idle).collect();
        let mut idlers = HashSet::new();
        if idle.is_empty() {
            return Ok(idlers);
        }
        for job in self.queue.jobs(Jobs::Live).await? {
            let skip = only.is_some_and(|only| only != job.job) || job.state == JobState::Paused;
            for layer in job.layers.iter().filter(|layer| !skip && layer.counts.ready > 0) {
                for worker in &idle {
                    if layer.needs.tags.is_subset(&worker.info.tags)
                        && layer.needs.memory <= worker.info.memory
                    {
                        idlers.insert((job.job, worker.info.id.clone()));
                    }
                }
            }
        }
        Ok(idlers)
    }
}

impl Audit {
    fn add(&mut self, job: Option<JobId>, kind: ProblemKind, text: String) {
        self.problems.push(Problem { job, kind, text, repaired: false });
    }
}

fn counts(job: &JobSnapshot, audit: &mut Audit) {
    for layer in &job.layers {
        let TaskCounts { tasks, done, failed, cancelled, leased, delayed, ready, blocked } =
            layer.counts;
        let sum = done + failed + cancelled + leased + delayed + ready + blocked;
        if sum != tasks {
            let text =
                format!("layer {} has {tasks} tasks, but {sum} are accounted for", layer.name);
            audit.add(Some(job.job), ProblemKind::Counts, text);
        }
        let live = leased + delayed + ready + blocked;
        if job.state == JobState::Done && done != tasks {
            let text =
                format!("it is done, but {} tasks of layer {} are not", tasks - done, layer.name);
            audit.add(Some(job.job), ProblemKind::Counts, text);
        }
        if job.state == JobState::Cancelled && live > 0 {
            let text = format!("it is cancelled, but {live} tasks of layer {} live", layer.name);
            audit.add(Some(job.job), ProblemKind::Counts, text);
        }
    }
}
