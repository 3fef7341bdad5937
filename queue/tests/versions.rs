//! Programs of several releases on one farm.

use std::ops::RangeInclusive;

use vqfarm_core::id::{FarmName, RequestId};
use vqfarm_queue::*;
use vqfarm_testing::redis::RedisServer;

mod common;
use common::*;

/// Connects as a program that knows these protocols.
async fn release(
    server: &RedisServer,
    protocols: RangeInclusive<u32>,
) -> Result<RedisQueue, ConnectError> {
    let options = RedisOptions { protocols, ..RedisOptions::default() };
    RedisQueue::connect_with(&server.url(), &FarmName::default(), options).await
}

#[tokio::test]
async fn programs_that_know_the_farms_protocol_work_side_by_side() {
    let server = RedisServer::start();
    let old = release(&server, 1..=1).await.unwrap();
    old.open().await.unwrap();
    let new = release(&server, 1..=2).await.unwrap();
    old.submit(&job(1, 2)).await.unwrap();
    let ticket = lease(&new, "new", 1).await[0];
    assert_eq!(new.commit(&ticket).await, Ok(Committed::Now));
    let ticket = lease(&old, "old", 1).await[0];
    assert_eq!(old.commit(&ticket).await, Ok(Committed::Now));
    let too_new = release(&server, 2..=3).await.err().unwrap();
    assert!(too_new.to_string().contains("a newer kind than the farm"), "{too_new}");
}

#[tokio::test]
async fn a_program_that_does_not_know_the_farms_protocol_changes_nothing() {
    let server = RedisServer::start();
    let old = open(&server.url()).await;
    // The farm is emptied and opened by a release that keeps its queue in another way.
    server.ask(&["FLUSHALL"]);
    let next = PROTOCOL + 1;
    let new = release(&server, next..=next).await.unwrap();
    new.open().await.unwrap();
    let refused = |error: Option<QueueError>| matches!(error, Some(QueueError::Incompatible(_)));
    let before = server.ask(&["DBSIZE"]);
    let restoration = Restoration {
        submission: job(2, 1),
        submitted: Default::default(),
        standing: Standing::Active,
    };
    assert!(refused(old.restore(&restoration).await.err()));
    assert!(refused(old.open().await.err()));
    assert!(refused(old.submit(&job(1, 2)).await.err()));
    let worker = info("old");
    assert!(refused(old.lease(&RequestId::generate(), &worker, 1).await.err()));
    assert_eq!(server.ask(&["DBSIZE"]), before);
    assert!(new.workers().await.unwrap().is_empty());
}

#[tokio::test]
async fn workers_tell_their_release() {
    let server = RedisServer::start();
    let queue = open(&server.url()).await;
    lease(&queue, "ours", 1).await;
    // As a release stored it that did not say it yet.
    lease(&queue, "before", 1).await;
    let silent = serde_json::to_string(&info("before")).unwrap();
    let seat = server.ask(&["HGET", "{vqfarm:main}:seats", "before"]);
    let (seen, _) = seat.split_once('{').unwrap();
    server.ask(&["HSET", "{vqfarm:main}:seats", "before", &format!("{seen}{silent}")]);
    let workers = queue.workers().await.unwrap();
    let told: Vec<_> = workers.iter().map(|w| (w.info.id.as_str(), w.version.as_deref())).collect();
    assert_eq!(told, [("before", None), ("ours", Some(VERSION))]);
}
