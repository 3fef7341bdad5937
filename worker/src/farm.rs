//! A worker of a farm: from its settings to its end.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tch::Device;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{Instrument, trace_span};
use vqfarm_core::event::Event;
use vqfarm_core::id::{FarmName, Tag, WorkerId};
use vqfarm_core::requires::Memory;
use vqfarm_core::video::FFMPEG_TAG;
use vqfarm_engine::device;
use vqfarm_engine::session::{Graphs, Options};
use vqfarm_queue::{Policy, Queue, RedisQueue, WorkerInfo};
use vqfarm_service::logging::LogArgs;
use vqfarm_service::metrics::{self, MetricsArgs};
use vqfarm_service::settings::ConfigArgs;
use vqfarm_service::shutdown;
use vqfarm_service::trace::TARGET as TRACE;
use vqfarm_storage::{Storage, StorageOptions};

use crate::batch_size::{Asked, BatchSize};
use crate::budget::Budget;
use crate::cache::ModelCache;
use crate::cells::Cells;
use crate::cores::Cores;
use crate::jobs::{Jobs, StoredJobs};
use crate::log::AttemptLogs;
use crate::memory;
use crate::meters::Meters;
use crate::models::{Shelf, Source};
use crate::run::{Told, Worker};
use crate::speeds::Speeds;
use crate::stitch;
use crate::stop::{Brake, Stop};

/// How long a worker that has handed everything back may take to store what it finished.
const LAST: Duration = Duration::from_secs(5);

/// Work for a farm until told to stop
///
/// Leases tasks from the farm's Redis, renders them, keeps frames and logs in storage. SIGTERM
/// finishes the current pictures within the grace period and hands the rest back; a second one
/// ends at once. Each flag is also a key of the --config file and a VQFARM_* variable; the flag
/// wins, then the variable, then the file. S3 credentials come from the usual AWS_* variables.
///
/// Exit status: 0 stopped by a signal or drained, 1 failed, 2 bad settings.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// The farm's Redis or Valkey: redis://, rediss:// (TLS), with user and password if needed
    #[arg(
        long,
        value_name = "URL",
        default_value = "redis://127.0.0.1:6379",
        env = "VQFARM_REDIS"
    )]
    pub redis: String,

    /// Name of the farm: several may share a Redis
    #[arg(long, value_name = "NAME", default_value = "vqfarm", env = "VQFARM_FARM")]
    pub farm: FarmName,

    /// Where frames, models and outputs lie: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "URL", env = "VQFARM_STORAGE")]
    pub storage: String,

    /// Address of an S3 server that is not Amazon's, as in http://127.0.0.1:8333
    #[arg(long, value_name = "URL", env = "VQFARM_S3_ENDPOINT")]
    pub s3_endpoint: Option<String>,

    /// Where to compute: auto, cpu, cuda, or GPUs as in cuda:0,cuda:1
    #[arg(
        long,
        value_name = "DEVICES",
        default_value = "auto",
        env = "VQFARM_DEVICE",
        value_delimiter = ','
    )]
    pub device: Vec<String>,

    /// Whether a GPU repeats iterations by itself, as CUDA graphs: auto or off
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "VQFARM_CUDA_GRAPHS",
          value_parser = when)]
    pub cuda_graphs: When,

    /// Whether the workers of one user on a machine have models' weights in memory once, for all of
    /// them: auto or off
    ///
    /// Of a GPU all weights, of the machine's own memory those that cannot be used as they lie in
    /// their files. Workers in containers do so that share a network namespace.
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "VQFARM_SHARE_WEIGHTS",
          value_parser = when)]
    pub share_weights: When,

    /// Name of this worker in the farm [default: host and process number]
    #[arg(long, value_name = "NAME", env = "VQFARM_WORKER_ID")]
    pub id: Option<WorkerId>,

    /// What jobs may ask for, as in studio,a100
    #[arg(long, alias = "tag", value_name = "TAGS", env = "VQFARM_TAGS", value_delimiter = ',')]
    pub tags: Vec<Tag>,

    /// Memory to use of each GPU, or of the machine for a CPU, as 8GiB; a number alone is GiB
    ///
    /// Pictures are made as quickly as fits: fewer together, cutouts in shares, and at last the
    /// decoder's steps computed twice. They come out the same. Jobs that cannot fit in any way go
    /// to larger workers. [default: what is there]
    #[arg(long, value_name = "AMOUNT", env = "VQFARM_MEMORY", value_parser = amount)]
    pub memory: Option<u64>,

    /// The most cells that a GPU computes together, or auto: as many as fit, and as measurements
    /// say that they pay; a CPU computes one at a time
    #[arg(long, value_name = "N", default_value = "auto", env = "VQFARM_BATCH")]
    pub batch: Asked,

    /// Folder of fetched models; workers of one machine may share it
    /// [default: ~/.cache/vqfarm/models]
    #[arg(long, value_name = "DIR", env = "VQFARM_CACHE")]
    pub cache: Option<PathBuf>,

    /// Read the cached models again to be sure that they are whole
    ///
    /// Each is checked when it is fetched and whenever its file has changed since; this is for
    /// disks that are not to be trusted.
    #[arg(long, env = "VQFARM_CHECK_MODELS")]
    pub check_models: bool,

    /// CPU threads in all [default: one a core]
    #[arg(long, value_name = "N", env = "VQFARM_THREADS")]
    pub threads: Option<NonZero<usize>>,

    /// Seconds that SIGTERM gives to pictures that are being rendered
    #[arg(long, value_name = "SECONDS", default_value = "30", env = "VQFARM_GRACE",
          value_parser = seconds)]
    pub grace: Duration,

    /// Seconds after which a silent worker loses its tasks; the same on the whole farm
    #[arg(long, value_name = "S", default_value = "30", env = "VQFARM_LEASE",
          value_parser = lease)]
    pub lease: Duration,

    /// Attempts that may fail before a task is put aside; the same on the whole farm
    #[arg(long, value_name = "N", default_value_t = 3, env = "VQFARM_ATTEMPTS",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub attempts: u32,

    /// Write what is done when to FILE, for ui.perfetto.dev and `vqfarm trace`
    ///
    /// Chrome's trace event format. What FILE held is lost; beyond 128 MiB it goes on anew and the
    /// part before is kept as FILE.1.
    #[arg(long, value_name = "FILE", env = "VQFARM_TRACE")]
    pub trace: Option<PathBuf>,

    #[command(flatten)]
    pub metrics: MetricsArgs,

    #[command(flatten)]
    pub log: LogArgs,

    #[command(flatten)]
    pub config: ConfigArgs,
}

