//! What keeps the farm's promises: reconcile, audit, reaping, tokens, the start-up checks.

use std::time::Duration;

use tempfile::TempDir;
use vqfarm_coordinator::{Service, tokens};
use vqfarm_core::id::{JobId, UserName};
use vqfarm_core::keys;
use vqfarm_core::record::JobControl;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1::*;
use vqfarm_queue::Jobs;

use crate::support::*;

#[tokio::test]
async fn a_farm_is_put_back_together_from_storage() {
    let farm = TestFarm::start().await;
    let half = farm.submit(SWEEP).await;
    farm.work("w", 3).await;
    let done = farm.submit(SWEEP).await;
    let urgent = SubmitRequest { priority: 9, ..request(SWEEP) };
    let urgent = farm.client.clone().submit(urgent).await.unwrap().into_inner().job.unwrap();
    let mut client = farm.client.clone();
    for paused in [&half, &urgent] {
        client.pause(JobRequest { job: paused.id.clone() }).await.unwrap();
    }
    while farm.work("w", 8).await > 0 {}
    let gone = farm.submit(SWEEP).await;
    client.cancel(JobRequest { job: gone.id.clone() }).await.unwrap();
    // What does not belong there is told of and harms nobody.
    let stranger = JobId::generate();
    farm.farm.storage.job(stranger).create("frames/000000.png", "x".into()).await.unwrap();
    let damaged = JobId::generate();
    farm.farm.storage.job(damaged).create(keys::JOB_RECORD, "{\"id\"".into()).await.unwrap();
    let half_id: JobId = half.id.parse().unwrap();
    farm.farm.storage.job(half_id).create("frames/notes.txt", "x".into()).await.unwrap();

    let before = farm.farm.queue.jobs(Jobs::All).await.unwrap();
    let dir = farm.stop().await;
    let farm = TestFarm::over(dir, &[]).await;
    let back = eventually(async || {
        let jobs = farm.farm.queue.jobs(Jobs::All).await.unwrap();
        (jobs.len() == 4).then_some(jobs)
    })
    .await;
    for (was, is) in before.iter().zip(&back) {
        let counts = |job: &vqfarm_queue::JobSnapshot| job.total();
        assert_eq!(
            (was.job, was.priority, was.state, counts(was)),
            (is.job, is.priority, is.state, counts(is))
        );
    }
    assert_eq!(back[0].total().done, 3);
    assert_eq!(back[1].job.to_string(), done.id);

    let report = farm.client.clone().reconcile(ReconcileRequest {}).await.unwrap().into_inner();
    assert_eq!((report.jobs, report.restored), (6, 0));
    assert_eq!(report.notes.len(), 2, "{:?}", report.notes);
    assert!(report.notes.iter().any(|note| note.contains("no job.json")), "{:?}", report.notes);
    // Nothing is rendered twice: the rest of the half job are five cells and the stitching.
    farm.client.clone().resume(JobRequest { job: half.id.clone() }).await.unwrap();
    assert_eq!(farm.lease("w", 100).await.len(), 5);
}

#[tokio::test]
async fn what_was_decided_is_made_so_in_a_queue_that_missed_it() {
    let farm = TestFarm::start().await;
    let mut client = farm.client.clone();
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.push(farm.submit(SWEEP).await.id);
    }
    let job = |at: usize| JobRequest { job: jobs[at].clone() };
    let ids: Vec<JobId> = jobs.iter().map(|id| id.parse().unwrap()).collect();
    // As after a failover to a server that lagged behind: stored, and not in the queue.
    let decided = [
        JobControl { cancelled: true, ..Default::default() },
        JobControl { paused: true, ..Default::default() },
        JobControl { priority: Some(7), ..Default::default() },
    ];
    for (id, control) in ids.iter().zip(&decided) {
        farm.farm.set_control(*id, control).await.unwrap();
    }
    client.pause(job(3)).await.unwrap();
    farm.farm.set_control(ids[3], &JobControl::default()).await.unwrap();

    client.reconcile(ReconcileRequest {}).await.unwrap();
    let mut found = Vec::new();
    for id in &ids {
        let job = farm.farm.queue.job(*id).await.unwrap();
        found.push((job.state, job.priority));
    }
    use vqfarm_queue::JobState::{Cancelled, Paused, Waiting};
    assert_eq!(found, [(Cancelled, 0), (Paused, 0), (Waiting, 7), (Waiting, 0)]);
    assert!(!farm.farm.enforce(ids[1]).await.unwrap(), "nothing is left to change");

    farm.farm.storage.job(ids[2]).replace(keys::JOB_CONTROL, "{".into()).await.unwrap();
    let report = client.reconcile(ReconcileRequest {}).await.unwrap().into_inner();
    assert!(report.notes.iter().any(|note| note.contains("control.json")), "{:?}", report.notes);
}

