//! From a resolved job to tasks in the queue.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedMutexGuard;
use tracing::{Instrument, Span, trace_span};
use uuid::Uuid;
use vqfarm_core::access::Quota;
use vqfarm_core::cost::Estimate;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::{JobId, ModelName, RequestId, Tag, UserName};
use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::keys;
use vqfarm_core::needs::Role;
use vqfarm_core::plan::{Plan, PlanError, Work};
use vqfarm_core::record::{JobControl, JobRecord, ModelRecord, Source};
use vqfarm_core::video::{FFMPEG_TAG, Video};
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::{
    JobSnapshot, JobState, Jobs, LayerSnapshot, LayerSpec, Needs, QueueError, Submission,
    TaskCounts,
};
use vqfarm_service::telemetry::{self, TARGET as TELEMETRY};
use vqfarm_storage::Put;

use crate::assets;
use crate::error::{Error, Result};
use crate::farm::{Farm, to_json};
use crate::quotas::{self, Account};

/// What a user hands in.
pub struct Submit {
    /// The resolved job as JSON.
    pub job: String,
    /// Pictures and sounds by the names that the job uses.
    pub assets: HashMap<String, Bytes>,
    pub request: RequestId,
    pub priority: i32,
    pub user: UserName,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// Models that count as there in a dry run.
    pub offered: Vec<ModelRecord>,
    /// Of a job that renders nothing: whose frames it stitches.
    pub source: Option<Source>,
    /// What the user may have; without one nothing is limited.
    pub quota: Option<Quota>,
}

/// What became of it.
pub struct Submitted {
    pub job: JobSnapshot,
    /// It was in the queue before, under the same request id.
    pub existed: bool,
    /// Of a dry run: what it will take.
    pub estimate: Option<Estimate>,
}

/// A queue fuller than this takes no new jobs, so that running ones have room.
const FULL: f64 = 0.95;

