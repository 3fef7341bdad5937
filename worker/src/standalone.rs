//! Planner, queue, worker and stitcher in one process, over one folder.

mod watching;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;
use vqfarm_core::animation::Mode;
use vqfarm_core::clock::{Clock, SystemClock};
use vqfarm_core::cost;
use vqfarm_core::event::{ErrorKind, Event, Summary};
use vqfarm_core::id::{JobId, RequestId, UserName, WorkerId};
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::{Content, Plan, Work};
use vqfarm_core::record::JobRecord;
use vqfarm_engine::device;
use vqfarm_queue::{
    JobState, LayerSpec, MemoryQueue, Needs, Policy, Queue, Submission, TaskState, Tasks,
    WorkerInfo,
};
use vqfarm_service::telemetry;
use vqfarm_weights::library::Library;

use crate::batch_size::{Asked, BatchSize};
use crate::budget::Budget;
use crate::cells::Cells;
use crate::changed;
use crate::early_stop::{self, is_kept};
use crate::job::OpenJob;
use crate::jobs::Jobs;
use crate::meters::Meters;
use crate::models::{Shelf, Source};
use crate::run::Worker;
use crate::speeds::Speeds;
use crate::stitch::{self, Tell};
use crate::stop::Brake;
use vqfarm_storage::{Found, JobStore, check};
use watching::{Ended, Watch};

/// Frames that are checked at the same time when a render goes on.
const AT_ONCE: usize = 8;

/// A render in one folder.
pub struct Request {
    pub job: Job,
    pub out: PathBuf,
    /// `auto`, `cpu`, `cuda:0`…; see [`device::choose`].
    pub device: String,
    /// Cores to use when the device is a CPU.
    pub threads: usize,
    /// How many cells a GPU computes together.
    pub batch: Asked,
    /// Bytes of memory to use; what is free when left out.
    pub memory: Option<u64>,
    pub library: Library,
    /// Cells that are rendered to their end, of a sweep that stops cells early.
    pub keep: Vec<u64>,
}

/// How a render ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Done,
    /// Cells, storage, a device or a model failed.
    Failed,
    /// The request itself cannot be done.
    Refused,
    Interrupted,
}

/// Why a render or a stitching did not come to its end.
pub(crate) struct Halt {
    kind: ErrorKind,
    message: String,
}

impl Halt {
    pub(crate) fn refused(message: impl ToString) -> Self {
        Self { kind: ErrorKind::Usage, message: message.to_string() }
    }

    pub(crate) fn failed(message: impl ToString) -> Self {
        Self { kind: ErrorKind::Failed, message: message.to_string() }
    }
}

/// Renders a job into a folder, going on from what is there. `tell` hears of everything, of a
/// summary or an error last; `stop` turning true ends the render early, with all finished
/// frames stored.
pub async fn render(request: Request, tell: &mut Tell<'_>, stop: watch::Receiver<bool>) -> End {
    let rendered = try_render(request, tell, stop).await;
    conclude(rendered, tell)
}

/// Tells how a render or a stitching ended.
pub(crate) fn conclude(result: Result<Summary, Halt>, tell: &mut Tell<'_>) -> End {
    let ended = result.map(|summary| {
        let end = match &summary {
            Summary { interrupted: true, .. } => End::Interrupted,
            Summary { failed: 0, .. } => End::Done,
            _ => End::Failed,
        };
        (end, Event::Summary(summary))
    });
    conclude_with(ended, tell)
}

/// Tells the last word, or the error that prevented it.
pub(crate) fn conclude_with(ended: Result<(End, Event), Halt>, tell: &mut Tell<'_>) -> End {
    match ended {
        Ok((end, last)) => {
            tell(&last);
            end
        }
        Err(Halt { kind, message }) => {
            tell(&Event::Error { kind, message });
            if kind == ErrorKind::Usage { End::Refused } else { End::Failed }
        }
    }
}

