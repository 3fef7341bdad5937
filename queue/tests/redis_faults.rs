//! What may go wrong with a server and its connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::{FarmName, JobId, RequestId};
use vqfarm_queue::*;
use vqfarm_testing::proxy::{Fault, Proxy};
use vqfarm_testing::redis::RedisServer;

mod common;
use common::*;

fn address(server: &RedisServer) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], server.port()))
}

async fn state(queue: &dyn Queue, job: JobId) -> (JobState, u64, u64) {
    let snapshot = queue.job(job).await.expect("the job");
    (snapshot.state, snapshot.total().done, snapshot.total().leased)
}

#[tokio::test]
async fn forgotten_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 3)).await.expect("submitted");
    for _ in 0..3 {
        server.ask(&["SCRIPT", "FLUSH"]);
        let ticket = lease(&queue, "w", 1).await[0];
        server.ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(queue.commit(&ticket).await, Ok(Committed::Now));
    }
    assert!(server.ask(&["INFO", "errorstats"]).contains("NOSCRIPT"), "the fault fired");
    assert_eq!(state(&queue, id).await, (JobState::Running, 3, 0));
}

#[tokio::test]
async fn a_restart_with_a_log_loses_nothing() {
    let mut server = RedisServer::durable();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 5)).await.expect("submitted");
    let tickets = lease(&queue, "w", 3).await;
    assert_eq!(queue.commit(&tickets[0]).await, Ok(Committed::Now));
    let (epoch, run) = (queue.epoch().await, queue.health().await.expect("health").run);
    let before = queue.job(id).await;
    server.kill();
    server.start_again();
    assert_ne!(queue.health().await.expect("health").run, run, "the fault fired");
    assert_eq!((queue.epoch().await, queue.job(id).await), (epoch, before));
    assert_eq!(queue.commit(&tickets[0]).await, Ok(Committed::Before));
    assert_eq!(queue.commit(&tickets[1]).await, Ok(Committed::Now));
    assert_eq!(lease(&queue, "w", 9).await.len(), 2);
}

#[tokio::test]
async fn calls_outlast_a_restart() {
    let mut server = RedisServer::durable();
    let queue = open(&server.url()).await;
    queue.submit(&job(1, 5)).await.expect("submitted");
    server.kill();
    let waiting = tokio::spawn(async move { lease(&queue, "w", 1).await.len() });
    server.start_again();
    assert_eq!(waiting.await.expect("no panic"), 1);
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_closed_until_restored() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let worker = connect(&server.url()).await;
    let submission = job(1, 3);
    let id = queue.submit(&submission).await.expect("submitted");
    let ticket = lease(&worker, "w", 1).await[0];
    server.ask(&["FLUSHALL"]);
    assert_eq!(worker.commit(&ticket).await, Err(QueueError::Closed));
    assert_eq!(queue.submit(&job(2, 1)).await, Err(QueueError::Closed));
    let submitted = Timestamp(1);
    let restoration = Restoration { submission, submitted, standing: Standing::Active };
    assert_eq!(queue.restore(&restoration).await, Ok(true));
    assert_eq!(worker.reap().await, Err(QueueError::Closed));
    queue.open().await.expect("opened");
    assert_eq!(worker.commit(&ticket).await, Err(QueueError::Stale(ticket)));
    assert_eq!(lease(&worker, "w", 9).await.len(), 3);
    assert_eq!(state(&queue, id).await, (JobState::Running, 0, 3));
}

