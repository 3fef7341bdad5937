//! Users and their jobs: who may change what, and how much anybody may have.

use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Request;
use tonic::client::Grpc;
use vqfarm_coordinator::tokens::{self, Role};
use vqfarm_core::id::UserName;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::*;
use vqfarm_queue::JobState;

use crate::rubbish::Raw;
use crate::support::*;

/// A farm with these users, and their secrets.
pub struct Guarded {
    pub farm: TestFarm,
    pub file: PathBuf,
    secrets: Vec<(&'static str, String)>,
    _dir: TempDir,
}

impl Guarded {
    pub async fn with(more: &str, flags: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("tokens.toml");
        let (mut secrets, mut text) = (Vec::new(), String::new());
        for (user, role) in [
            ("vera", Role::Viewer),
            ("ada", Role::Submitter),
            ("eve", Role::Submitter),
            ("node7", Role::Worker),
            ("olga", Role::Operator),
        ] {
            let (secret, lines) = tokens::create(UserName::new(user).unwrap(), role, None).unwrap();
            secrets.push((user, secret));
            text += &lines;
        }
        std::fs::write(&file, text + more).unwrap();
        let path = file.display().to_string();
        let farm = TestFarm::with(&[&["--tokens", &path], flags].concat()).await;
        Self { farm, file, secrets, _dir: dir }
    }

    pub fn secret(&self, user: &str) -> &str {
        &self.secrets.iter().find(|(name, _)| *name == user).unwrap().1
    }

    pub fn by<T>(&self, user: &str, message: T) -> Request<T> {
        with_token(message, self.secret(user))
    }

    async fn submit(&self, user: &str, request: SubmitRequest) -> Result<Job, Reason> {
        let answer = self.farm.client.clone().submit(self.by(user, request)).await;
        let answer = answer.map_err(|status| refusal(&status).reason)?;
        Ok(answer.into_inner().job.unwrap())
    }

    /// Each call that changes a job; why it is refused, if it is.
    async fn change(&self, user: &str, call: &str, job: &str) -> Result<(), Reason> {
        let job = job.to_owned();
        let about = JobRequest { job: job.clone() };
        let mut client = self.farm.client.clone();
        let answer = match call {
            "pause" => client.pause(self.by(user, about)).await.map(drop),
            "resume" => client.resume(self.by(user, about)).await.map(drop),
            "priority" => {
                let request = SetPriorityRequest { job, priority: 5 };
                client.set_priority(self.by(user, request)).await.map(drop)
            }
            "retry" => {
                let request = RetryRequest { job, ..Default::default() };
                client.retry(self.by(user, request)).await.map(drop)
            }
            "keep" => {
                let request = KeepRequest { job, cells: vec![0] };
                client.keep(self.by(user, request)).await.map(drop)
            }
            "cancel" => client.cancel(self.by(user, about)).await.map(drop),
            other => panic!("{other}"),
        };
        answer.map_err(|status| refusal(&status).reason)
    }