async fn try_render(
    request: Request,
    tell: &mut Tell<'_>,
    stop: watch::Receiver<bool>,
) -> Result<Summary, Halt> {
    let device = device::choose(&request.device).map_err(Halt::refused)?;
    let models = hashes(&request.job, &request.library).map_err(Halt::refused)?;
    let job = Arc::new(open(&request, models).await?);
    stitch::film::check(&job).await.map_err(Halt::refused)?;
    if job.film().is_none() {
        let kept = changed::keep_frames(&job.store, &job.record.spec_hash).await?;
        if kept > 0 {
            let message = format!(
                "the folder held another form of this job; {kept} of its frames are kept in {}, \
                 and taken over where this one has them, too",
                keys::KEPT_CELLS
            );
            tell(&Event::Warning { message });
        }
    }
    early_stop::keep(&job, &request.keep).await?;
    let done = stored_frames(&job, tell).await?;
    // Only now is it sure that the folder is this job's.
    write_record(&job).await?;

    let cells = job.plan.frames();
    let stored = done.len() as u64;
    let size = job.plan.settings(0).map_err(Halt::refused)?.size;
    let lanes = if device.is_cuda() {
        1
    } else {
        let pixels = u64::from(size[0]) * u64::from(size[1]);
        device::pictures_at_once(pixels, request.threads).min(side_by_side(&job.plan, &done))
    };
    let made = made(&job, &done).await?;
    tell(&Event::Started {
        job: job.id(),
        name: job.record.spec.name.clone(),
        cells,
        stored,
        size,
        device: device::name(device),
        lanes: lanes as u32,
        film: job.film().is_some(),
        iterations: cost::left(&job.plan, &made).map_err(Halt::refused)?,
    });

    let begin = Instant::now();
    let queue = submit(&job, made).await?;
    let changes = queue.events();
    let (events, told) = mpsc::unbounded_channel();
    let brake = Brake::default();
    let meters = Arc::new(Meters::new(lanes));
    // A folder that cannot be written to is no reason not to render.
    let speeds = JobStore::folder(request.library.root()).ok();
    let budget = Budget::of(device, request.threads, request.memory).map_err(Halt::failed)?;
    let shelf = Arc::new(Shelf::new(Source::Library(request.library), device).within(budget));
    let worker = Worker {
        queue: queue.clone(),
        info: worker_info()?,
        shelves: (0..lanes).map(|_| shelf.clone()).collect(),
        // The lanes are made for the job.
        cores: None,
        batch: Arc::new(BatchSize::new(match device.is_cuda() {
            true => request.batch,
            false => Asked::Fixed(1),
        })),
        ahead: device.is_cuda(),
        least_lead: Duration::ZERO,
        jobs: Jobs::One(job.clone()),
        cells: Cells::Folder(job.store.clone()),
        cache: None,
        logs: None,
        meters: meters.clone(),
        speeds: Arc::new(Speeds::new(speeds)),
        events,
    };
    let running = tokio::spawn(worker.run(brake.clone()));
    let mut watch = Watch { out: &request.out, tell, rendered: 0, taken_over: 0, stored };
    let ended = watch.over(&*queue, changes, told, &brake, stop).await;
    let Watch { rendered, taken_over, stored, .. } = watch;
    running.await.map_err(Halt::failed)?.map_err(Halt::failed)?;
    let ended = ended?;

    let failures = failures(&*queue, &job).await?;
    let stitched = match ended {
        Ended::Job(JobState::Done) => true,
        Ended::Job(_) => {
            // The queue stitches complete jobs only; people want to see what there is.
            stitch::stitch(&job, &failures, tell).await.map_err(Halt::failed)?;
            true
        }
        Ended::Interrupted => false,
    };
    let sheet_pages = stitch::sheet_pages(&job.store).await.map_err(Halt::failed)?.len() as u64;
    let seconds = begin.elapsed().as_secs_f64();
    let steps = meters.steps();
    let path = |key: &str| request.out.join(key).display().to_string();
    let output = |key: &str| (stitched && job.plan.outputs().contains(&key)).then(|| path(key));
    Ok(Summary {
        job: job.id(),
        cells,
        frames: stored,
        rendered,
        taken_over,
        failed: failures.len() as u64,
        interrupted: ended == Ended::Interrupted,
        seconds,
        iterations_per_second: if steps == 0 { 0.0 } else { steps as f64 / seconds },
        out: request.out.display().to_string(),
        frames_dir: path(keys::FRAMES),
        contact_sheet: output(keys::CONTACT_SHEET),
        contact_sheet_pages: if stitched { sheet_pages } else { 0 },
        gallery: output(keys::GALLERY),
        video: job.plan.video().and_then(|video| output(video.codec.key())),
        scores: output(keys::SCORES),
    })
}