/// Whether something is done that only saves time or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Wherever it can be.
    Auto,
    Off,
}

fn when(text: &str) -> Result<When, String> {
    match text {
        "auto" => Ok(When::Auto),
        "off" => Ok(When::Off),
        _ => Err("it must be auto or off".into()),
    }
}

/// Bytes of `8GiB`, `500 MB`, or of a number of GiB.
pub fn amount(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(gib) if gib > 0.0 && gib < 65_536.0 => Ok((gib * f64::from(1 << 30)) as u64),
        Ok(_) => Err("it must be an amount of memory, as in 16GiB or 7.5".into()),
        Err(_) => text.parse().map(Memory::bytes).map_err(|error| error.to_string()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    within(text, 0.0, 86_400.0)
}

fn lease(text: &str) -> Result<Duration, String> {
    within(text, 0.1, 3600.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("it must be a number of seconds from {least} to {most}")),
    }
}

/// Works until a signal or a drain. `logs` is part of the process's log.
///
/// # Errors
/// A device, Redis or storage cannot be used at the start.
pub async fn run(args: RunArgs, logs: AttemptLogs) -> Result<()> {
    let stop = shutdown::on_signal()?;
    let metrics = metrics::serve(&args.metrics)?;
    let devices = devices(&args.device)?;
    let id = args.id.clone().map_or_else(own_name, Ok)?;
    let memory = match args.memory {
        Some(memory) => memory,
        None => memory::of_all(&devices).context("memory: give --memory")?,
    };
    let options =
        StorageOptions { endpoint: args.s3_endpoint.clone(), ..StorageOptions::default() };
    let storage = Storage::open(&args.storage, &options).context("storage")?;
    let probing = trace_span!(target: TRACE, "probe storage");
    storage.probe().instrument(probing).await.context("storage")?;
    let policy = Policy { lease: args.lease, attempts: args.attempts, ..Policy::default() };
    let connecting = trace_span!(target: TRACE, "connect to redis");
    let queue = RedisQueue::connect(&args.redis, &args.farm, policy).instrument(connecting).await;
    let queue: Arc<dyn Queue> = Arc::new(queue.context("redis")?);
    let health = queue.health().await.context("redis")?;
    for warning in &health.warnings {
        tracing::warn!(warning, "redis");
    }

    let folder = args.cache.clone().map_or_else(default_cache, Ok)?;
    let cache = Arc::new(ModelCache::new(storage.clone(), folder).checking(args.check_models));
    let shelves = shelves(&devices, &args, &cache).context("memory")?;
    let gpu = devices.iter().all(|device| device.is_cuda());
    let meters = Arc::new(Meters::new(shelves.len()));
    let (events, told) = mpsc::unbounded_channel();
    let worker = Worker {
        queue,
        info: WorkerInfo {
            id: id.clone(),
            tags: tags(&args).await,
            memory,
            loaded: BTreeSet::new(),
            busy: None,
            disk: None,
        },
        cores: (!gpu).then(|| Arc::new(Cores::new(shelves.len()))),
        batch: Arc::new(BatchSize::new(if gpu { args.batch } else { Asked::Fixed(1) })),
        ahead: gpu,
        least_lead: Duration::ZERO,
        shelves,
        jobs: Jobs::Stored(StoredJobs::new(storage.clone())),
        cells: Cells::Farm(storage.clone()),
        cache: Some(cache),
        logs: Some(logs),
        meters: meters.clone(),
        speeds: Arc::new(Speeds::new(Some(storage.root().clone()))),
        events,
    };
    tracing::info!(worker = %id, farm = %args.farm, storage = storage.url(), ?devices,
        lanes = worker.shelves.len(), memory, "working");
    let listening = tokio::spawn(listen(told));
    let ended = until_stopped(worker, stop, args.grace).await;
    listening.abort();
    let busy = meters.busy_since(&meters.beginning());
    let computed = meters.computed().as_secs_f64();
    tracing::info!(iterations = meters.steps(), busy, computed, "leaving");
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    ended
}

