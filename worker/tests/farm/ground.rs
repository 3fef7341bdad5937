//! A farm in one process: a queue, storage and the demo models in memory, workers on the CPU.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;
use vqfarm_core::clock::{Clock, SystemClock};
use vqfarm_core::id::{JobId, RequestId, UserName, WorkerId};
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::record::JobRecord;
use vqfarm_queue::{
    Event, JobSnapshot, JobState, LayerSpec, MemoryQueue, Needs, Policy, Queue, Submission,
    WorkerInfo,
};
use vqfarm_storage::{JobStore, Storage, StorageOptions};
use vqfarm_weights::library::Library;
use vqfarm_worker::batch_size::{Asked, BatchSize};
use vqfarm_worker::cache::ModelCache;
use vqfarm_worker::jobs::{Jobs, StoredJobs};
use vqfarm_worker::meters::Meters;
use vqfarm_worker::models::{Shelf, Source};
use vqfarm_worker::run::{Told, Worker};
use vqfarm_worker::stop::Brake;

/// Short, so that the tests are.
pub fn policy() -> Policy {
    Policy {
        lease: Duration::from_secs(3),
        attempts: 2,
        backoff: Duration::from_millis(50),
        ..Policy::default()
    }
}

/// Cells that take next to no time: seeds 1 to `cells`.
pub fn job(cells: u64, iterations: u32) -> Job {
    let job = json!({
        "version": 1,
        "name": "small",
        "render": {
            "generator": "demo-f8",
            "perceptors": ["demo-clip"],
            "prompt": "a red sun over the sea",
            "size": [32, 32],
            "iterations": iterations,
            "cutouts": { "count": 2 },
        },
        "sweep": { "axes": { "seed": format!("1-{cells}") } },
    });
    serde_json::from_value(job).unwrap()
}

pub fn library() -> Library {
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    Library::at("/nonexistent", Some(bundled))
}

pub struct Ground {
    pub queue: Arc<MemoryQueue>,
    pub storage: Storage,
    pub folder: TempDir,
}

/// A worker under way.
pub struct AtWork {
    pub brake: Brake,
    pub meters: Arc<Meters>,
    pub running: JoinHandle<std::io::Result<()>>,
    pub told: mpsc::UnboundedReceiver<Told>,
}

impl AtWork {
    /// Waits for the worker's own end.
    pub async fn end(self) {
        let ended = tokio::time::timeout(Duration::from_secs(120), self.running).await;
        ended.expect("the worker ends").unwrap().unwrap();
    }
}

impl Ground {
    pub async fn new() -> Self {
        let queue = Arc::new(MemoryQueue::new(policy(), Arc::new(SystemClock), 7));
        let storage = Storage::open("memory://", &StorageOptions::default()).unwrap();
        for name in ["demo-f8", "demo-clip"] {
            let entry = library().open(name).unwrap();
            let bytes = std::fs::read(&entry.path).unwrap();
            storage.replace(&keys::model(&entry.sha256), bytes.into()).await.unwrap();
        }
        Self { queue, storage, folder: tempfile::tempdir().unwrap() }
    }

    pub fn record(&self, job: Job) -> JobRecord {
        let models: BTreeMap<_, _> = job
            .models()
            .into_iter()
            .map(|need| {
                let sha256 = library().open(&need.name).unwrap().sha256;
                (need.name, sha256)
            })
            .collect();
        JobRecord {
            id: JobId::generate(),
            user: UserName::new("somebody").unwrap(),
            submitted: SystemClock.now(),
            vqfarm: "0".into(),
            spec_hash: job.spec_hash(),
            spec: job,
            models,
            source: None,
            trace: None,
        }
    }

    /// Stores a job's record as a coordinator does.
    pub async fn store(&self, record: &JobRecord) -> JobStore {
        let store = self.storage.job(record.id);
        let json = serde_json::to_vec(record).unwrap();
        store.create(keys::JOB_RECORD, json.into()).await.unwrap();
        store
    }