#[tokio::test]
async fn an_audit_finds_what_is_broken_and_has_it_mended() {
    let farm = TestFarm::start().await;
    let job = farm.submit(SWEEP).await;
    let id: JobId = job.id.parse().unwrap();
    let audit = async |repair| {
        let request = AuditRequest { job: job.id.clone(), repair };
        farm.client.clone().audit(request).await.unwrap().into_inner()
    };
    farm.work("w", 2).await;
    farm.farm.queue.drain(&worker("w").id, true).await.unwrap();
    let clean = audit(false).await;
    assert_eq!((clean.frames, clean.problems.as_slice()), (2, [].as_slice()));
    farm.farm.queue.drain(&worker("w").id, false).await.unwrap();
    while farm.work("w", 8).await > 0 {}
    assert_eq!(audit(false).await.frames, 8);

    let store = farm.farm.storage.job(id);
    let whole = store.get(&keys::frame(1)).await.unwrap().unwrap();
    store.replace(&keys::frame(1), whole.slice(..whole.len() / 2)).await.unwrap();
    store.delete(&keys::frame(4)).await.unwrap();
    store.replace(&keys::frame(6), frame_of(6, "another").into()).await.unwrap();
    let found = audit(false).await;
    let said: Vec<&str> = found.problems.iter().map(|problem| problem.text.as_str()).collect();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].starts_with("frames/000001.png is damaged"), "{said:?}");
    assert_eq!(said[1..], ["frames/000006.png is another job's", "frames/000004.png is missing"]);

    let mended = audit(true).await;
    let frames: Vec<_> = mended.problems.iter().filter(|p| p.kind == "frame").collect();
    assert!(frames.len() == 3 && frames.iter().all(|p| p.repaired), "{mended:?}");
    let counts = farm.farm.queue.job(id).await.unwrap().layers[0].counts;
    assert_eq!((counts.done, counts.ready), (5, 3));
}

#[tokio::test]
async fn an_audit_of_all_jobs_finds_idle_workers_and_forgotten_jobs() {
    let farm = TestFarm::start().await;
    farm.submit(SWEEP).await;
    farm.work("lazy", 1).await;
    // Stored behind the queue's back.
    let dir = farm.stop().await;
    let farm = TestFarm::over(dir, &[]).await;
    eventually(async || (farm.farm.queue.jobs(Jobs::All).await.unwrap().len() == 1).then_some(()))
        .await;
    farm.farm.queue.heartbeat(&worker("lazy"), &[]).await.unwrap();
    let record = JobId::generate();
    farm.farm.storage.job(record).create(keys::JOB_RECORD, "{}".into()).await.unwrap();
    let found = farm.client.clone().audit(AuditRequest::default()).await.unwrap().into_inner();
    let kinds: Vec<&str> = found.problems.iter().map(|problem| problem.kind.as_str()).collect();
    assert_eq!(kinds, ["record", "idle"], "{:?}", found.problems);
}