/// How many frames can be made at the same time: cells that are left, or shots.
fn side_by_side(plan: &Plan, done: &BTreeSet<u64>) -> usize {
    let left = match &plan.content {
        Content::Sweep(sweep) => sweep.len() - done.len() as u64,
        Content::Film(timeline) => match timeline.animation().mode {
            Mode::Zoom => timeline.animation().zoom.keyframes(timeline.len()),
            Mode::Feedback | Mode::Video if timeline.is_chain() => timeline.shots().len() as u64,
            Mode::Feedback | Mode::Video => timeline.len() - done.len() as u64,
        },
    };
    usize::try_from(left).unwrap_or(usize::MAX).max(1)
}

/// SHA-256 of each model that the job needs.
fn hashes(job: &Job, library: &Library) -> Result<BTreeMap<String, String>, String> {
    let names: BTreeSet<String> = job.models().into_iter().map(|model| model.name).collect();
    let hash = |name: String| match library.open(&name) {
        Ok(entry) => Ok((name, entry.sha256)),
        Err(error) => Err(error.to_string()),
    };
    names.into_iter().map(hash).collect()
}

/// The job of this folder: the one that lies there if it makes the same pictures, or a new one.
async fn open(request: &Request, models: BTreeMap<String, String>) -> Result<OpenJob, Halt> {
    let store = JobStore::folder(&request.out).map_err(Halt::failed)?;
    store.probe().await.map_err(Halt::failed)?;
    let spec_hash = request.job.spec_hash();
    let folder = request.out.display();
    let old = store.get(keys::JOB_RECORD).await.map_err(Halt::failed)?;
    let record = match old {
        Some(bytes) => {
            let old: JobRecord = serde_json::from_slice(&bytes).map_err(|e| {
                Halt::refused(format!("{folder}/{} cannot be read: {e}", keys::JOB_RECORD))
            })?;
            if !old.may_become(&request.job) {
                return Err(Halt::refused(format!(
                    "{folder} holds another job (`{}`); choose another folder",
                    old.spec.name
                )));
            }
            if old.spec_hash != spec_hash {
                // What it held before is put aside, and taken over where both have it.
                let record = JobRecord { models, ..new_record(&request.job) };
                return OpenJob::new(record, store).map_err(Halt::refused);
            }
            if let Some(name) =
                old.models.keys().find(|name| old.models.get(*name) != models.get(*name))
            {
                return Err(Halt::refused(format!(
                    "the model `{name}` is not the one that the frames in {folder} were made \
                     with; choose another folder"
                )));
            }
            // The name and the outputs may have changed; the pictures are the same. From now on
            // they are here, even if only a stitching was fetched so far.
            let trace = telemetry::from_environment();
            JobRecord { spec: request.job.clone(), source: None, trace, ..old }
        }
        None => JobRecord { models, ..new_record(&request.job) },
    };
    OpenJob::new(record, store).map_err(Halt::refused)
}

fn new_record(job: &Job) -> JobRecord {
    JobRecord {
        id: JobId::generate(),
        user: user(),
        submitted: SystemClock.now(),
        vqfarm: env!("CARGO_PKG_VERSION").into(),
        spec_hash: job.spec_hash(),
        spec: job.clone(),
        models: BTreeMap::new(),
        source: None,
        trace: telemetry::from_environment(),
    }
}

pub(crate) async fn write_record(job: &OpenJob) -> Result<(), Halt> {
    let json = serde_json::to_vec_pretty(&job.record).map_err(Halt::failed)?;
    job.store.replace(keys::JOB_RECORD, json.into()).await.map_err(Halt::failed)
}

fn user() -> UserName {
    let name = std::env::var("USER").ok().and_then(|name| UserName::new(name).ok());
    name.unwrap_or_else(|| UserName::new("local").expect("a plain word is a user name"))
}