    /// The status of an answer of the page, and the answer.
    async fn page(&self, user: &str, line: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.farm.web).await.unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: 0\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Cookie: vqfarm-token-vqfarm={}\r\n\r\n",
            self.farm.web,
            self.secret(user)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

const CALLS: [&str; 6] = ["pause", "resume", "priority", "retry", "keep", "cancel"];

#[tokio::test]
async fn jobs_are_changed_by_their_users_and_operators_only() {
    let guarded = Guarded::with("", &[]).await;
    let job = guarded.submit("ada", request(SWEEP)).await.unwrap();
    let id = job.id.parse().unwrap();
    for call in CALLS {
        for other in ["eve", "vera", "node7"] {
            let answer = guarded.change(other, call, &job.id).await;
            assert_eq!(answer, Err(Reason::Forbidden), "{other}: {call}");
            // By another name of the job, too.
            assert_eq!(guarded.change(other, call, "last").await, Err(Reason::Forbidden));
        }
        let is = guarded.farm.farm.queue.job(id).await.unwrap();
        assert_eq!((is.state, is.priority), (JobState::Waiting, 0), "{call} changed nothing");
    }
    for user in ["ada", "olga"] {
        let job = guarded.submit("ada", request(SWEEP)).await.unwrap();
        for call in CALLS {
            let answer = guarded.change(user, call, &job.id).await;
            assert_ne!(answer, Err(Reason::Forbidden), "{user}: {call}");
        }
        let is = guarded.farm.farm.queue.job(job.id.parse().unwrap()).await.unwrap();
        assert_eq!((is.state, is.priority), (JobState::Cancelled, 5));
    }
}

#[tokio::test]
async fn the_page_knows_whose_job_it_shows() {
    let guarded = Guarded::with("", &[]).await;
    let job = guarded.submit("ada", request(SWEEP)).await.unwrap();
    let path = format!("/jobs/{}", job.id);
    for (user, may) in [("ada", true), ("olga", true), ("eve", false), ("vera", false)] {
        let (status, shown) = guarded.page(user, &format!("GET {path}")).await;
        assert_eq!(status, 200);
        assert_eq!(shown.contains(&format!("action=\"{path}/pause\"")), may, "{user}");
        for action in ["pause", "resume"] {
            let (status, _) = guarded.page(user, &format!("POST {path}/{action}")).await;
            assert_eq!(status, if may { 303 } else { 403 }, "{user}: {action}");
        }
    }
}

#[tokio::test]
async fn another_users_request_id_opens_nothing() {
    let guarded = Guarded::with("", &[]).await;
    let named = SubmitRequest { request_id: "nightly".into(), ..request(SWEEP) };
    let job = guarded.submit("ada", named.clone()).await.unwrap();
    let urgent = SubmitRequest { priority: 9, ..named.clone() };
    assert_eq!(guarded.submit("eve", urgent).await.unwrap_err(), Reason::RequestUsed);
    let control = guarded.farm.farm.control(job.id.parse().unwrap()).await.unwrap();
    assert_eq!(control.priority, None, "nothing was stored in a job of another's");
    let request = PutAssetsRequest { request_id: "nightly".into(), ..Default::default() };
    let mut client = guarded.farm.client.clone();
    let status = client.put_assets(guarded.by("eve", request)).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Forbidden);
    assert_eq!(guarded.submit("ada", named).await.unwrap().id, job.id);
}

#[tokio::test]
async fn a_machine_drains_its_own_workers() {
    let guarded = Guarded::with("", &[]).await;
    for name in ["node7-1", "node8"] {
        guarded.farm.farm.queue.heartbeat(&worker(name), &[]).await.unwrap();
    }
    let drain = async |user: &str, worker: &str| {
        let request = DrainRequest { worker: worker.into(), undo: false };
        let answer = guarded.farm.client.clone().drain(guarded.by(user, request)).await;
        answer.map(drop).map_err(|status| refusal(&status).reason)
    };
    assert_eq!(drain("node7", "node8").await, Err(Reason::Forbidden));
    assert_eq!(drain("ada", "node7-1").await, Err(Reason::Forbidden));
    assert_eq!(drain("node7", "node7-1").await, Ok(()));
    assert_eq!(drain("olga", "node8").await, Ok(()));
    let submitted = guarded.submit("node7", request(SWEEP)).await;
    assert_eq!(submitted.unwrap_err(), Reason::Forbidden);
}

#[tokio::test]
async fn a_quota_holds_for_its_users_and_not_for_operators() {
    let quota = "[quota]\nopen_jobs = 2\nhighest_priority = 1\n\
                 [quota_of.eve]\nwaiting_tasks = 20\nupload_mib_an_hour = 1\n";
    let guarded = Guarded::with(quota, &[]).await;
    let named = SubmitRequest { request_id: "first".into(), ..request(SWEEP) };
    guarded.submit("ada", named.clone()).await.unwrap();
    let second = guarded.submit("ada", request(SWEEP)).await.unwrap();
    assert_eq!(guarded.submit("ada", request(SWEEP)).await.unwrap_err(), Reason::Quota);
    // Whoever has lost the answer asks again.
    assert!(guarded.submit("ada", named).await.is_ok());
    assert_eq!(guarded.change("ada", "cancel", &second.id).await, Ok(()));
    let third = guarded.submit("ada", request(SWEEP)).await.unwrap();
    assert_eq!(guarded.change("ada", "priority", &third.id).await, Err(Reason::Quota));
    let urgent = SubmitRequest { priority: 2, ..request(SWEEP) };
    assert_eq!(guarded.submit("ada", urgent).await.unwrap_err(), Reason::Quota);

    // Eight cells and the stitching are nine tasks.
    for _ in 0..2 {
        guarded.submit("eve", request(SWEEP)).await.unwrap();
    }
    assert_eq!(guarded.submit("eve", request(SWEEP)).await.unwrap_err(), Reason::Quota);
    let model = |name: &str, bytes| {
        let model = Model {
            name: name.into(),
            sha256: "cd".repeat(32),
            kind: "perceptor".into(),
            bytes,
            config: String::new(),
        };
        PutModelRequest { part: Some(put_model_request::Part::Model(model)) }
    };
    let push = async |user: &str, name: &str, bytes| {
        let parts = tokio_stream::iter([model(name, bytes)]);
        let answer = guarded.farm.client.clone().put_model(guarded.by(user, parts)).await;
        refusal(&answer.unwrap_err()).reason
    };
    assert_eq!(push("eve", "mine", 2 << 20).await, Reason::Quota);
    // Taken, but nothing came.
    assert_eq!(push("olga", "mine", 2 << 20).await, Reason::BadRequest);
    // The farm's own name for other weights.
    assert_eq!(push("eve", "demo-clip", 1).await, Reason::Forbidden);
    assert_eq!(push("olga", "demo-clip", 1).await, Reason::BadRequest);
    for _ in 0..4 {
        guarded.submit("olga", request(SWEEP)).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_in_the_middle_of_a_watch() {
    let guarded = Guarded::with("", &[]).await;
    let job = guarded.submit("ada", request(SWEEP)).await.unwrap();
    let mut client = guarded.farm.client.clone();
    let about = JobRequest { job: job.id };
    let mut watched = client.watch(guarded.by("vera", about)).await.unwrap().into_inner();
    let mut kept = client.changes(guarded.by("ada", ChangesRequest {})).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some() && kept.message().await.is_ok());
    let text = std::fs::read_to_string(&guarded.file).unwrap();
    let without = text.split("[[token]]").filter(|one| !one.contains("\"vera\""));
    let without = without.filter(|one| !one.trim().is_empty()).map(|one| format!("[[token]]{one}"));
    std::fs::write(&guarded.file, without.collect::<String>()).unwrap();
    let end = async {
        loop {
            match watched.message().await {
                Ok(Some(_)) => (),
                Ok(None) => panic!("the watch ended without a word"),
                Err(status) => return refusal(&status).reason,
            }
        }
    };
    let end = tokio::time::timeout(Duration::from_secs(10), end).await.unwrap();
    assert_eq!(end, Reason::Unauthenticated);
    let status = client.status(guarded.by("vera", StatusRequest::default())).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Unauthenticated);
    guarded.submit("ada", request(SWEEP)).await.unwrap();
    assert!(kept.message().await.unwrap().is_some(), "others go on");
}

/// A call by its name with these bytes.
pub async fn call(guarded: &Guarded, user: Option<&str>, name: &str, bytes: Vec<u8>) {
    let channel = tonic::transport::Endpoint::from_shared(guarded.farm.addr.clone()).unwrap();
    let mut client = Grpc::new(channel.connect_lazy());
    client.ready().await.unwrap();
    let path = format!("/vqfarm.v1.Farm/{name}").parse().unwrap();
    let asked = match user {
        Some(user) => guarded.by(user, bytes),
        None => Request::new(bytes),
    };
    // Whatever the answer is; of a stream only whether it begins.
    drop(client.server_streaming(asked, path, Raw).await);
}

/// The request of a submit, as bytes.
pub fn submit_bytes() -> Vec<u8> {
    request(SWEEP).encode_to_vec()
}