/// Runs the worker; a signal gives it its grace period and then a little more.
async fn until_stopped(
    worker: Worker,
    mut stop: tokio::sync::watch::Receiver<bool>,
    grace: Duration,
) -> Result<()> {
    let brake = Brake::default();
    let mut running: JoinHandle<_> = tokio::spawn(worker.run(brake.clone()));
    tokio::select! {
        ended = &mut running => return Ok(ended??),
        () = shutdown::requested(&mut stop) => brake.raise(Stop::Finish),
    }
    tokio::select! {
        ended = &mut running => return Ok(ended??),
        () = tokio::time::sleep(grace) => {
            tracing::warn!("the grace period is over; handing everything back");
            brake.raise(Stop::Now);
        }
    }
    match tokio::time::timeout(LAST, &mut running).await {
        Ok(ended) => Ok(ended??),
        Err(_) => {
            tracing::warn!("storage or queue do not answer; what is left is leased again later");
            Ok(())
        }
    }
}

/// What a worker tells is in its attempts' logs already; the rest is said here.
async fn listen(mut told: mpsc::UnboundedReceiver<Told>) {
    while let Some(told) = told.recv().await {
        match told {
            Told::Event(event) => match *event {
                Event::Warning { message } => tracing::debug!(message),
                event => tracing::trace!(?event),
            },
            Told::Storage(error) => tracing::debug!(error, "a frame was not stored"),
        }
    }
}

/// GPUs, or the CPU alone.
fn devices(names: &[String]) -> Result<Vec<Device>> {
    let mut devices = Vec::new();
    for name in names {
        let device = device::choose(name).with_context(|| format!("device: `{name}`"))?;
        if !devices.contains(&device) {
            devices.push(device);
        }
    }
    if devices.len() > 1 && devices.contains(&Device::Cpu) {
        bail!("device: the CPU cannot be mixed with GPUs; start a second worker for it");
    }
    Ok(devices)
}

/// Those that the operator gave, and what this machine can do.
async fn tags(args: &RunArgs) -> BTreeSet<Tag> {
    let mut tags: BTreeSet<Tag> = args.tags.iter().cloned().collect();
    if stitch::film::has_ffmpeg().await {
        tags.extend(Tag::new(FFMPEG_TAG));
    }
    tags
}

/// One lane for each GPU, or one for each core: lanes whose pictures need several cores wait for
/// each other.
fn shelves(devices: &[Device], args: &RunArgs, cache: &Arc<ModelCache>) -> Result<Vec<Arc<Shelf>>> {
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = args.threads.map_or_else(cores, NonZero::get);
    let graphs = match args.cuda_graphs {
        When::Auto => Graphs::Auto,
        When::Off => Graphs::Off,
    };
    let options = Options { graphs, ..Options::default() };
    let shelf = |device| -> Result<Arc<Shelf>> {
        let budget = Budget::of(device, lanes, args.memory)?;
        let shelf = Shelf::new(Source::Cache(cache.clone()), device)
            .sharing(args.share_weights == When::Auto);
        Ok(Arc::new(shelf.with_options(options).within(budget)))
    };
    match devices {
        [Device::Cpu] => Ok(vec![shelf(Device::Cpu)?; lanes]),
        gpus => gpus.iter().map(|&gpu| shelf(gpu)).collect(),
    }
}

fn own_name() -> Result<WorkerId> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String =
        host.trim().chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    let host = if host.is_empty() { "worker" } else { host.trim_start_matches('.') };
    let id = format!("{}-{}", &host[..host.len().min(64)], std::process::id());
    WorkerId::new(id).context("id: give --id")
}

fn default_cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(root.context("cache: no home folder is known; give --cache")?.join("vqfarm/models"))
}
