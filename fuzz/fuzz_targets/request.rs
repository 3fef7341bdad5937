//! Any bytes as a call of the coordinator: the first chooses which, the rest is its message.
//! It is answered, or refused with a reason that is not the coordinator's own fault.
#![no_main]

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::pin;

use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::Service as _;
use tonic::codegen::http::{self, HeaderMap};
use tonic::{Code, Status};
use vqfarm_coordinator::options::Cli;
use vqfarm_coordinator::{Grpc, Service};
use vqfarm_core::id::ModelName;
use vqfarm_core::keys;
use vqfarm_core::needs::Role;
use vqfarm_core::record::ModelRecord;
use vqfarm_proto::Refusal;
use vqfarm_proto::v1::farm_server::FarmServer;

/// All but `Changes`, which says nothing until something changes.
const CALLS: [&str; 27] = [
    "Submit",
    "PutAssets",
    "ListJobs",
    "GetJob",
    "ListTasks",
    "Pause",
    "Resume",
    "Cancel",
    "Retry",
    "SetPriority",
    "ListWorkers",
    "Drain",
    "Status",
    "Why",
    "Logs",
    "Fetch",
    "Watch",
    "Audit",
    "Reconcile",
    "FindModels",
    "PutModel",
    "TaskMap",
    "NewestFrame",
    "Keep",
    "ListFiles",
    "WhoAmI",
    "CollectGarbage",
];

/// A coordinator that keeps everything in memory, and how many calls it has had.
struct Farm {
    runtime: Runtime,
    server: FarmServer<Grpc>,
    calls: u32,
    _stop: watch::Sender<bool>,
}

impl Farm {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let args = "c --queue memory --storage memory:// --listen 127.0.0.1:0 --web-listen off";
        let options = Cli::parse_from(args.split(' ')).options;
        let service = runtime.block_on(Service::start(&options)).expect("a coordinator");
        let (_stop, stop) = watch::channel(false);
        let inner = service.farm();
        for (name, kind) in [("demo-f8", Role::Generator), ("demo-clip", Role::Perceptor)] {
            let name = ModelName::new(name).expect("a name");
            let key = keys::model_name(&name);
            let record = ModelRecord { name, sha256: "ab".repeat(32), kind, bytes: 1, config: None };
            let json = serde_json::to_vec(&record).expect("a record");
            runtime.block_on(inner.storage.replace(&key, json.into())).expect("a model");
        }
        let server = FarmServer::new(Grpc { farm: inner, tokens: None, stop });
        let mut farm = Self { runtime, server, calls: 0, _stop };
        // A job that the other calls can be about.
        farm.call(CALLS[0], &include_bytes!("../seeds/request/submit")[1..]);
        farm
    }

    fn call(&mut self, call: &str, message: &[u8]) {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(message.len() as u32);
        body.put_slice(message);
        let request = http::Request::post(format!("/vqfarm.v1.Farm/{call}"))
            .header("content-type", "application/grpc")
            .body(Body::new(Full::<Bytes>::new(body.freeze()).map_err(|e: Infallible| match e {})))
            .expect("a request");
        self.calls += 1;
        let status = self.runtime.block_on(async {
            let answer = self.server.call(request).await.expect("the server answers");
            let (head, body) = answer.into_parts();
            if let Some(status) = Status::from_header_map(&head.headers) {
                return Some(status);
            }
            // Of what goes on for ever, the first part is enough.
            let mut body = pin!(body);
            for _ in 0..2 {
                match body.frame().await {
                    Some(Ok(frame)) => match frame.trailers_ref() {
                        Some(trailers) => return Status::from_header_map(trailers as &HeaderMap),
                        None if call == "Watch" => return None,
                        None => (),
                    },
                    Some(Err(status)) => return Some(status),
                    None => return None,
                }
            }
            None
        });
        let Some(status) = status.filter(|status| status.code() != Code::Ok) else { return };
        if status.message().contains("decode Protobuf") {
            return;
        }
        let refusal = Refusal::of(&status).unwrap_or_else(|| panic!("{call}: {status:?}"));
        assert_ne!(status.code(), Code::Internal, "{call}: {refusal:?}");
    }
}

thread_local! {
    static FARM: RefCell<Farm> = RefCell::new(Farm::new());
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, message)) = data.split_first() else { return };
    FARM.with_borrow_mut(|farm| {
        if farm.calls == 10_000 {
            *farm = Farm::new();
        }
        farm.call(CALLS[usize::from(*choice) % CALLS.len()], message);
    });
});
