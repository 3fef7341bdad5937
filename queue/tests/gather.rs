//! Calls of one process that wait for others go together.

use std::net::SocketAddr;

use futures::future::join_all;
use vqfarm_core::id::{JobId, RequestId, TaskId};
use vqfarm_core::plan::Dependency;
use vqfarm_queue::*;
use vqfarm_testing::proxy::{Fault, Proxy};
use vqfarm_testing::redis::RedisServer;

mod common;
use common::*;

/// Calls of scripts since the last time.
fn calls(server: &RedisServer) -> u64 {
    let stats = server.ask(&["INFO", "commandstats"]);
    server.ask(&["CONFIG", "RESETSTAT"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    line.and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn what_is_asked_for_at_once_goes_together() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 1_000)).await.expect("submitted");
    let mut tickets = lease(&queue, "w", 1).await;
    calls(&server);
    let lanes: Vec<String> = (0..60).map(|lane| format!("w{}", lane % 7)).collect();
    let leased = join_all(lanes.iter().map(|worker| lease(&queue, worker, 1))).await;
    assert_eq!(calls(&server), 1, "one call for all");
    tickets.extend(leased.into_iter().flatten());
    let mut indices: Vec<u64> = tickets.iter().map(|ticket| ticket.task.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..=60).collect::<Vec<_>>());
    assert_eq!(queue.workers().await.expect("workers").len(), 8);

    // Each commits its own and takes another.
    calls(&server);
    let turns = tickets.iter().rev().map(async |ticket| {
        let (done, request) = ([*ticket], RequestId::generate());
        queue.commit_and_lease(&done, &request, &info("w"), 1).await.expect("an answer")
    });
    for (commits, answer) in join_all(turns).await {
        assert_eq!(commits, [Ok(Committed::Now)]);
        let LeaseAnswer::Work(next) = answer else { panic!("{answer:?}") };
        assert!(next.tickets[0].task.index > 60);
    }
    assert_eq!(calls(&server), 2, "as many as one call takes, and the rest");
    let total = queue.job(id).await.expect("the job").total();
    assert_eq!((total.done, total.leased), (61, 61));
}

#[tokio::test]
async fn everybody_gets_an_answer_of_their_own() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let id = queue.submit(&job(1, 20)).await.expect("submitted");
    let chain = Submission {
        layers: vec![LayerSpec { dependency: Dependency::Chain, ..job(2, 5).layers[0].clone() }],
        priority: 1,
        ..job(2, 5)
    };
    let steps = queue.submit(&chain).await.expect("submitted");
    let of_chain = lease(&queue, "w", 2).await;
    let of_sweep = lease(&queue, "w", 2).await;
    assert_eq!((of_chain[0].task.job, of_sweep[0].task.job), (steps, id));
    lease(&queue, "leaving", 1).await;
    queue.drain(&info("leaving").id, true).await.expect("draining");
    let stale = Ticket { attempt: 7, ..of_sweep[1] };
    let nowhere = Ticket { task: TaskId { index: 99, ..of_sweep[1].task }, ..stale };
    let lost = Ticket { task: TaskId { job: JobId::from_u128(7), ..stale.task }, ..stale };
    calls(&server);
    let request = RequestId::generate();
    let (worker, leaving, refused) = (info("w"), info("leaving"), [stale, nowhere, lost]);
    let (good, early, three, draining, work) = tokio::join!(
        queue.commit(&of_sweep[0]),
        queue.commit(&of_chain[1]),
        queue.commit_all(&refused),
        queue.lease(&request, &leaving, 1),
        queue.lease(&request, &worker, 1),
    );
    assert_eq!(calls(&server), 1, "one call for all");
    assert_eq!(good, Ok(Committed::Now));
    assert_eq!(early, Err(QueueError::OutOfOrder(of_chain[1].task)));
    let no = [
        QueueError::Stale(stale),
        QueueError::NoSuchTask(nowhere.task),
        QueueError::NoSuchJob(JobId::from_u128(7)),
    ];
    assert_eq!(three, Ok(no.map(Err).to_vec()));
    assert_eq!(draining, Ok(LeaseAnswer::Drain));
    assert!(matches!(work, Ok(LeaseAnswer::Work(_))), "{work:?}");
}

#[tokio::test]
async fn what_one_of_them_cannot_read_spoils_nothing_for_the_others() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    let good = queue.submit(&job(1, 3)).await.expect("submitted");
    let ours = lease(&queue, "w", 3).await;
    let bad = queue.submit(&job(2, 3)).await.expect("submitted");
    let theirs = lease(&queue, "w", 1).await;
    server.ask(&["HSET", &format!("{{vqfarm:main}}:j:{bad}"), "L0", "nonsense"]);
    let (committed, corrupt) = tokio::join!(queue.commit_all(&ours[..2]), queue.commit(&theirs[0]));
    assert!(matches!(corrupt, Err(QueueError::Corrupt(_))), "{corrupt:?}");
    for committed in committed.expect("an answer") {
        assert!(committed.is_ok(), "{committed:?}");
    }
    let total = queue.job(good).await.expect("the job").total();
    assert_eq!((total.done, total.leased), (2, 1), "counted once and for all");
    assert_eq!(queue.commit(&ours[2]).await, Ok(Committed::Now));
}

#[tokio::test]
async fn a_lost_answer_to_several_is_asked_for_again() {
    let server = RedisServer::start();
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())));
    let queue = open(&format!("redis://{}", proxy.address())).await;
    let id = queue.submit(&job(1, 100)).await.expect("submitted");
    let done = lease(&queue, "w", 3).await;
    let request = RequestId::generate();
    let worker = info("w");
    proxy.set(Fault::LoseAnswer(request.as_str().as_bytes().to_vec()));
    let lanes = join_all((0..5).map(|_| lease(&queue, "w", 2)));
    let (lease, lanes, commits) =
        tokio::join!(queue.lease(&request, &worker, 2), lanes, queue.commit_all(&done));
    proxy.wait_until_fired(1);
    assert_eq!(commits, Ok(vec![Ok(Committed::Before); 3]), "they were done already");
    let LeaseAnswer::Work(lease) = lease.expect("an answer") else { panic!("there is work") };
    assert_eq!(lease.tickets.len() + lanes.concat().len(), 12);
    let total = queue.job(id).await.expect("the job").total();
    assert_eq!((total.done, total.leased), (3, 12), "leased once");
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_calls_leaves_the_queue_usable() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    };
    let server = RedisServer::start();
    let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())));
    let home = runtime();
    let queue = std::sync::Arc::new(home.block_on(async {
        let queue = open(&format!("redis://{}", proxy.address())).await;
        queue.submit(&job(1, 9)).await.expect("submitted");
        assert_eq!(lease(&queue, "w", 1).await.len(), 1);
        queue
    }));
    // As often as there may be calls under way at once.
    for _ in 0..2 {
        let ending = runtime();
        proxy.set(Fault::BlackHole);
        let asking = queue.clone();
        ending.spawn(async move { lease(&*asking, "w", 1).await });
        proxy.wait_until_fired(1);
        drop(ending);
        proxy.set(Fault::None);
    }
    let leased = home.block_on(async {
        let minute = std::time::Duration::from_secs(60);
        tokio::time::timeout(minute, lease(&*queue, "w", 1)).await.expect("an answer")
    });
    assert_eq!(leased[0].task.index, 1, "nothing was leased meanwhile");
}
