//! The servers that a farm may have: with accounts, TLS, sentinels, as a cluster; and those
//! that it refuses.

use std::time::Duration;

use vqfarm_core::id::FarmName;
use vqfarm_queue::*;
use vqfarm_testing::redis::{RedisCluster, RedisSentinel, RedisServer};

mod common;
use common::*;

/// The account that `deploy/redis.acl` gives to the farm `main`.
fn account(password: &str) -> Vec<String> {
    let line = include_str!("../../deploy/redis.acl").trim();
    let password = format!(">{password}");
    let words = line.split(' ').skip(1).map(|word| match word.strip_prefix('#') {
        Some(_) => password.clone(),
        None => word.to_owned(),
    });
    words.collect()
}

#[tokio::test]
async fn an_account_for_one_farm_suffices() {
    let server = RedisServer::start();
    let account = account("secret");
    let words = ["ACL", "SETUSER"].into_iter().chain(account.iter().map(String::as_str));
    assert_eq!(server.ask(&words.collect::<Vec<_>>()), "OK");
    let address = |password| format!("redis://vqfarm:{password}@127.0.0.1:{}", server.port());
    let policy = Policy::default();
    let farm = FarmName::default();
    let queue = RedisQueue::connect(&address("secret"), &farm, policy.clone()).await;
    let queue = queue.expect("connected");
    do_everything(&queue).await;
    assert_eq!(queue.health().await.expect("health").persistence, Persistence::Nothing);

    let wrong = RedisQueue::connect(&address("guess"), &farm, policy.clone()).await;
    assert!(
        matches!(wrong, Err(ConnectError::Refused(QueueError::Denied(_)))),
        "{:?}",
        wrong.err()
    );
    let other = FarmName::new("other").expect("a name");
    let denied = RedisQueue::connect(&address("secret"), &other, policy).await.err();
    assert!(matches!(denied, Some(ConnectError::Refused(QueueError::Denied(_)))), "{denied:?}");
}

#[tokio::test]
async fn encrypted_connections_trust_only_the_given_authority() {
    let server = RedisServer::with_tls();
    let options = RedisOptions { ca: Some(server.ca()), ..quick() };
    let farm = FarmName::default();
    let queue = RedisQueue::connect_with(&server.tls_url(), &farm, options).await;
    do_everything(&queue.expect("connected")).await;
    let distrusted = RedisQueue::connect_with(&server.tls_url(), &farm, quick()).await;
    let refused = distrusted.err();
    assert!(
        matches!(refused, Some(ConnectError::Refused(QueueError::Unavailable(_)))),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_holds_a_farm() {
    let cluster = RedisCluster::start();
    let queue = connect(&cluster.url()).await;
    do_everything(&queue).await;
    let keys: Vec<u64> = cluster.nodes.iter().map(|node| node.info("keyspace_hits")).collect();
    let serving = keys.iter().filter(|hits| **hits > 0).count();
    assert_eq!(serving, 1, "a farm lies on one node: {keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_lead_to_the_new_master() {
    let mut sentinel = RedisSentinel::start();
    let options = RedisOptions { call: Duration::from_secs(60), ..quick() };
    let queue = RedisQueue::connect_with(&sentinel.url(), &FarmName::default(), options).await;
    let queue = queue.expect("connected");
    queue.open().await.expect("opened");
    let run = queue.health().await.expect("health").run;
    let id = queue.submit(&job(1, 4)).await.expect("submitted");
    let ticket = lease(&queue, "w", 1).await[0];
    assert_eq!(sentinel.master.ask(&["WAIT", "1", "10000"]), "1", "the replica has it");
    sentinel.master.kill();
    let committed = queue.commit(&ticket).await;
    assert!(committed.is_ok(), "{committed:?}");
    sentinel.wait_for_failover();
    let health = queue.health().await.expect("health");
    assert_ne!(health.run, run, "another server, said so");
    assert_eq!(queue.job(id).await.expect("the job").total().done, 1);
    assert_eq!(lease(&queue, "w", 1).await[0].task.index, 1);
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let server = RedisServer::with(&["--save", "", "--maxmemory-policy", "allkeys-lru"]);
    let farm = FarmName::default();
    let refused = RedisQueue::connect(&server.url(), &farm, Policy::default()).await.err();
    let found = "allkeys-lru".to_owned();
    assert_eq!(refused, Some(ConnectError::Eviction { found }));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_in_time() {
    let mut server = RedisServer::start();
    server.kill();
    let options = RedisOptions { call: Duration::from_millis(300), ..quick() };
    let begun = std::time::Instant::now();
    let farm = FarmName::default();
    let refused = RedisQueue::connect_with(&server.url(), &farm, options).await.err();
    assert!(
        matches!(refused, Some(ConnectError::Refused(QueueError::Unavailable(_)))),
        "{refused:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_the_server_keeps_is_told() {
    let durable = RedisServer::durable();
    let health = connect(&durable.url()).await.health().await.expect("health");
    assert_eq!((health.persistence, health.warnings), (Persistence::LogAlways, vec![]));
    assert!(["redis", "valkey"].contains(&health.server.as_str()), "{:?}", health.server);
    assert_eq!(health.epoch, None);
    let snapshots = RedisServer::start();
    snapshots.ask(&["CONFIG", "SET", "save", "3600 1"]);
    let health = connect(&snapshots.url()).await.health().await.expect("health");
    assert_eq!(health.persistence, Persistence::Snapshots);
    assert!(health.warnings[0].contains("appendonly"), "{:?}", health.warnings);
}
