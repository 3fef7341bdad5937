//! Which jobs may go, and what those need that stay.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use vqfarm_core::id::JobId;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::telling::span;
use vqfarm_queue::{JobSnapshot, JobState, Jobs};

use super::Policy;
use crate::error::{Error, Result};
use crate::farm::Farm;
use crate::status::word;

/// Jobs that are looked at in storage at the same time.
const AT_ONCE: usize = 8;

/// A job that may go.
#[derive(Debug)]
pub struct Going {
    pub job: JobId,
    /// Empty where nothing says it.
    pub name: String,
    pub reason: String,
    /// Its deletion was begun and is ended whatever the policy says.
    pub begun: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// The oldest first.
    pub going: Vec<Going>,
    /// Folders that no job.json says anything of.
    pub orphans: Vec<JobId>,
    /// Jobs that stay, or have come since.
    pub staying: HashSet<JobId>,
    /// Weights that they need, by hash; none where that cannot be told of one of them.
    pub models: Option<BTreeSet<String>>,
}

/// What storage says of a job.
struct Stored {
    job: JobId,
    /// None: there is no job.json. An error: nobody can read it.
    record: Option<Result<Record, String>>,
    begun: bool,
}

/// What matters here of a job.json, which may be large.
struct Record {
    name: String,
    /// Whose frames it shows.
    source: Option<JobId>,
    /// Hashes of weights.
    models: Vec<String>,
}

impl From<JobRecord> for Record {
    fn from(record: JobRecord) -> Self {
        Self {
            name: record.spec.name.to_string(),
            source: record.source.map(|source| source.job),
            models: record.models.into_values().collect(),
        }
    }
}

impl Farm {
    /// Looks at all jobs.
    pub(super) async fn survey(&self, policy: &Policy) -> Result<Survey> {
        // Storage first: a job that is submitted meanwhile is known to the queue at least.
        let stored = self.storage.jobs().await?;
        let known: HashMap<JobId, JobSnapshot> =
            self.queue.jobs(Jobs::All).await?.into_iter().map(|job| (job.job, job)).collect();
        // Those that are known and have no files any more, too.
        let all: BTreeSet<JobId> = stored.into_iter().chain(known.keys().copied()).collect();
        let mut survey = Survey { models: Some(BTreeSet::new()), ..Survey::default() };
        survey.staying.extend(known.keys());
        // Jobs that may go, whether their frames are shown by another job or not.
        let mut candidates: Vec<(Going, Option<Record>)> = Vec::new();
        let mut sources = HashSet::new();
        let mut read = stream::iter(all).map(|job| self.look_at(job)).buffered(AT_ONCE);
        while let Some(Stored { job, record, begun }) = read.try_next().await? {
            let snapshot = known.get(&job);
            if record.is_none() && snapshot.is_none() && !begun {
                survey.orphans.push(job);
                continue;
            }
            survey.staying.insert(job);
            let readable = record.as_ref().and_then(|record| record.as_ref().ok());
            match self.may_go(snapshot, begun, policy) {
                Some(reason) => {
                    let name = snapshot.map(|job| job.name.to_string());
                    let name = name.or_else(|| readable.map(|record| record.name.clone()));
                    let name = name.unwrap_or_default();
                    let going = Going { job, name, reason, begun };
                    candidates.push((going, record.and_then(Result::ok)));
                }
                None => survey.keep(record, &mut sources),
            }
        }
        drop(read);
        for (going, record) in candidates {
            let shown = sources.contains(&going.job) && !going.begun;
            if shown || (policy.keep_results && !going.begun) {
                // It has frames of its own, or those of a job that is kept by the same rule.
                survey.keep(record.map(Ok), &mut HashSet::new());
            } else {
                survey.staying.remove(&going.job);
            }
            if !shown || policy.keep_results {
                survey.going.push(going);
            }
        }
        Ok(survey)
    }

    async fn look_at(&self, job: JobId) -> Result<Stored> {
        let record = match self.record(job).await {
            Ok(record) => record.map(|record| Ok(record.into())),
            Err(error @ Error::Unreadable { .. }) => Some(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        let begun = match self.control(job).await {
            Ok(control) => control.deleted,
            Err(Error::Unreadable { .. }) => false,
            Err(error) => return Err(error),
        };
        Ok(Stored { job, record, begun })
    }

    /// Why a job may go.
    fn may_go(&self, job: Option<&JobSnapshot>, begun: bool, policy: &Policy) -> Option<String> {
        if begun {
            return Some("its deletion was begun".into());
        }
        let job = job?;
        let ended = job.finished.filter(|_| job.state.is_final())?;
        let ago = self.now().since(ended);
        // A failed job goes on from what it has, when its tasks are tried again.
        let of_use = policy.keep_results && job.state == JobState::Failed;
        let old = ago >= policy.older_than && !of_use;
        old.then(|| format!("{} {} ago", word(job.state), span(ago)))
    }

    /// Whether a job that came after the survey stitches the frames of this one.
    pub(super) async fn wanted_since(&self, job: JobId, survey: &Survey) -> Result<bool> {
        for live in self.queue.jobs(Jobs::Live).await? {
            if survey.staying.contains(&live.job) {
                continue;
            }
            let source = match self.record(live.job).await {
                Ok(record) => record.and_then(|record| record.source),
                // Nobody can tell.
                Err(Error::Unreadable { .. }) => return Ok(true),
                Err(error) => return Err(error),
            };
            if source.is_some_and(|source| source.job == job) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Survey {
    /// Whether all of a job goes.
    pub fn goes(&self, job: JobId) -> bool {
        !self.staying.contains(&job) && self.going.iter().any(|going| going.job == job)
    }

    /// Takes note of what a job needs that stays.
    fn keep(&mut self, record: Option<Result<Record, String>>, sources: &mut HashSet<JobId>) {
        match record {
            Some(Ok(record)) => {
                sources.extend(record.source);
                if let Some(models) = &mut self.models {
                    models.extend(record.models);
                }
            }
            Some(Err(_)) => self.models = None,
            None => (),
        }
    }
}
