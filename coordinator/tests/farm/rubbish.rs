//! Requests as no client of ours writes them: real ones with bytes changed, cut or put in.

use std::time::Duration;

use bytes::{Buf, BufMut};
use prost::Message;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use vqfarm_proto::v1::*;
use vqfarm_queue::Jobs;

use crate::support::*;

/// Bytes as they are, in place of messages.
#[derive(Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// A proper request of each call, about a job that is there.
pub fn proper(job: &str) -> Vec<(&'static str, Vec<u8>)> {
    let job = || job.to_owned();
    let about = JobRequest { job: job() }.encode_to_vec();
    let submit = SubmitRequest { priority: 3, ..request(SWEEP) };
    let assets = [("a.png".to_owned(), vec![1, 2, 3])];
    let model = Model { name: "m".into(), kind: "perceptor".into(), ..Model::default() };
    let model = put_model_request::Part::Model(Model { sha256: "ab".repeat(32), ..model });
    let have = vec![0, 3];
    vec![
        ("Submit", submit.encode_to_vec()),
        ("Submit", SubmitRequest { frames_of: job(), partial: true, ..submit }.encode_to_vec()),
        (
            "PutAssets",
            PutAssetsRequest { request_id: "r".into(), assets: assets.into() }.encode_to_vec(),
        ),
        (
            "ListJobs",
            ListJobsRequest { live: true, page_size: 2, ..Default::default() }.encode_to_vec(),
        ),
        ("GetJob", about.clone()),
        (
            "ListTasks",
            ListTasksRequest { job: job(), page_size: 2, ..Default::default() }.encode_to_vec(),
        ),
        ("Pause", about.clone()),
        ("Resume", about.clone()),
        ("Cancel", about.clone()),
        ("Keep", KeepRequest { job: job(), cells: vec![1] }.encode_to_vec()),
        (
            "Retry",
            RetryRequest { job: job(), tasks: vec![1, 2], layer: String::new() }.encode_to_vec(),
        ),
        ("SetPriority", SetPriorityRequest { job: job(), priority: -4 }.encode_to_vec()),
        ("ListWorkers", Vec::new()),
        ("Drain", DrainRequest { worker: "w".into(), undo: true }.encode_to_vec()),
        ("Status", Vec::new()),
        ("Why", about.clone()),
        ("Logs", LogsRequest { job: job(), task: Some(1), ..Default::default() }.encode_to_vec()),
        (
            "Logs",
            LogsRequest { job: job(), last: 3, worker: "w".into(), ..Default::default() }
                .encode_to_vec(),
        ),
        (
            "TaskMap",
            TaskMapRequest { job: job(), layer: "render".into(), parts: 3 }.encode_to_vec(),
        ),
        (
            "NewestFrame",
            NewestFrameRequest { job: job(), have: "frames/000000.png".into() }.encode_to_vec(),
        ),
        ("Fetch", FetchRequest { job: job(), have, ..FetchRequest::default() }.encode_to_vec()),
        (
            "Fetch",
            FetchRequest { job: job(), only: vec!["job.json".into()], ..FetchRequest::default() }
                .encode_to_vec(),
        ),
        ("ListFiles", ListFilesRequest { job: job(), first_frame: 2, frames: 3 }.encode_to_vec()),
        ("WhoAmI", Vec::new()),
        ("Changes", Vec::new()),
        ("Watch", about),
        ("Audit", AuditRequest { job: job(), repair: true }.encode_to_vec()),
        ("Reconcile", Vec::new()),
        (
            "CollectGarbage",
            CollectGarbageRequest { older_than: 1 << 40, keep_results: true, delete: true }
                .encode_to_vec(),
        ),
        ("FindModels", FindModelsRequest { names: vec!["m".into()] }.encode_to_vec()),
        ("PutModel", PutModelRequest { part: Some(model) }.encode_to_vec()),
    ]
}

/// The bytes with up to three things done to them; most often a letter becomes another, after
/// which there is still something to be understood.
fn spoilt(mut bytes: Vec<u8>, random: &mut StdRng) -> Vec<u8> {
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..16) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.random()),
            // A length or a number that goes on and on.
            2 => drop(bytes.splice(at..at, [0xff; 9])),
            _ if at == bytes.len() => bytes.extend([0x3a, 1, b'x']),
            3 => bytes[at] ^= 1 << random.random_range(0..8),
            _ => bytes[at] = random.random_range(b' '..=b'~'),
        }
    }
    bytes
}

/// What the call answers to these bytes; of a stream only whether it begins.
async fn send(channel: &Channel, call: &str, bytes: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = format!("/vqfarm.v1.Farm/{call}").parse().unwrap();
    let asked = client.server_streaming(Request::new(bytes), path, Raw);
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let mut answers = answer.unwrap_or_else(|_| panic!("{call} hangs"))?.into_inner();
    let first = tokio::time::timeout(Duration::from_secs(20), answers.message()).await;
    Ok(first.unwrap_or_else(|_| panic!("{call} hangs"))?.unwrap_or_default())
}

#[tokio::test]
async fn spoilt_requests_are_refused_and_harm_nothing() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let channel = Endpoint::from_shared(farm.addr.clone()).unwrap().connect_lazy();
    let mut random = StdRng::seed_from_u64(11);
    let (mut refused, mut unread, mut taken) = (0, 0, 0);
    let calls = proper(&job.id);
    for (call, bytes) in &calls {
        // The requests that are spoilt below are such as are answered or refused with a reason.
        if let Err(status) = send(&channel, call, bytes.clone()).await {
            refusal(&status);
        }
    }
    for round in 0..800 {
        let (call, bytes) = calls.choose(&mut random).unwrap();
        let bytes = spoilt(bytes.clone(), &mut random);
        match send(&channel, call, bytes.clone()).await {
            Ok(_) => taken += 1,
            // Not protobuf at all: tonic answers by itself.
            Err(status) if status.message().contains("decode Protobuf") => unread += 1,
            Err(status) => {
                let why = refusal(&status);
                assert_ne!(status.code(), Code::Internal, "{round} {call} {bytes:x?}: {why:?}");
                refused += 1;
            }
        }
    }
    let enough = refused > 50 && unread > 50 && taken > 50;
    assert!(enough, "{refused} refused, {unread} unread, {taken} taken");
    // What was taken are jobs like any other, and the farm takes more.
    let jobs = farm.farm.queue.jobs(Jobs::All).await.unwrap();
    let more = farm.submit(SWEEP).await;
    assert!(jobs.iter().all(|job| job.job.to_string() != more.id));
    let report = farm.client.clone().audit(AuditRequest::default()).await.unwrap().into_inner();
    assert_eq!(report.problems, [], "{} jobs", report.jobs);
    assert_eq!(report.jobs, jobs.len() as u64 + 1);
}
