//! The same over a real Redis, and what happens when it loses its memory.

use vqfarm_proto::v1::*;
use vqfarm_queue::{JobState, Jobs};
use vqfarm_testing::redis::RedisServer;

use crate::support::*;

fn flags(server: &RedisServer) -> [String; 4] {
    ["--queue".into(), "redis".into(), "--redis".into(), server.url()]
}

async fn farm(server: &RedisServer) -> TestFarm {
    let flags = flags(server);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let farm = TestFarm::with(&flags).await;
    is_open(&farm).await;
    farm
}

/// Waits until the coordinator has opened the queue.
async fn is_open(farm: &TestFarm) {
    eventually(async || farm.farm.queue.epoch().await.ok().flatten()).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_gets_its_jobs_back() {
    let server = RedisServer::start();
    let farm = farm(&server).await;
    let job = farm.submit(SWEEP).await;
    farm.work("w", 3).await;
    let late = farm.lease("w", 1).await.remove(0);
    server.command(&["FLUSHALL"]).unwrap();
    assert!(farm.farm.queue.jobs(Jobs::All).await.unwrap().len() <= 1);
    let back = eventually(async || {
        let jobs = farm.farm.queue.jobs(Jobs::All).await.ok()?;
        let open = farm.farm.queue.epoch().await.ok()?.is_some();
        (open && jobs.len() == 1).then(|| jobs[0].clone())
    })
    .await;
    assert_eq!(back.job.to_string(), job.id);
    assert_eq!((back.total().done, back.total().ready), (3, 5));
    // What was leased before does not count any more.
    assert!(farm.farm.queue.commit(&late).await.is_err());
    while farm.work("w", 8).await > 0 {}
    let audit = farm.client.clone().audit(AuditRequest::default()).await.unwrap().into_inner();
    assert_eq!((audit.jobs, audit.frames, audit.problems), (1, 8, vec![]));
}

#[tokio::test]
async fn an_older_copy_of_redis_learns_the_rest_from_storage() {
    let mut server = RedisServer::start();
    let farm = farm(&server).await;
    let mut client = farm.client.clone();
    let known = farm.submit(SWEEP).await;
    let urgent = farm.submit(SWEEP).await;
    farm.work("w", 3).await;
    // The copy: what the server starts from.
    server.ask(&["SAVE"]);
    let epoch = farm.farm.queue.epoch().await.unwrap();
    farm.work("w", 2).await;
    let late = farm.lease("w", 1).await.remove(0);
    let unknown = farm.submit(SWEEP).await;
    let priority = SetPriorityRequest { job: urgent.id.clone(), priority: 7 };
    client.set_priority(priority).await.unwrap();
    client.pause(JobRequest { job: urgent.id.clone() }).await.unwrap();
    server.kill();
    server.start_again();

    let jobs = eventually(async || {
        let jobs = farm.farm.queue.jobs(Jobs::All).await.ok()?;
        let paused = jobs.get(1).is_some_and(|job| job.state == JobState::Paused);
        (jobs.len() == 3 && paused).then_some(jobs)
    })
    .await;
    assert_eq!(farm.farm.queue.epoch().await.unwrap(), epoch, "the copy is of the same memory");
    assert_eq!((jobs[0].job.to_string(), jobs[0].total().done), (known.id, 3), "older");
    assert_eq!((jobs[1].priority, jobs[2].job.to_string()), (7, unknown.id));
    assert!(farm.farm.queue.commit(&late).await.is_err(), "the copy knows of no such lease");
    // Frames that the copy does not know of are there, and adopted.
    client.resume(JobRequest { job: urgent.id.clone() }).await.unwrap();
    while farm.work("w", 8).await > 0 {}
    let audit = farm.client.clone().audit(AuditRequest::default()).await.unwrap().into_inner();
    assert_eq!((audit.jobs, audit.frames, audit.problems), (3, 24, vec![]));
}

#[tokio::test]
async fn ten_million_cells_cost_redis_next_to_nothing() {
    let server = RedisServer::start();
    let farm = farm(&server).await;
    let before = server.info("used_memory");
    let began = std::time::Instant::now();
    let job = farm.submit(&SWEEP.replace("\"1-4\"", "\"1-5000000\"")).await;
    let took = began.elapsed();
    let used = server.info("used_memory").saturating_sub(before);
    assert_eq!(job.total().tasks, 10_000_001);
    assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    assert!(used < 16 << 20, "{used} bytes");
    println!("10,000,000 cells: {took:?}, {used} bytes of Redis");
}

#[tokio::test]
async fn submits_are_answered_once_the_farm_is_back() {
    let server = RedisServer::start();
    let farm = farm(&server).await;
    let asked = request(SWEEP);
    farm.client.clone().submit(asked.clone()).await.unwrap();
    server.command(&["FLUSHALL"]).unwrap();
    // At first the farm says that it is closed, or it is back already.
    let job = eventually(async || farm.client.clone().submit(asked.clone()).await.ok()).await;
    assert!(job.into_inner().job.is_some());
    assert_eq!(farm.farm.queue.jobs(Jobs::All).await.unwrap().len(), 1);
}

#[tokio::test]
async fn several_coordinators_make_one_farm() {
    let server = RedisServer::start();
    let one = farm(&server).await;
    let storage = format!("file://{}", one.dir.path().display());
    let flags = flags(&server);
    let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    flags.extend(["--storage", &storage]);
    let two = TestFarm::with(&flags).await;
    let asked = request(SWEEP);
    let (a, b) = (one.client.clone(), two.client.clone());
    let (mut a, mut b) = (a, b);
    let (first, second) = tokio::join!(a.submit(asked.clone()), b.submit(asked.clone()));
    let id = |answer: tonic::Response<SubmitResponse>| answer.into_inner().job.unwrap().id;
    assert_eq!(id(first.unwrap()), id(second.unwrap()));
    assert_eq!(two.farm.queue.jobs(Jobs::All).await.unwrap().len(), 1);
    // The second hears of what was done through the first.
    let job = two.client.clone().list_jobs(ListJobsRequest::default()).await.unwrap().into_inner();
    let mut changes =
        b.watch(JobRequest { job: job.jobs[0].id.clone() }).await.unwrap().into_inner();
    changes.message().await.unwrap().unwrap();
    one.work("w", 2).await;
    let done = eventually(async || {
        let change = changes.message().await.unwrap().unwrap().job.unwrap();
        Some(change.total().done).filter(|done| *done == 2)
    });
    assert_eq!(done.await, 2);
    server.command(&["FLUSHALL"]).unwrap();
    for farm in [&one, &two] {
        is_open(farm).await;
    }
    eventually(async || (two.farm.queue.jobs(Jobs::All).await.ok()?.len() == 1).then_some(()))
        .await;
}

#[tokio::test]
async fn a_farm_without_its_redis_still_says_how_it_is() {
    let mut server = RedisServer::start();
    let farm = farm(&server).await;
    farm.submit(SWEEP).await;
    server.kill();
    let status = farm.client.clone().status(StatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(status.word, "unwell");
    let [queue, storage] = &status.health[..] else { panic!("{:?}", status.health) };
    assert_eq!((queue.part.as_str(), queue.well), ("queue", false), "{queue:?}");
    assert!(!queue.text.is_empty() && storage.well, "{queue:?} {storage:?}");
    assert!(status.jobs.is_empty(), "nobody knows");
}
