//! The store against a real S3 server over the network, and over a bad network.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_storage::{Patience, Put, Storage, StorageOptions, StoreError};
use vqfarm_testing::proxy::{Fault, Proxy};
use vqfarm_testing::s3::S3Server;

/// Short, so that the tests are.
const PATIENCE: Patience =
    Patience { request: Duration::from_secs(1), operation: Duration::from_secs(4), retries: 5 };

fn options(server: &S3Server, address: SocketAddr, patience: Patience) -> StorageOptions {
    let (access, secret) = server.keys();
    StorageOptions {
        endpoint: Some(format!("http://{address}")),
        region: Some("us-east-1".into()),
        access_key: Some(access.into()),
        secret_key: Some(secret.into()),
        patience,
    }
}

fn storage(server: &S3Server) -> Storage {
    let options = options(server, server.address(), Patience::default());
    Storage::open(&format!("{}/farms/one", server.url()), &options).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server_keeps_its_promises() {
    let server = S3Server::start();
    let storage = storage(&server);
    storage.probe().await.unwrap();

    let ids = [JobId::generate(), JobId::generate()];
    for id in ids {
        storage.job(id).create(keys::JOB_RECORD, "{}".into()).await.unwrap();
    }
    assert_eq!(storage.jobs().await.unwrap(), ids);

    let job = storage.job(ids[0]);
    let key = keys::frame(1);
    assert_eq!(job.get(&key).await.unwrap(), None);
    assert_eq!(job.create(&key, "first".into()).await.unwrap(), Put::Stored);
    assert_eq!(job.create(&key, "second".into()).await.unwrap(), Put::Existed);
    assert_eq!(job.get(&key).await.unwrap().unwrap(), "first");
    assert_eq!(job.size(&key).await.unwrap(), Some(5));
    assert_eq!(job.names(keys::FRAMES).await.unwrap(), ["000001.png"]);
    for (first, last, found) in [(0, 1, 1), (1, 1, 1), (1, 9, 1), (2, 9, 0), (0, 0, 0)] {
        let names = job.names_between(&keys::frame(first), &keys::frame(last)).await.unwrap();
        assert_eq!(names.len(), found, "{first} to {last}: {names:?}");
    }
    job.replace(&key, "third".into()).await.unwrap();
    assert_eq!(job.get(&key).await.unwrap().unwrap(), "third");
    job.delete(&key).await.unwrap();
    job.delete(&key).await.unwrap();
    assert_eq!(job.names(keys::FRAMES).await.unwrap(), [""; 0]);

    // One of many writers wins, and everybody agrees on which.
    let race = (0..8).map(|n| job.create("race", Bytes::from(n.to_string())));
    let outcomes: Vec<Put> = futures::future::try_join_all(race).await.unwrap();
    assert_eq!(outcomes.iter().filter(|put| **put == Put::Stored).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_travel_in_parts() {
    let server = S3Server::start();
    let storage = storage(&server);
    let weights: Bytes = (0..20 << 20).map(|n: u32| (n % 249) as u8).collect::<Vec<_>>().into();
    let sha256: String = Sha256::digest(&weights).iter().map(|b| format!("{b:02x}")).collect();
    let mut upload = storage.upload_model(&sha256).await.unwrap().unwrap();
    for chunk in weights.chunks(1 << 20) {
        upload.write(Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    assert_eq!(upload.finish().await.unwrap(), Put::Stored);
    let cache = tempfile::tempdir().unwrap();
    storage.fetch_model(&sha256, cache.path()).await.unwrap();
    let file = cache.path().join(format!("{sha256}.safetensors"));
    assert!(std::fs::read(file).unwrap() == weights);

    let mut broken = storage.upload_model(&"0".repeat(64)).await.unwrap().unwrap();
    broken.write(weights).await.unwrap();
    assert!(matches!(broken.finish().await, Err(StoreError::Damaged { .. })));
    assert!(!storage.has_model(&"0".repeat(64)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_create_only_writes_is_refused_by_name() {
    let server = S3Server::start_open();
    let proxy = Proxy::start(server.address());
    let mut options = options(&server, proxy.address(), Patience::default());
    // The server asks for no signature, which would not fit the altered request.
    options.secret_key = Some("any".into());
    let storage = Storage::open(&server.url(), &options).unwrap();
    storage.probe().await.unwrap();

    proxy.set(Fault::Rewrite(b"if-none-match:", b"x-nothing-for:"));
    let refused = storage.probe().await.unwrap_err();
    assert!(proxy.fired() >= 2, "{}", proxy.fired());
    assert!(matches!(refused, StoreError::NotCreateOnly(_)), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("AmazonS3(farm)") && said.contains("create-only"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_trouble_is_asked_again_for_a_limited_time() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    let storage =
        Storage::open(&server.url(), &options(&server, proxy.address(), PATIENCE)).unwrap();
    storage.create("known", "there".into()).await.unwrap();

    let broken = [
        Fault::Status(500, Vec::new()),
        Fault::Status(503, Vec::new()),
        Fault::BlackHole,
        Fault::Trickle(Duration::from_millis(100)),
        Fault::Cut,
    ];
    for fault in broken {
        proxy.set(fault.clone());
        let begin = Instant::now();
        let read = storage.get("known").await.unwrap_err();
        let written = storage.create("new", "x".into()).await.unwrap_err();
        let took = begin.elapsed();
        assert!(proxy.fired() > 0, "{fault:?}");
        assert!(read.is_transient() && written.is_transient(), "{fault:?}: {read}; {written}");
        // Each has the operation's time and what its last request takes.
        assert!(took < Duration::from_secs(12), "{fault:?}: {took:?}");
    }

    // Trouble that passes is not noticed.
    proxy.set(Fault::Status(500, Vec::new()));
    let heal = async {
        while proxy.fired() == 0 {
            tokio::task::yield_now().await;
        }
        let fired = proxy.fired();
        proxy.set(Fault::None);
        fired
    };
    let (written, fired) = tokio::join!(storage.create("new", "x".into()), heal);
    assert!(fired > 0);
    // A write that timed out above may have arrived.
    written.unwrap();
    assert_eq!(storage.get("new").await.unwrap().unwrap(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_finds_itself_there() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    let storage =
        Storage::open(&server.url(), &options(&server, proxy.address(), PATIENCE)).unwrap();
    proxy.set(Fault::LoseAnswer(b"PUT /farm/frame".to_vec()));
    let put = storage.create("frame", "x".into()).await.unwrap();
    assert_eq!((put, proxy.fired()), (Put::Existed, 1));
    assert_eq!(storage.get("frame").await.unwrap().unwrap(), "x");
}