fn worker_info() -> Result<WorkerInfo, Halt> {
    let id = WorkerId::new(format!("local-{}", std::process::id())).map_err(Halt::failed)?;
    Ok(WorkerInfo {
        id,
        tags: BTreeSet::new(),
        memory: u64::MAX,
        loaded: BTreeSet::new(),
        busy: None,
        disk: None,
    })
}

/// Cells whose frames are there and whole. Damaged ones are thrown away.
async fn stored_frames(job: &OpenJob, tell: &mut Tell<'_>) -> Result<BTreeSet<u64>, Halt> {
    let names = job.store.names(keys::FRAMES).await.map_err(Halt::failed)?;
    let indices = names.iter().filter_map(|name| keys::frame_index(name));
    let found: Vec<(u64, Found)> = stream::iter(indices.filter(|&i| i < job.plan.frames()))
        .map(|index| async move {
            let key = keys::frame(index);
            Ok::<_, Halt>((
                index,
                check(&job.store, &key, &job.record.spec_hash).await.map_err(Halt::failed)?,
            ))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut done = BTreeSet::new();
    for (index, found) in found {
        let key = keys::frame(index);
        match found {
            Found::Frame(info)
                if info.stopped.is_some() && is_kept(job, index).await.map_err(Halt::failed)? =>
            {
                // It goes on from where it was stopped.
                job.store.delete(&key).await.map_err(Halt::failed)?;
            }
            Found::Frame(_) => {
                done.insert(index);
            }
            Found::Nothing => (),
            Found::Damaged(reason) => {
                let message = format!("{key} is damaged ({reason}); it is rendered again");
                tell(&Event::Warning { message });
                job.store.delete(&key).await.map_err(Halt::failed)?;
            }
            Found::OtherJob => {
                let message = format!("{key} is a frame of another job; choose another folder");
                return Err(Halt::refused(message));
            }
        }
    }
    Ok(done)
}

/// The tasks whose results are stored.
async fn made(job: &OpenJob, frames: &BTreeSet<u64>) -> Result<Vec<(u8, Range<u64>)>, Halt> {
    let mut made = job.plan.made(frames);
    for (number, layer) in job.plan.handing_on() {
        if made.iter().any(|(layer, _)| *layer == number) {
            continue;
        }
        let folder = keys::work_folder(&layer.name);
        let names = job.store.names(&folder).await.map_err(Halt::failed)?;
        made.extend(layer.handed_on(&names).into_iter().map(|range| (number, range)));
    }
    Ok(made)
}

async fn submit(job: &OpenJob, done: Vec<(u8, Range<u64>)>) -> Result<Arc<dyn Queue>, Halt> {
    let policy = Policy { attempts: 2, ..Policy::default() };
    let seed = Uuid::now_v7().as_u64_pair().1;
    let queue = MemoryQueue::new(policy, Arc::new(SystemClock), seed);
    let layers = job.plan.layers.iter().map(|layer| LayerSpec {
        name: layer.name.clone(),
        tasks: layer.tasks,
        dependency: layer.dependency,
        needs: Needs::default(),
    });
    let submission = Submission {
        request: RequestId::generate(),
        job: job.id(),
        name: job.record.spec.name.clone(),
        user: job.record.user.clone(),
        priority: 0,
        layers: layers.collect(),
        done,
    };
    queue.submit(&submission).await.map_err(Halt::refused)?;
    Ok(Arc::new(queue))
}

/// Why cells failed for good.
async fn failures(queue: &dyn Queue, job: &OpenJob) -> Result<HashMap<u64, String>, Halt> {
    let tasks = queue.tasks(job.id(), &Tasks::default()).await.map_err(Halt::failed)?;
    let mut failures = HashMap::new();
    for task in tasks.into_iter().filter(|task| task.state == TaskState::Failed) {
        let reason = task.last_error.unwrap_or_else(|| "unknown".into());
        let layer = job.plan.layers.get(usize::from(task.task.layer));
        if let Some(layer) = layer.filter(|layer| matches!(layer.work, Work::Preview { .. })) {
            failures.insert(layer.number_of(task.task.index), reason);
            continue;
        }
        let Some(frames) = job.frames_of(task.task) else {
            return Err(Halt::failed(format!("the frames are there, the overviews not: {reason}")));
        };
        failures.extend(frames.map(|frame| (frame, reason.clone())));
    }
    Ok(failures)
}