#[tokio::test]
async fn a_full_server_takes_no_jobs_and_keeps_what_runs() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 20)).await.expect("submitted");
    let mut tickets = lease(&queue, "w", 5).await;
    let half = server.info("used_memory") / 2;
    server.ask(&["CONFIG", "SET", "maxmemory", &half.to_string()]);
    let full = server.command(&["SET", "x", "y"]).expect("an answer");
    assert!(full.starts_with("OOM"), "the fault fired: {full}");

    let refused = queue.submit(&job(2, 1)).await;
    assert!(matches!(refused, Err(QueueError::Full(_))), "{refused:?}");
    let restoration =
        Restoration { submission: job(3, 1), submitted: Timestamp(1), standing: Standing::Active };
    let refused = queue.restore(&restoration).await;
    assert!(matches!(refused, Err(QueueError::Full(_))), "{refused:?}");
    assert_eq!(queue.jobs(Jobs::All).await.expect("jobs").len(), 1, "nothing of them is there");

    let beats = queue.heartbeat(&info("w"), &tickets).await.expect("heard").beats;
    assert!(beats.iter().all(|beat| matches!(beat, Beat::Extended(_))), "{beats:?}");
    queue.heartbeat(&info("newcomer"), &[]).await.expect("heard");
    assert_eq!(queue.commit(&tickets[0]).await, Ok(Committed::Now));
    let failure = Failure { message: "x".into(), retryable: false };
    assert_eq!(queue.fail(&tickets[1], &failure).await, Ok(Failed::Quarantined));
    queue.release(&tickets[2]).await.expect("released");
    assert_eq!(queue.reap().await, Ok(Reaped::default()));
    assert_eq!(queue.retry(id, &Retry::Failed).await, Ok(1));
    tickets.extend(lease(&queue, "w", 2).await);
    let turn = queue.commit_and_lease(&tickets[3..4], &RequestId::generate(), &info("w"), 20).await;
    let Ok((commits, LeaseAnswer::Work(_))) = turn else { panic!("{turn:?}") };
    assert_eq!(commits, [Ok(Committed::Now)]);
    queue.pause(id).await.expect("paused");
    queue.resume(id).await.expect("resumed");
    queue.set_priority(id, 7).await.expect("set");
    queue.drain(&info("w").id, true).await.expect("drained");
    let warnings = queue.health().await.expect("health").warnings;
    assert!(warnings.iter().any(|text| text.contains("maxmemory")), "{warnings:?}");
    queue.cancel(id).await.expect("cancelled");
    queue.forget(id).await.expect("forgotten");

    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    queue.submit(&job(2, 1)).await.expect("submitted");
}

