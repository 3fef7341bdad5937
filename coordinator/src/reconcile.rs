//! From what is stored back to a queue that knows it.
//!
//! Several coordinators may do this at once: putting back a job that is there and opening a
//! queue that is open change nothing, so no lock is needed.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use futures::stream::{self, StreamExt, TryStreamExt};
use vqfarm_core::id::{JobId, RequestId};
use vqfarm_core::keys;
use vqfarm_core::plan::{Plan, Work};
use vqfarm_core::record::JobRecord;
use vqfarm_queue::{JobState, Jobs, Restoration, Standing, Submission};

use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::submit::layers;

/// Jobs that are read at the same time.
const AT_ONCE: usize = 8;

/// What was found and done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Jobs in storage.
    pub jobs: u64,
    /// Those that the queue did not have.
    pub restored: u64,
    /// Stored frames of these.
    pub frames: u64,
    /// What could not be used, a sentence each.
    pub notes: Vec<String>,
}

/// What storage knows of a job, or why it is of no use.
enum Stored {
    /// With how many frames of its own.
    Job(Box<Restoration>, u64),
    Unusable(String),
}

impl Farm {
    /// Puts back the jobs that are in storage and not in the queue, with their stored frames
    /// as done, and opens a queue that is closed. Live jobs that are in both become what was
    /// last decided about them.
    ///
    /// # Errors
    /// Queue or storage do not answer. What was put back stays.
    pub async fn reconcile(&self) -> Result<Reconciled> {
        let known: HashMap<JobId, JobState> =
            self.queue.jobs(Jobs::All).await?.into_iter().map(|job| (job.job, job.state)).collect();
        let stored = self.storage.jobs().await?;
        let mut report = Reconciled { jobs: stored.len() as u64, ..Reconciled::default() };
        let (present, missing): (Vec<_>, Vec<_>) =
            stored.into_iter().partition(|job| known.contains_key(job));
        let read: Vec<Stored> = stream::iter(missing)
            .map(|job| self.read_back(job))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut jobs = Vec::new();
        for found in read {
            match found {
                Stored::Job(job, frames) => jobs.push((*job, frames)),
                Stored::Unusable(note) => report.notes.push(note),
            }
        }
        // In their order, so that age counts as before.
        jobs.sort_by_key(|(job, _)| (job.submitted, job.submission.job));
        for (job, frames) in jobs {
            match self.queue.restore(&job).await {
                Ok(true) => {
                    report.restored += 1;
                    report.frames += frames;
                }
                Ok(false) => (),
                Err(vqfarm_queue::QueueError::Invalid(reason)) => {
                    report.notes.push(format!("job {}: {reason}", job.submission.job));
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.queue.open().await?;
        for job in present {
            if matches!(known[&job], JobState::Done | JobState::Cancelled) {
                continue;
            }
            match self.enforce(job).await {
                Ok(false) => (),
                Ok(true) => tracing::warn!(%job, "the queue had missed what was decided"),
                Err(Error::Unreadable { key, reason }) => {
                    report.notes.push(format!("job {job}: {key}: {reason}"));
                }
                Err(error) => return Err(error),
            }
        }
        metrics::counter!("vqfarm_reconciles_total").increment(1);
        metrics::counter!("vqfarm_jobs_restored_total").increment(report.restored);
        tracing::info!(
            jobs = report.jobs,
            restored = report.restored,
            frames = report.frames,
            notes = report.notes.len(),
            "reconciled queue and storage"
        );
        for note in &report.notes {
            tracing::warn!(note, "reconcile: of no use");
        }
        Ok(report)
    }

    async fn read_back(&self, id: JobId) -> Result<Stored> {
        let unusable = |why: String| Ok(Stored::Unusable(format!("job {id}: {why}")));
        let record = match self.record(id).await {
            Ok(Some(record)) => record,
            Ok(None) => {
                return unusable("it has files, but no job.json; it was never answered".into());
            }
            Err(Error::Unreadable { key, reason }) => return unusable(format!("{key}: {reason}")),
            Err(error) => return Err(error),
        };
        if record.id != id {
            return unusable(format!("its job.json is that of job {}", record.id));
        }
        let plan = match record.plan() {
            Ok(plan) => plan,
            Err(error) => return unusable(error.to_string()),
        };
        let control = match self.control(id).await {
            Err(Error::Unreadable { key, reason }) => {
                return unusable(format!("{key}: {reason}; delete it to have the job back"));
            }
            control => control?,
        };
        if control.deleted {
            return unusable("its deletion was begun; vqfarm gc --delete ends it".into());
        }
        let (done, frames) = self.stored_results(&record, &plan).await?;
        let request = RequestId::new(format!("restored-{id}"))?;
        let job = Restoration {
            submission: Submission {
                request,
                job: id,
                name: record.spec.name.clone(),
                user: record.user.clone(),
                priority: control.priority.unwrap_or(0),
                layers: layers(&record.spec, &plan),
                done,
            },
            submitted: record.submitted,
            standing: match (control.cancelled, control.paused) {
                (true, _) => Standing::Cancelled,
                (false, true) => Standing::Paused,
                (false, false) => Standing::Active,
            },
        };
        Ok(Stored::Job(Box::new(job), frames))
    }

    /// The tasks whose results are stored, and the number of frames. Whether each is whole is
    /// found out by whoever reads it: the worker that stitches, or an audit.
    async fn stored_results(
        &self,
        record: &JobRecord,
        plan: &Plan,
    ) -> Result<(Vec<(u8, Range<u64>)>, u64)> {
        let store = self.storage.job(record.id);
        let names = store.names(keys::FRAMES).await?;
        let frames = names.iter().filter_map(|name| keys::frame_index(name));
        let frames: BTreeSet<u64> = frames.filter(|index| *index < plan.frames()).collect();
        let mut done = plan.made(&frames);
        for (number, layer) in plan.handing_on() {
            if done.iter().any(|(layer, _)| *layer == number) {
                continue;
            }
            let names = store.names(&keys::work_folder(&layer.name)).await?;
            done.extend(layer.handed_on(&names).into_iter().map(|range| (number, range)));
        }
        for (number, layer) in (0..).zip(&plan.layers).filter(|(_, l)| l.work == Work::Stitch) {
            let mut there = plan.only_stitches() || frames.len() as u64 == plan.frames();
            for key in plan.outputs() {
                there = there && store.size(key).await?.is_some();
            }
            if there {
                done.push((number, 0..layer.tasks));
            }
        }
        Ok((done, frames.len() as u64))
    }
}
