//! A farm in this process, and simple workers for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use image::RgbImage;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Request, Status};
use vqfarm_coordinator::options::{Cli, Options};
use vqfarm_coordinator::{Farm, Service};
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::{JobId, ModelName, RequestId, TaskId, WorkerId};
use vqfarm_core::keys;
use vqfarm_core::needs::Role;
use vqfarm_core::record::ModelRecord;
use vqfarm_proto::Refusal;
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_proto::v1::{Job, SubmitRequest};
use vqfarm_queue::{LeaseAnswer, Ticket, WorkerInfo};
use vqfarm_storage::frame::{self, FrameInfo};

pub struct TestFarm {
    pub dir: TempDir,
    pub farm: Arc<Farm>,
    pub client: FarmClient<Channel>,
    pub addr: String,
    /// Where the web page is.
    pub web: SocketAddr,
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl TestFarm {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(flags: &[&str]) -> Self {
        Self::over(TempDir::new().unwrap(), flags).await
    }

    /// A farm over a folder that may hold jobs.
    pub async fn over(dir: TempDir, flags: &[&str]) -> Self {
        let service = Service::start(&options(&dir, flags)).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let (farm, addr) = (service.farm(), format!("http://{}", service.addr()));
        let web = service.web_addr().unwrap();
        let running = tokio::spawn(async move { service.run(stopped).await.unwrap() });
        let client = FarmClient::connect(addr.clone()).await.unwrap();
        let test = Self { dir, farm, client, addr, web, stop, running };
        test.add_model("demo-f8", Role::Generator).await;
        test.add_model("demo-clip", Role::Perceptor).await;
        test
    }

    /// Stops the coordinator; what is in the folder stays.
    pub async fn stop(self) -> TempDir {
        self.stop.send_replace(true);
        self.running.await.unwrap();
        self.dir
    }

    pub async fn add_model(&self, name: &str, kind: Role) {
        self.add_sized(name, kind, None).await;
    }

    /// A model whose sizes are known.
    pub async fn add_sized(&self, name: &str, kind: Role, config: Option<Value>) {
        let name = ModelName::new(name).unwrap();
        let key = keys::model_name(&name);
        let record = ModelRecord { name, sha256: "ab".repeat(32), kind, bytes: 1, config };
        let json = serde_json::to_vec(&record).unwrap();
        self.farm.storage.replace(&key, json.into()).await.unwrap();
    }

    pub async fn submit(&self, job: &str) -> Job {
        let answer = self.client.clone().submit(request(job)).await.unwrap().into_inner();
        answer.job.unwrap()
    }

    /// Why a submit is refused.
    pub async fn refused(&self, request: SubmitRequest) -> Refusal {
        let status = self.client.clone().submit(request).await.unwrap_err();
        refusal(&status)
    }

    /// Leases up to `most` tasks as worker `name`, which has 8 GiB.
    pub async fn lease(&self, name: &str, most: u32) -> Vec<Ticket> {
        let answer =
            self.farm.queue.lease(&RequestId::generate(), &worker(name), most).await.unwrap();
        match answer {
            LeaseAnswer::Work(lease) => lease.tickets,
            _ => Vec::new(),
        }
    }

    /// Does up to `most` tasks: stores their frames and commits them.
    pub async fn work(&self, name: &str, most: u32) -> usize {
        let tickets = self.lease(name, most).await;
        for ticket in &tickets {
            self.store_frame(ticket.task.job, ticket.task.index, ticket.task.layer).await;
            self.farm.queue.commit(ticket).await.unwrap();
        }
        tickets.len()
    }

    /// The number by which people know a task.
    pub async fn number(&self, task: TaskId) -> u64 {
        let record = self.farm.record(task.job).await.unwrap().unwrap();
        record.plan().unwrap().layers[usize::from(task.layer)].number_of(task.index)
    }

    /// Stores what a worker would: a frame, or the outputs.
    pub async fn store_frame(&self, job: JobId, index: u64, layer: u8) {
        let store = self.farm.storage.job(job);
        if layer == 1 {
            for key in [keys::CONTACT_SHEET, keys::GALLERY, keys::SCORES] {
                store.replace(key, "output".into()).await.unwrap();
            }
            return;
        }
        let record = self.farm.record(job).await.unwrap().unwrap();
        let index = self.number(TaskId { job, layer, index }).await;
        let bytes = frame_of(index, &record.spec_hash);
        store.create(&keys::frame(index), bytes.into()).await.unwrap();
    }
}

/// A frame as a worker of another version of this program would write it, too.
pub fn frame_of(index: u64, spec: &str) -> Vec<u8> {
    let info = FrameInfo {
        index,
        spec: spec.to_owned(),
        settings: Default::default(),
        models: BTreeMap::new(),
        score: None,
        version: "test".into(),
        stopped: None,
        film: false,
    };
    frame::encode(&RgbImage::new(8, 8), &info).unwrap()
}

pub fn options(dir: &TempDir, flags: &[&str]) -> Options {
    let storage = format!("file://{}", dir.path().display());
    let ours = [
        ("--queue", "memory"),
        ("--listen", "127.0.0.1:0"),
        ("--web-listen", "127.0.0.1:0"),
        ("--storage", &storage),
    ];
    let ours = ours.iter().filter(|(flag, _)| !flags.contains(flag));
    let ours = ours.flat_map(|(flag, value)| [*flag, *value]);
    let args = ["vqfarm-coordinator"].into_iter().chain(ours).chain(flags.iter().copied());
    Cli::try_parse_from(args).unwrap().options
}

pub fn worker(name: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(name).unwrap(),
        tags: BTreeSet::new(),
        memory: 8 << 30,
        loaded: BTreeSet::new(),
        busy: None,
        disk: None,
    }
}

/// A job file's text as the command sends it.
pub fn resolved(text: &str) -> String {
    let text = format!("version = 1\n{text}");
    let document = Document::parse("job.toml", text.as_bytes()).unwrap();
    let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    serde_json::to_string(&document.job(Limits { cells: u64::MAX }, no_files).unwrap()).unwrap()
}

pub fn request(job: &str) -> SubmitRequest {
    SubmitRequest {
        job: resolved(job),
        assets: HashMap::new(),
        request_id: RequestId::generate().to_string(),
        user: "ada".into(),
        ..SubmitRequest::default()
    }
}

/// Eight cells.
/// The sizes of the f16 VQGAN with 16,384 rows.
pub fn vqgan() -> Value {
    json!({"kind": "vqgan", "config": {
        "z_channels": 256, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
        "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "attn_resolutions": [16],
        "embed_dim": 256, "n_embed": 16_384, "quantizer": "vq",
    }})
}

/// The sizes of ViT-B/32.
pub fn clip() -> Value {
    json!({"kind": "clip", "config": {
        "embed_dim": 512, "image_resolution": 224, "vision_layers": 12, "vision_width": 768,
        "vision_patch_size": 32, "context_length": 77, "vocab_size": 49_408,
        "transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12,
        "activation": "quick_gelu",
    }})
}

pub const SWEEP: &str = "
name = \"boats\"
[render]
generator = \"demo-f8\"
perceptors = [\"demo-clip\"]
size = [64, 64]
[sweep]
prompt = \"a {colour} boat\"
[sweep.axes]
colour = [\"red\", \"white\"]
seed = \"1-4\"
";

pub fn refusal(status: &Status) -> Refusal {
    Refusal::of(status).unwrap_or_else(|| panic!("not a refusal of ours: {status:?}"))
}

/// Asks until the answer is there.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not come to pass within 10 s");
}

pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}