#[tokio::test]
async fn what_others_wrote_there_is_an_error_and_no_panic() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 3)).await.expect("submitted");
    let ticket = lease(&queue, "w", 1).await[0];
    let key = format!("{{vqfarm:main}}:j:{id}");
    let (leases, lease) = ("{vqfarm:main}:leases", &ticket.token.to_string()[..13]);
    let record = server.ask(&["HGET", leases, lease]);
    assert!(record.starts_with(&id.to_string()), "records are where they are looked for");

    server.ask(&["HSET", leases, lease, "nonsense"]);
    let odd = queue.tasks(id, &Tasks::default()).await;
    assert!(matches!(odd, Err(QueueError::Corrupt(_))), "{odd:?}");
    let odd = queue.commit(&ticket).await;
    assert!(matches!(odd, Err(QueueError::Corrupt(_))), "{odd:?}");
    server.ask(&["HSET", &key, "J", "nonsense"]);
    server.ask(&["HSET", "{vqfarm:main}:seats", "w", "nonsense"]);
    let failure = Failure { message: "x".into(), retryable: true };
    for odd in [
        queue.job(id).await.err(),
        queue.jobs(Jobs::All).await.err(),
        queue.commit(&ticket).await.err(),
        queue.fail(&ticket, &failure).await.err(),
        queue.pause(id).await.err(),
        queue.cancel(id).await.err(),
        queue.workers().await.err(),
        queue.lease(&RequestId::generate(), &info("w"), 1).await.err(),
    ] {
        assert!(matches!(odd, Some(QueueError::Corrupt(_))), "{odd:?}");
    }
    server.ask(&["DEL", &key]);
    server.ask(&["SET", &key, "nonsense"]);
    let odd = queue.job(id).await;
    assert!(matches!(odd, Err(QueueError::Corrupt(_))), "{odd:?}");
    server.ask(&["HSET", "{vqfarm:main}:farm", "epoch", "nonsense"]);
    let odd = queue.epoch().await;
    assert!(matches!(odd, Err(QueueError::Corrupt(_))), "{odd:?}");
    let odd = queue.reap().await;
    assert!(matches!(odd, Err(QueueError::Corrupt(_))), "{odd:?}");
    let mut events = queue.events();
    server.ask(&["PUBLISH", "{vqfarm:main}:wake", "nonsense"]);
    server.ask(&["PUBLISH", "{vqfarm:main}:events", "nonsense"]);
    assert!(events.try_recv().is_err());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let server = RedisServer::start();
    let proxy = Proxy::start(address(&server));
    let queue = open(&format!("redis://{}", proxy.address())).await;
    // The server shall know the scripts, so that it is their answers that are lost.
    let warm = queue.submit(&job(9, 1)).await.expect("submitted");
    assert_eq!(queue.commit(&lease(&queue, "w", 1).await[0]).await, Ok(Committed::Now));
    let stitch = lease(&queue, "w", 1).await;
    let turn = queue.commit_and_lease(&stitch, &RequestId::generate(), &info("w"), 1).await;
    assert!(matches!(turn, Ok((_, LeaseAnswer::Nothing { .. }))), "{turn:?}");
    let over = Retry::Tasks { layer: 1, indices: vec![0] };
    assert_eq!(queue.retry(warm, &over).await, Ok(1));
    assert_eq!(queue.retry(warm, &Retry::Failed).await, Ok(0));
    queue.cancel(warm).await.expect("cancelled");
    queue.forget(warm).await.expect("forgotten");

    let submission = job(1, 5);
    proxy.set(Fault::LoseAnswer(b"EVAL".to_vec()));
    let id = queue.submit(&submission).await.expect("submitted");
    proxy.wait_until_fired(1);
    assert_eq!(queue.jobs(Jobs::All).await.expect("jobs").len(), 1);

    let request = RequestId::generate();
    proxy.set(Fault::LoseAnswer(request.as_str().as_bytes().to_vec()));
    let answer = queue.lease(&request, &info("w"), 2).await;
    proxy.wait_until_fired(1);
    let Ok(LeaseAnswer::Work(leased)) = answer else { panic!("{answer:?}") };
    assert_eq!(state(&queue, id).await, (JobState::Running, 0, 2), "leased once");

    for ticket in &leased.tickets {
        proxy.set(Fault::LoseAnswer(ticket.token.to_string().into_bytes()));
        assert_eq!(queue.commit(ticket).await, Ok(Committed::Before), "it was done already");
        proxy.wait_until_fired(1);
    }
    assert_eq!(state(&queue, id).await, (JobState::Running, 2, 0));

    let done = lease(&queue, "w", 2).await;
    let request = RequestId::generate();
    proxy.set(Fault::LoseAnswer(request.as_str().as_bytes().to_vec()));
    let turn = queue.commit_and_lease(&done, &request, &info("w"), 1).await;
    proxy.wait_until_fired(1);
    let Ok((commits, LeaseAnswer::Work(last))) = turn else { panic!("{turn:?}") };
    assert_eq!(commits, vec![Ok(Committed::Before); 2], "it was done already");
    assert_eq!(state(&queue, id).await, (JobState::Running, 4, 1), "leased once");
    queue.release(&last.tickets[0]).await.expect("released");
    let over = Retry::Tasks { layer: 0, indices: vec![0, 1] };
    proxy.set(Fault::LoseAnswer(id.to_string().into_bytes()));
    assert_eq!(queue.retry(id, &over).await, Ok(2), "counted once");
    proxy.wait_until_fired(1);
}