#[tokio::test]
async fn lost_leases_are_ended_by_the_coordinator() {
    let farm = TestFarm::with(&["--lease", "0.3"]).await;
    let job = farm.submit(SWEEP).await;
    let ticket = farm.lease("w", 1).await.remove(0);
    let task = eventually(async || {
        let request = ListTasksRequest { job: job.id.clone(), ..Default::default() };
        let tasks = farm.client.clone().list_tasks(request).await.unwrap().into_inner().tasks;
        tasks.into_iter().find(|task| task.state != "leased")
    })
    .await;
    assert!(task.last_error.contains("was not heard of"), "{task:?}");
    assert!(farm.farm.queue.commit(&ticket).await.is_err());
    let workers = farm.client.clone().list_workers(ListWorkersRequest {}).await.unwrap();
    assert_eq!(workers.into_inner().workers[0].state(), WorkerState::Lost);
}

#[tokio::test]
async fn tokens_open_only_what_their_role_allows() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("tokens.toml");
    let user = |name: &str| UserName::new(name).unwrap();
    let (viewer, first) = tokens::create(user("vi"), tokens::Role::Viewer, None).unwrap();
    let (submitter, second) = tokens::create(user("su"), tokens::Role::Submitter, None).unwrap();
    std::fs::write(&file, first + &second).unwrap();
    let farm = TestFarm::with(&["--tokens", &file.display().to_string()]).await;
    let mut client = farm.client.clone();
    let status = client.status(StatusRequest::default()).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Unauthenticated);
    assert!(client.status(with_token(StatusRequest::default(), &viewer)).await.is_ok());
    let status = client.submit(with_token(request(SWEEP), &viewer)).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Forbidden);
    let job = client.submit(with_token(request(SWEEP), &submitter)).await.unwrap().into_inner();
    // Whose job it is says the token, whatever the request says.
    let job = job.job.unwrap();
    assert_eq!(job.user, "su");
    let cancel = |token: &str| with_token(JobRequest { job: job.id.clone() }, token);
    let status = client.cancel(cancel(&viewer)).await.unwrap_err();
    assert_eq!(refusal(&status).reason, Reason::Forbidden);
    assert!(client.cancel(cancel(&submitter)).await.is_ok());
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_the_start() {
    let dir = TempDir::new().unwrap();
    let refused = async |flags: &[&str]| match Service::start(&options(&dir, flags)).await {
        Ok(_) => panic!("{flags:?} was accepted"),
        Err(error) => error.to_string(),
    };
    let said = refused(&["--listen", "0.0.0.0:0"]).await;
    assert!(said.contains("takes a --tokens file"), "{said}");
    let said = refused(&["--tls-cert", "/x"]).await;
    assert_eq!(said, "tls-cert: it asks for --tls-key too");
    let said = refused(&["--tokens", "/nonexistent/tokens"]).await;
    assert!(said.starts_with("tokens: /nonexistent/tokens"), "{said}");
    let said = refused(&["--storage", "ftp://x"]).await;
    assert!(said.contains("`ftp` is no known kind of store"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused(&["--listen", &taken.local_addr().unwrap().to_string()]).await;
    assert!(said.starts_with("listen: cannot listen on 127.0.0.1:"), "{said}");
    let said = refused(&["--queue", "redis", "--redis", "redis://127.0.0.1:1"]).await;
    assert!(said.starts_with("redis: "), "{said}");
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let farm = TestFarm::start().await;
    let channel = tonic::transport::Channel::from_shared(farm.addr.clone()).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    eventually(async || {
        let request = HealthCheckRequest { service: "vqfarm.v1.Farm".into() };
        let status = health.check(request).await.unwrap().into_inner().status();
        (status == tonic_health::pb::health_check_response::ServingStatus::Serving).then_some(())
    })
    .await;
    let mut reflection = ServerReflectionClient::new(channel);
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let ask = ServerReflectionRequest { host: String::new(), message_request };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::iter([ask])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"vqfarm.v1.Farm"), "{names:?}");
    tokio::time::timeout(Duration::from_secs(5), farm.stop()).await.unwrap();
}