impl Farm {
    /// Takes a job. When this has answered, the job is in storage and in the queue; interrupted
    /// anywhere, the same request again completes it.
    ///
    /// # Errors
    /// The job is not valid or more than the farm takes, the request id stands for another job,
    /// or queue or storage fail.
    pub async fn submit(&self, submit: Submit) -> Result<Submitted> {
        let id = job_id(self.name.as_str(), &submit.request);
        let job =
            self.check(&submit, id).instrument(trace_span!(target: TELEMETRY, "check")).await?;
        let (models, source) = match submit.source {
            Some(asked) => self.frames_for(id, asked, &job).await?,
            None => {
                let offered = if submit.dry_run { submit.offered.as_slice() } else { &[] };
                (self.models_of(&job, offered).await?, None)
            }
        };
        let mut record = JobRecord {
            id,
            user: submit.user,
            submitted: self.now(),
            vqfarm: env!("CARGO_PKG_VERSION").into(),
            spec_hash: job.spec_hash(),
            spec: job,
            models,
            source,
            trace: telemetry::traceparent(&Span::current()),
        };
        let plan = record.plan().map_err(|error| match error {
            PlanError::Field(error) => Error::fields(vec![error]),
            PlanError::NoSuchTask { .. } => Error::refused(Reason::Internal, error.to_string()),
        })?;
        let offered = if submit.dry_run { submit.offered.as_slice() } else { &[] };
        let memory = self.memory_of(&record.spec, &plan, offered).await?;
        // Like any default it is filled in, so that a queue that is put back knows it, too.
        let asked = record.spec.requires.gpu_memory;
        record.spec.requires.gpu_memory = asked.or(memory);
        let layers = layers(&record.spec, &plan);
        if submit.dry_run {
            let estimate = self.estimate(&record, &plan).await?;
            let estimate = Some(Estimate { memory, ..estimate });
            let job = preview(&record, submit.priority, layers);
            return Ok(Submitted { job, existed: false, estimate });
        }
        self.make_room().await?;
        let _account = match submit.quota {
            Some(quota) => {
                let tasks = layers.iter().map(|layer| layer.tasks).sum();
                let bytes = submit.assets.values().map(|bytes| bytes.len() as u64).sum();
                self.within_quota(&quota, &record, submit.priority, tasks, bytes).await?
            }
            None => None,
        };
        let storing = self.store(record, &submit.assets, submit.priority);
        let record = storing.instrument(trace_span!(target: TELEMETRY, "store")).await?;
        let submission = Submission {
            request: submit.request,
            job: id,
            name: record.spec.name.clone(),
            user: record.user.clone(),
            priority: submit.priority,
            layers,
            done: Vec::new(),
        };
        let existed = match self.queue.job(id).await {
            Ok(_) => true,
            Err(QueueError::NoSuchJob(_)) => match self.enqueue(&submission).await {
                Ok(_) => false,
                // Another coordinator was faster with the same request.
                Err(QueueError::JobExists(same)) if same == id => true,
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        let job = self.queue.job(id).await?;
        self.not_deleted(id).await?;
        if let Some(source) = record.source
            && let Err(error) = self.not_deleted(source.job).await
        {
            self.queue.cancel(id).await?;
            return Err(error);
        }
        Ok(Submitted { job, existed, estimate: None })
    }

    async fn enqueue(&self, submission: &Submission) -> Result<JobId, QueueError> {
        let enqueuing = trace_span!(target: TELEMETRY, "enqueue");
        self.queue.submit(submission).instrument(enqueuing).await
    }

    /// What deletes a job says so before it looks whether anybody needs the job; a submit looks
    /// whether anybody has said so after its job is in the queue. So at least one finds the other.
    async fn not_deleted(&self, id: JobId) -> Result<()> {
        let stored = self.storage.job(id).size(keys::JOB_RECORD).await?.is_some();
        if stored && !self.control(id).await?.deleted {
            return Ok(());
        }
        let message = format!("job {} is being deleted; ask again in a moment", id.short());
        Err(Error::refused(Reason::Unavailable, message))
    }

    /// The job that a request stands for.
    pub(crate) fn job_of(&self, request: &RequestId) -> JobId {
        job_id(self.name.as_str(), request)
    }

    /// The job `id`, valid and within the farm's limits, with all its files at hand.
    async fn check(&self, submit: &Submit, id: JobId) -> Result<Job> {
        if submit.job.len() > self.limits.job {
            let message = format!(
                "the job is {} KiB of JSON; this farm takes up to {} (job-kib of the coordinator)",
                submit.job.len() >> 10,
                self.limits.job >> 10
            );
            return Err(Error::refused(Reason::TooLarge, message));
        }
        let no_files = |_: &str| {
            Err(std::io::Error::other("a job on its way to a farm brings its axes' values along"))
        };
        let limits = Limits { cells: self.limits.cells };
        let job = Document::parse("job.json", submit.job.as_bytes())
            .and_then(|document| document.job(limits, no_files))
            .map_err(Error::BadJob)?;
        let used = job.assets();
        let mut here: BTreeSet<String> = submit.assets.keys().cloned().collect();
        if used.iter().any(|asset| !here.contains(&asset.path)) {
            if submit.dry_run {
                // They would be put here first.
                here.extend(used.iter().map(|asset| asset.path.clone()));
            }
            // What renders nothing has the files of the job whose frames it takes.
            let of = match &submit.source {
                Some(source) => self.frames_owner(source.job).await?,
                None => id,
            };
            here.extend(self.stored_assets(of).await?);
        }
        let wrong = used.iter().filter_map(|asset| {
            let why = match submit.assets.get(&asset.path) {
                Some(bytes) => assets::check(asset.kind, &asset.path, bytes),
                None => assets::check_name(asset.kind, &asset.path).and_then(|_| {
                    let there = here.contains(&asset.path);
                    let what = asset.kind.name();
                    if there { Ok(()) } else { Err(format!("the {what} did not come along")) }
                }),
            };
            Some(FieldError::new(asset.field.clone(), why.err()?))
        });
        let wrong: Vec<FieldError> = wrong.collect();
        if !wrong.is_empty() {
            return Err(Error::fields(wrong));
        }
        let mut used: BTreeSet<String> = used.into_iter().map(|asset| asset.path).collect();
        if submit.source.is_some() {
            used.clear();
        }
        if let Some(name) = submit.assets.keys().find(|name| !used.contains(*name)) {
            let message = format!("the file {name:?} came along, but no field refers to it");
            return Err(Error::refused(Reason::BadRequest, message));
        }
        Ok(job)
    }

    /// The hash of each model, as the farm means its name now.
    async fn models_of(
        &self,
        job: &Job,
        offered: &[ModelRecord],
    ) -> Result<BTreeMap<String, String>> {
        let mut hashes = BTreeMap::new();
        let mut wrong = Vec::new();
        let mut known: BTreeMap<String, Option<ModelRecord>> = BTreeMap::new();
        for used in job.models() {
            if !known.contains_key(&used.name) {
                let offer = || offered.iter().find(|model| model.name.as_str() == used.name);
                let found = self.model(&ModelName::new(&used.name)?).await?;
                let found = found.or_else(|| offer().cloned());
                known.insert(used.name.clone(), found);
            }
            let name = &used.name;
            match known.get(name).and_then(Option::as_ref) {
                None => wrong.push(FieldError {
                    help: Some(format!("push it: vqfarm models push {name}")),
                    ..FieldError::new(used.field, format!("the farm has no model `{name}`"))
                }),
                Some(model) if model.kind != used.role => {
                    let (is, not) = match used.role {
                        Role::Generator => ("perceptor", "generator"),
                        Role::Perceptor => ("generator", "perceptor"),
                    };
                    let message = format!("`{name}` is a {is}, not a {not}");
                    wrong.push(FieldError::new(used.field, message));
                }
                Some(model) => {
                    hashes.insert(used.name, model.sha256.clone());
                }
            }
        }
        if wrong.is_empty() { Ok(hashes) } else { Err(Error::fields(wrong)) }
    }

    /// Refuses before anything is stored when the queue could not take the job.
    async fn make_room(&self) -> Result<()> {
        let health = self.queue.health().await?;
        if health.epoch.is_none() {
            return Err(QueueError::Closed.into());
        }
        match health.memory_limit {
            Some(limit) if health.memory_used as f64 > limit as f64 * FULL => {
                let message = format!(
                    "{} MiB of {} MiB are used; raise maxmemory of the queue's server, or wait \
                     until jobs are done",
                    health.memory_used >> 20,
                    limit >> 20
                );
                Err(QueueError::Full(message).into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses before anything is stored what is more than the user may have. The same request again
    /// takes nothing more. No other submit of this user's goes on until what is returned is dropped.
    async fn within_quota(
        &self,
        quota: &Quota,
        record: &JobRecord,
        priority: i32,
        tasks: u64,
        bytes: u64,
    ) -> Result<Option<OwnedMutexGuard<Account>>> {
        let mut account = self.quotas.of(&record.user).await;
        if self.queue.job(record.id).await.is_ok() {
            return Ok(None);
        }
        quotas::check_priority(quota, priority)?;
        if quota.open_jobs.is_some() || quota.waiting_tasks.is_some() {
            let live = self.queue.jobs(Jobs::Live).await?;
            quotas::check_jobs(quota, &record.user, &live, tasks)?;
        }
        let now = self.clock.now();
        account.submit(quota, now)?;
        account.upload(quota, bytes, now)?;
        Ok(Some(account))
    }

    /// Writes what the job needs and the job's record last; answers with the stored record,
    /// which is that of the first submit of this request.
    async fn store(
        &self,
        record: JobRecord,
        assets: &HashMap<String, Bytes>,
        priority: i32,
    ) -> Result<JobRecord> {
        let store = self.storage.job(record.id);
        let writes_first = priority != 0 || !assets.is_empty();
        if writes_first
            && let Some(first) = self.record(record.id).await?
            && first.user != record.user
        {
            return Err(used(&first));
        }
        for (key, bytes) in assets {
            // Named by their contents: one that is there is the same.
            store.create(key, bytes.clone()).await?;
        }
        if priority != 0 {
            let control = JobControl { priority: Some(priority), ..JobControl::default() };
            // Not over what an operator decided since the first submit of this request.
            store.create(keys::JOB_CONTROL, to_json(&control)?.into()).await?;
        }
        match store.create(keys::JOB_RECORD, to_json(&record)?.into()).await? {
            Put::Stored => Ok(record),
            Put::Existed => {
                let first = self.record(record.id).await?.ok_or_else(|| Error::Unreadable {
                    key: keys::JOB_RECORD.into(),
                    reason: "it vanished".into(),
                })?;
                // The memory may have been estimated from other models that had the names then.
                let spec = |record: &JobRecord| {
                    let mut spec = record.spec.clone();
                    spec.requires.gpu_memory = None;
                    spec
                };
                let same = |a: &JobRecord, b: &JobRecord| {
                    (spec(a), &a.user, a.source) == (spec(b), &b.user, b.source)
                };
                if same(&first, &record) {
                    self.not_deleted(record.id).await?;
                    return Ok(first);
                }
                Err(used(&first))
            }
        }
    }
}

fn used(first: &JobRecord) -> Error {
    let message = format!(
        "this request id stands for another job, {} ({:?}); choose another one",
        first.id,
        first.spec.name.as_str()
    );
    Error::refused(Reason::RequestUsed, message)
}

/// The layers as the queue must know them.
pub fn layers(job: &Job, plan: &Plan) -> Vec<LayerSpec> {
    let needs = |work: &Work| match work {
        Work::Render { .. } | Work::Preview { .. } | Work::Keyframes { .. } => Needs {
            tags: job.requires.tags.clone(),
            memory: job.requires.gpu_memory.map_or(0, |memory| memory.bytes()),
            models: job.models().into_iter().map(|model| model.name).collect(),
        },
        Work::Choose { .. } => Needs::default(),
        // It runs on the processor and needs frames only, and ffmpeg for a film.
        Work::Stitch => {
            let film = plan.video().is_some_and(Video::needs_ffmpeg);
            let tags = film.then(|| Tag::new(FFMPEG_TAG)).into_iter().flatten().collect();
            Needs { tags, ..Needs::default() }
        }
    };
    let layer = |layer: &vqfarm_core::plan::Layer| LayerSpec {
        name: layer.name.clone(),
        tasks: layer.tasks,
        dependency: layer.dependency,
        needs: needs(&layer.work),
    };
    plan.layers.iter().map(layer).collect()
}

/// The job that a request stands for, whichever coordinator is asked and however often: a hash
/// under the time that the request's id carries, if it carries one.
pub(crate) fn job_id(farm: &str, request: &RequestId) -> JobId {
    let hash = Sha256::digest(format!("{farm}\n{request}"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    let asked = Uuid::try_parse(request.as_str()).ok();
    match asked.filter(|uuid| uuid.get_version_num() == 7) {
        Some(uuid) => {
            bytes[..6].copy_from_slice(&uuid.as_bytes()[..6]);
            bytes[6] = 0x70 | bytes[6] & 0x0F;
        }
        None => bytes[6] = 0x80 | bytes[6] & 0x0F,
    }
    bytes[8] = 0x80 | bytes[8] & 0x3F;
    JobId::from_u128(u128::from_be_bytes(bytes))
}

/// The job as it would be when nothing has run.
fn preview(record: &JobRecord, priority: i32, layers: Vec<LayerSpec>) -> JobSnapshot {
    let layer = |(at, layer): (usize, LayerSpec)| {
        let mut counts = TaskCounts { tasks: layer.tasks, ..TaskCounts::default() };
        *(if at == 0 { &mut counts.ready } else { &mut counts.blocked }) = layer.tasks;
        let LayerSpec { name, dependency, needs, .. } = layer;
        LayerSnapshot { name, dependency, needs, counts }
    };
    JobSnapshot {
        job: record.id,
        name: record.spec.name.clone(),
        user: record.user.clone(),
        priority,
        state: JobState::Waiting,
        submitted: record.submitted,
        finished: None,
        layers: layers.into_iter().enumerate().map(layer).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_stands_for_one_job_of_its_farm() {
        let request = RequestId::generate();
        assert_eq!(job_id("a", &request), job_id("a", &request));
        assert_ne!(job_id("a", &request), job_id("b", &request));
        // Jobs sort by the time of their requests.
        assert_eq!(job_id("a", &request).to_string()[..12], request.as_str()[..12]);
        let named = RequestId::new("nightly-2026-11-24").unwrap();
        assert_eq!(job_id("a", &named), job_id("a", &named));
        assert_eq!(&job_id("a", &named).to_string()[12..13], "8");
    }
}
