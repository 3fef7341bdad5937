//! What somebody who means harm sends: files that grow when they are read, and addresses in place
//! of files.

mod addresses;
mod downloads;
mod models;
mod pictures;
mod zip;

use std::collections::HashMap;
use std::io::ErrorKind;

use sha2::{Digest, Sha256};
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::RequestId;
use vqfarm_core::keys;
use vqfarm_proto::Refusal;
use vqfarm_proto::v1::SubmitRequest;
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_tests::farm::{Farm, Setup, sweep, until};

/// A farm that gives up at the first failure.
fn farm() -> Farm {
    let coordinator = ["--attempts", "1"].map(str::to_owned).into();
    Farm::new(Setup { coordinator, ..Setup::default() })
}

/// A job file as the command resolves it.
fn resolved(job: &str) -> String {
    let document = Document::parse("job.toml", job.as_bytes()).expect("a job file");
    let job = document.job(Limits { cells: u64::MAX }, |_: &str| Err(ErrorKind::NotFound.into()));
    serde_json::to_string(&job.expect("a job")).expect("JSON")
}

/// Hands in a resolved job as a program of the attacker's own does, past all that the command
/// checks. Answers with its id.
fn hand_in(farm: &Farm, job: String, assets: &[Asset]) -> Result<String, Refusal> {
    let assets = assets.iter().map(|asset| (asset.key.clone(), asset.bytes.clone()));
    let request = SubmitRequest {
        job,
        assets: assets.collect::<HashMap<_, _>>(),
        request_id: RequestId::generate().to_string(),
        user: "eve".into(),
        ..SubmitRequest::default()
    };
    let address = format!("http://{}", farm.coordinator.address);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.expect("a runtime").block_on(async {
        FarmClient::connect(address).await.expect("the coordinator listens").submit(request).await
    });
    match answer {
        Ok(answer) => Ok(answer.into_inner().job.expect("a job").id),
        Err(status) => Err(Refusal::of(&status).unwrap_or_else(|| panic!("{status:?}"))),
    }
}

/// A call with a token.
fn bearing<T>(message: T, secret: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    let bearer = format!("Bearer {secret}").parse().expect("a header");
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// A file under the name that its contents give it.
struct Asset {
    key: String,
    bytes: Vec<u8>,
}

impl Asset {
    fn new(bytes: Vec<u8>, extension: &str) -> Self {
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        Self { key: keys::asset(&hash, extension), bytes }
    }
}

/// A sweep of one picture with one more field of `[render]`.
fn with_field(field: &str) -> String {
    sweep(1, 2).replace("[render]", &format!("[render]\n{field}"))
}

/// Waits until a job has failed; answers with what its user is told.
fn failure(farm: &Farm, id: &str) -> String {
    until("the job fails", || {
        let state = farm.json(&["job", id, "--json"])["state"].clone();
        assert_ne!(state, "done");
        (state == "failed").then_some(())
    });
    farm.vqfarm_ok(&["why", id])
}
