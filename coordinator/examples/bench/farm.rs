//! A farm of real servers: Redis, a folder, the coordinator's program.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::transport::Channel;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::{FarmName, JobId, ModelName, RequestId, WorkerId};
use vqfarm_core::keys;
use vqfarm_core::needs::Role;
use vqfarm_core::record::{JobRecord, ModelRecord};
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_proto::v1::{StatusRequest, SubmitRequest};
use vqfarm_queue::{LayerSpec, Policy, Queue, RedisQueue, Submission, WorkerInfo};
use vqfarm_storage::{Storage, StorageOptions};
use vqfarm_testing::redis::RedisServer;

const FARM: &str = "bench";

/// A job as users submit it, of so many cells.
fn job(name: &str, cells: u64) -> String {
    let text = format!(
        "version = 1\nname = \"{name}\"\n[render]\ngenerator = \"demo-f8\"\n\
         perceptors = [\"demo-clip\"]\nsize = [64, 64]\n[sweep]\nprompt = \"a red boat\"\n\
         [sweep.axes]\nseed = \"1-{cells}\"\n"
    );
    let document = Document::parse("job.toml", text.as_bytes()).expect("a job file");
    let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let job = document.job(Limits { cells: u64::MAX }, no_files).expect("a job");
    serde_json::to_string(&job).expect("JSON")
}

pub struct BenchFarm {
    redis: RedisServer,
    folder: TempDir,
    storage: Storage,
    port: u16,
    coordinator: Option<Child>,
}

impl BenchFarm {
    pub async fn start() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = format!("file://{}", folder.path().display());
        let storage = Storage::open(&url, &StorageOptions::default()).expect("storage");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = port.expect("a free port").port();
        let mut farm =
            Self { redis: RedisServer::start(), folder, storage, port, coordinator: None };
        for (name, kind) in [("demo-f8", Role::Generator), ("demo-clip", Role::Perceptor)] {
            let name = ModelName::new(name).expect("a name");
            let key = keys::model_name(&name);
            let record =
                ModelRecord { name, sha256: "ab".repeat(32), kind, bytes: 1, config: None };
            let json = serde_json::to_vec(&record).expect("JSON");
            farm.storage.replace(&key, json.into()).await.expect("stored");
        }
        farm.restart().await;
        farm
    }

    pub fn addr(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub async fn client(&self) -> FarmClient<Channel> {
        FarmClient::connect(self.addr()).await.expect("connected")
    }

    pub async fn queue(&self) -> RedisQueue {
        let farm = FarmName::new(FARM).expect("a name");
        let queue = RedisQueue::connect(&self.redis.url(), &farm, Policy::default()).await;
        queue.expect("connected")
    }

    /// Starts the coordinator, again if it runs; answers how long it took until it was ready.
    pub async fn restart(&mut self) -> Duration {
        self.end();
        let begun = Instant::now();
        let child = Command::new(program("vqfarm-coordinator"))
            .args(["--farm", FARM, "--web-listen", "off", "--redis", &self.redis.url()])
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .args(["--storage", self.storage.url(), "--log-level", "error"])
            .stdin(Stdio::null())
            .spawn();
        self.coordinator = Some(child.expect("vqfarm-coordinator"));
        loop {
            if let Ok(mut client) = FarmClient::connect(self.addr()).await
                && let Ok(status) = client.status(StatusRequest::default()).await
                && status.into_inner().word != "unwell"
            {
                return begun.elapsed();
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// A small job is submitted and done; the others are like it.
    pub async fn make_history(&self, jobs: u32) {
        let queue = self.queue().await;
        let template = self.submit("history", 4).await;
        let record = self.storage.job(template).get(keys::JOB_RECORD).await.expect("storage");
        let record = record.expect("a record");
        let record: JobRecord = serde_json::from_slice(&record).expect("a record");
        let snapshot = queue.job(template).await.expect("the job");
        let layers: Vec<LayerSpec> = snapshot
            .layers
            .into_iter()
            .map(|layer| LayerSpec {
                name: layer.name,
                tasks: layer.counts.tasks,
                dependency: layer.dependency,
                needs: layer.needs,
            })
            .collect();
        queue.cancel(template).await.expect("cancelled");
        let (queue, record, layers) = (&queue, &record, &layers);
        let made = stream::iter(0..jobs).map(async |number| {
            let job = JobId::from_u128((u128::from(number) << 64) + 1);
            let record = JobRecord { id: job, ..record.clone() };
            let json = serde_json::to_vec(&record).expect("JSON");
            let stored = self.storage.job(job).create(keys::JOB_RECORD, json.into()).await;
            stored.expect("stored");
            let done = (0..).zip(layers).map(|(at, layer)| (at, 0..layer.tasks)).collect();
            let submission = Submission {
                request: RequestId::generate(),
                job,
                name: snapshot.name.clone(),
                user: snapshot.user.clone(),
                priority: 0,
                layers: layers.clone(),
                done,
            };
            queue.submit(&submission).await.expect("submitted");
        });
        made.buffer_unordered(8).collect::<()>().await;
    }

    pub async fn submit_huge(&self, cells: u64) -> String {
        self.submit("huge", cells).await.to_string()
    }

    async fn submit(&self, name: &str, cells: u64) -> JobId {
        let request = SubmitRequest {
            job: job(name, cells),
            request_id: RequestId::generate().to_string(),
            user: "ada".into(),
            ..SubmitRequest::default()
        };
        let answer = self.client().await.submit(request).await.expect("submitted").into_inner();
        answer.job.expect("a job").id.parse().expect("an id")
    }

    /// As a server that comes back empty.
    pub fn lose_queue(&self) {
        self.redis.ask(&["FLUSHALL"]);
    }

    /// The most that the coordinator has had in memory.
    pub fn peak_mib(&self) -> f64 {
        let id = self.coordinator.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        kib.expect("VmHWM") / 1024.0
    }

    fn end(&mut self) {
        if let Some(mut child) = self.coordinator.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for BenchFarm {
    fn drop(&mut self) {
        self.end();
        let _ = std::fs::remove_dir_all(self.folder.path());
    }
}

/// One of our programs, beside this one.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this program");
    let path = this.ancestors().nth(2).expect("a folder of programs").join(name);
    assert!(path.exists(), "{} is missing: cargo build --release --workspace", path.display());
    path
}

pub fn worker(number: u32) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(format!("host-{number}-gpu0")).expect("a name"),
        tags: BTreeSet::new(),
        memory: 80 << 30,
        loaded: ["demo-f8".to_owned(), "demo-clip".to_owned()].into(),
        busy: Some(99),
        disk: None,
    }
}
