//! Storage is in trouble, lies, or this machine's disk is full: attempts wait and end, leases
//! stay, and what is said names the place.
//! The numbers are those of the table in `docs/reliability.md`.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use vqfarm_testing::proxy::{Fault, Proxy};
use vqfarm_testing::s3::S3Server;
use vqfarm_tests::farm::{Farm, Setup, Submitted, Worker, sweep};
use vqfarm_tests::{finish, program};

/// A job's second frame is being rendered, models and all at hand; from now on the worker's
/// storage is in trouble.
fn in_trouble(fault: Fault) -> (Farm, Worker, Submitted) {
    let farm = Farm::new(Setup::with_s3());
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(3, 20), 3);
    farm.wait_for_count(job.id, "render", "done", 1);
    one.wires.s3().set(fault);
    one.wires.s3().wait_until_fired(1);
    (farm, one, job)
}

/// The same attempts go on, their leases kept all the time.
fn bore(farm: &Farm, one: &Worker, job: &Submitted) {
    farm.prove(job);
    for index in 0..job.cells as u64 {
        let attempts = farm.stored.attempts(job.id, "render", index);
        assert_eq!(attempts.len(), 1, "task {index}: {attempts:?}");
    }
    assert!(!one.process.log().contains("lease is over"), "the heartbeats went on");
}

/// The trouble ends before patience does.
fn bears(fault: Fault, times: u64) {
    let (farm, one, job) = in_trouble(fault);
    one.wires.s3().wait_until_fired(times);
    one.wires.s3().set(Fault::None);
    bore(&farm, &one, &job);
}

#[test]
fn f14_a_store_that_answers_500_is_asked_again() {
    bears(Fault::Status(500, b"PUT".to_vec()), 2);
}

#[test]
fn f14_a_store_that_hangs_up_is_asked_again() {
    bears(Fault::Cut, 2);
}

#[test]
fn f14_a_store_that_trickles_is_waited_for() {
    let (farm, one, job) = in_trouble(Fault::Trickle(Duration::from_millis(1)));
    // An answer of some hundred bytes takes a second or so: that is slow, not dead.
    one.wires.s3().wait_until_fired(500);
    bore(&farm, &one, &job);
}

#[test]
fn f21_a_store_that_ignores_create_only_writes_is_refused_at_start() {
    let server = S3Server::start_open();
    let proxy = Proxy::start(server.address());
    // The header travels under another name, so the server does as if it did not know it.
    proxy.set(Fault::Rewrite(b"if-none-match", b"x-none-match-"));
    let redis = vqfarm_testing::redis::RedisServer::start();
    let address = redis.url();
    for (name, first) in [("vqfarm-coordinator", None), ("vqfarm-worker", Some("run"))] {
        let mut command = Command::new(program(name));
        command.args(first).args(["--redis", &address, "--storage", &server.url()]);
        command.envs(server.env_through(proxy.address())).stdin(Stdio::null());
        if name == "vqfarm-coordinator" {
            command.args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"]);
        }
        let fired = proxy.fired();
        let ran = finish(&mut command);
        assert!(proxy.fired() > fired, "the fault fired");
        assert_ne!(ran.status, 0, "{name}: {ran:?}");
        for part in ["create-only", "farm"] {
            assert!(ran.stderr.contains(part), "{name}: no {part:?} in {}", ran.stderr);
        }
    }
}

#[test]
fn f22_a_full_disk_is_named_and_the_task_goes_elsewhere() {
    let farm = Farm::new(Setup::default());
    // A limit on the size of files is a disk that anybody may fill: no model fits.
    let mut one = farm.worker_limited("one", "ulimit -f 64");
    // It stands by, so that the first attempt is the other's.
    let two = farm.worker("two", &[]);
    two.process.freeze();
    let job = farm.submit(&sweep(2, 5), 2);
    let line = one.process.wait_for_line(0, &["File too large"]);
    let cache = farm.cache("one").display().to_string();
    assert!(line.contains(&cache), "the place is named: {line}");
    two.process.thaw();
    farm.prove(&job);
    let logs = farm.vqfarm_ok(&["logs", &job.id.to_string()]);
    assert!(logs.contains(&cache), "users see it too: {logs}");
}

#[test]
fn f22_a_corrupt_model_file_is_named_and_replaced() {
    let farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(2, 5), 2);
    farm.prove(&first);
    drop(one);
    let mut damaged = 0;
    for file in fs::read_dir(farm.cache("one")).expect("the cache is there") {
        let path = file.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "safetensors") {
            continue;
        }
        let mut bytes = fs::read(&path).expect("a readable model");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).expect("the model is damaged");
        damaged += 1;
    }
    assert_eq!(damaged, 2, "two models");
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(3, 5), 3);
    let line = one.process.wait_for_line(0, &["damaged model file"]);
    assert!(line.contains(&farm.cache("one").display().to_string()), "{line}");
    farm.prove(&job);
}

#[test]
fn f22_a_model_that_is_corrupt_in_storage_fails_the_job_by_name() {
    let farm = Farm::new(Setup::default());
    let models = farm.stored.path("models");
    for file in fs::read_dir(models).expect("the models are there") {
        let path = file.expect("a readable folder").path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            fs::write(&path, "not a model").expect("the model is damaged");
        }
    }
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, 5), 1);
    let ran = farm.wait(job.id);
    assert_eq!(ran.status, 1, "{ran:?}");
    let failed = farm.rows(&["tasks", &job.id.to_string(), "--state", "failed", "--json"]);
    let error = failed[0]["last_error"].as_str().expect("a last error");
    assert!(error.contains("models/") && error.contains("damaged"), "{error}");
    farm.audit();
}