    pub fn submission(record: &JobRecord) -> Submission {
        let layers = Plan::new(&record.spec).unwrap().layers.into_iter().map(|layer| LayerSpec {
            name: layer.name,
            tasks: layer.tasks,
            dependency: layer.dependency,
            needs: Needs::default(),
        });
        Submission {
            request: RequestId::generate(),
            job: record.id,
            name: record.spec.name.clone(),
            user: record.user.clone(),
            priority: 0,
            layers: layers.collect(),
            done: Vec::new(),
        }
    }

    /// Stores and queues a job.
    pub async fn submit(&self, job: Job) -> (JobId, JobStore) {
        let record = self.record(job);
        let store = self.store(&record).await;
        self.queue.submit(&Self::submission(&record)).await.unwrap();
        (record.id, store)
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    pub fn worker(&self, id: &str, batch: u32) -> AtWork {
        self.worker_with(id, batch, self.cache())
    }

    /// One lane, which leases `batch` cells at a time.
    pub fn worker_with(&self, id: &str, batch: u32, cache: PathBuf) -> AtWork {
        let jobs = Jobs::Stored(StoredJobs::new(self.storage.clone()));
        self.start(id, batch, cache, jobs, (true, Duration::ZERO))
    }

    /// One lane, which leases one cell at a time, of these jobs, each long before the last is done.
    pub fn worker_at(&self, jobs: Jobs) -> AtWork {
        self.start("one", 1, self.cache(), jobs, (false, Duration::from_secs(3600)))
    }

    fn start(
        &self,
        id: &str,
        batch: u32,
        cache: PathBuf,
        jobs: Jobs,
        (ahead, least_lead): (bool, Duration),
    ) -> AtWork {
        let cache = Arc::new(ModelCache::new(self.storage.clone(), cache));
        let shelf = Shelf::new(Source::Cache(cache.clone()), tch::Device::Cpu);
        let meters = Arc::new(Meters::new(1));
        let (events, told) = mpsc::unbounded_channel();
        let worker = Worker {
            queue: self.queue.clone(),
            info: WorkerInfo {
                id: WorkerId::new(id).unwrap(),
                tags: BTreeSet::new(),
                memory: 1 << 40,
                loaded: BTreeSet::new(),
                busy: None,
                disk: None,
            },
            shelves: vec![Arc::new(shelf)],
            cores: None,
            batch: Arc::new(BatchSize::new(Asked::Fixed(batch))),
            ahead,
            least_lead,
            cells: vqfarm_worker::cells::Cells::Farm(self.storage.clone()),
            jobs,
            cache: Some(cache),
            logs: None,
            speeds: Arc::new(vqfarm_worker::speeds::Speeds::new(None)),
            meters: meters.clone(),
            events,
        };
        let brake = Brake::default();
        let running = tokio::spawn(worker.run(brake.clone()));
        AtWork { brake, meters, running, told }
    }

    /// Waits until the job is over.
    pub async fn over(&self, job: JobId) -> JobSnapshot {
        let over = async {
            let mut events = self.queue.events();
            loop {
                let now = self.queue.job(job).await.unwrap();
                if now.state.is_final() {
                    return now;
                }
                match events.recv().await {
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => (),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), over).await.expect("the job ends")
    }

    pub async fn done(&self, job: JobId) {
        let now = self.over(job).await;
        assert_eq!(now.state, JobState::Done, "{:?}", self.errors(job).await);
    }

    /// The last errors of a job's tasks.
    pub async fn errors(&self, job: JobId) -> Vec<String> {
        let tasks = self.queue.tasks(job, &vqfarm_queue::Tasks::default()).await.unwrap();
        tasks.into_iter().filter_map(|task| task.last_error).collect()
    }
}

/// The next event that `wanted` takes for what it looks for.
pub async fn event<T>(
    events: &mut broadcast::Receiver<Event>,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(&events.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), found).await.expect("the event comes")
}

/// Frames by their names.
pub async fn frames(store: &JobStore) -> BTreeMap<String, Vec<u8>> {
    let mut frames = BTreeMap::new();
    for name in store.names(keys::FRAMES).await.unwrap() {
        let bytes = store.get(&format!("{}/{name}", keys::FRAMES)).await.unwrap().unwrap();
        frames.insert(name, bytes.to_vec());
    }
    frames
}