#[tokio::test]
async fn a_silent_server_is_unavailable_in_time() {
    let server = RedisServer::start();
    let proxy = Proxy::start(address(&server));
    let options = RedisOptions {
        call: Duration::from_millis(700),
        answer: Duration::from_millis(200),
        ..quick()
    };
    let url = format!("redis://{}", proxy.address());
    let queue = RedisQueue::connect_with(&url, &FarmName::default(), options).await;
    let queue = queue.expect("connected");
    queue.open().await.expect("opened");
    proxy.set(Fault::BlackHole);
    let begun = Instant::now();
    let silent = queue.reap().await;
    assert!(matches!(silent, Err(QueueError::Unavailable(_))), "{silent:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(proxy.fired() > 0, "the fault fired");
    proxy.set(Fault::None);
    assert_eq!(queue.reap().await, Ok(Reaped::default()), "by itself");
}

#[tokio::test]
async fn readers_of_events_learn_of_a_gap() {
    let server = RedisServer::start();
    let proxy = Proxy::start(address(&server));
    let queue = open(&format!("redis://{}", proxy.address())).await;
    let mut events = queue.events();
    let id = queue.submit(&job(1, 1)).await.expect("submitted");
    assert_eq!(events.recv().await, Ok(Event::Submitted(id)));
    proxy.set(Fault::Cut);
    // The one that calls and the one that listens.
    proxy.wait_until_fired(2);
    proxy.set(Fault::None);
    assert_eq!(events.recv().await, Ok(Event::Gap));
    queue.cancel(id).await.expect("cancelled");
    assert_eq!(events.recv().await, Ok(Event::Job { job: id, state: JobState::Cancelled }));
}

#[tokio::test]
async fn work_that_came_while_cut_off_is_not_missed() {
    let server = RedisServer::start();
    let proxy = Proxy::start(address(&server));
    let queue = open(&format!("redis://{}", proxy.address())).await;
    let other = connect(&server.url()).await;
    let answer = queue.lease(&RequestId::generate(), &info("w"), 1).await;
    let Ok(LeaseAnswer::Nothing { seen, .. }) = answer else { panic!("{answer:?}") };
    let waiting = queue.wait_for_work(seen, Duration::from_secs(600));
    let cut_off = async {
        // It listens first.
        while server.ask(&["PUBSUB", "NUMSUB", "{vqfarm:main}:wake"]).ends_with("\n0") {
            tokio::task::yield_now().await;
        }
        proxy.set(Fault::Cut);
        // The one that calls and the one that listens.
        proxy.wait_until_fired(2);
        other.submit(&job(1, 1)).await.expect("submitted");
        proxy.set(Fault::None);
    };
    let (woken, ()) = tokio::join!(waiting, cut_off);
    woken.expect("woken");
    assert_eq!(lease(&queue, "w", 1).await.len(), 1);
}

#[tokio::test]
async fn waiting_costs_the_server_nothing() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let answer = queue.lease(&RequestId::generate(), &info("w"), 1).await;
    let Ok(LeaseAnswer::Nothing { seen, .. }) = answer else { panic!("{answer:?}") };
    let queue = std::sync::Arc::new(queue);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.wait_for_work(seen, Duration::from_secs(600)).await })
        })
        .collect();
    while server.ask(&["PUBSUB", "NUMSUB", "{vqfarm:main}:wake"]).ends_with("\n0") {
        tokio::task::yield_now().await;
    }
    // One for all, and what came before it listened has been asked for.
    assert_eq!(queue.reap().await, Ok(Reaped::default()));
    let before = server.info("total_commands_processed");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.info("total_commands_processed") - before, 1, "only this question");
    queue.submit(&job(1, 50)).await.expect("submitted");
    for waiting in waiting {
        waiting.await.expect("no panic").expect("woken");
    }
}

#[tokio::test]
async fn very_many_tasks_are_retried_in_parts() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let mut done = job(1, 5_000);
    done.done = vec![(0, 0..5_000)];
    let id = queue.submit(&done).await.expect("submitted");
    let over = |indices| Retry::Tasks { layer: 0, indices };
    let beyond = queue.retry(id, &over((0..=5_000).collect())).await;
    assert!(
        matches!(beyond, Err(QueueError::NoSuchTask(task)) if task.index == 5_000),
        "{beyond:?}"
    );
    assert_eq!(state(&queue, id).await, (JobState::Waiting, 5_000, 0), "nothing was done");
    assert_eq!(queue.retry(id, &over((0..5_000).collect())).await, Ok(5_000));
    assert_eq!(lease(&queue, "w", MOST_LEASED).await.len(), 1_024);
    let hopeless = Failure { message: "x".into(), retryable: false };
    let mut failed = 0;
    loop {
        let tickets = lease(&queue, "w", 100).await;
        for ticket in &tickets {
            queue.fail(ticket, &hopeless).await.expect("failed");
            failed += 1;
        }
        if tickets.is_empty() || failed >= 2_500 {
            break;
        }
    }
    let page = Tasks { only: Some(TaskKind::Failed), most: 1_500, after: Some((0, 1_100)) };
    assert_eq!(queue.tasks(id, &page).await.expect("tasks").len(), 1_500);
    assert_eq!(queue.retry(id, &Retry::Failed).await, Ok(failed));
}

#[tokio::test]
async fn times_are_the_servers() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    queue.submit(&job(1, 1)).await.expect("submitted");
    let clock = || {
        let answer = server.ask(&["TIME"]);
        let (seconds, micros) = answer.split_once('\n').expect("two numbers");
        seconds.parse::<i64>().expect("seconds") * 1000
            + micros.parse::<i64>().expect("microseconds") / 1000
    };
    let before = clock();
    let answer = queue.lease(&RequestId::generate(), &info("w"), 1).await;
    let Ok(LeaseAnswer::Work(leased)) = answer else { panic!("{answer:?}") };
    let lasts = 30_000;
    assert!((before + lasts..=clock() + lasts).contains(&leased.expires.0), "{leased:?}");
}
