//! Faults that take minutes: a failover, and a store that is away for longer than anybody is
//! patient. `make test-faults` runs these too.
//! The numbers are those of the table in `docs/reliability.md`.

use std::process::Command;
use std::time::{Duration, Instant};

use vqfarm_testing::proxy::{Fault, Proxy};
use vqfarm_testing::redis::RedisSentinel;
use vqfarm_tests::farm::{Farm, RedisKind, Setup, sweep, until};
use vqfarm_tests::finish;

#[test]
fn f11_a_failover_to_a_lagging_replica_loses_no_job_and_mixes_no_frame() {
    let mut redis = RedisSentinel::start();
    // The replica follows by way of a proxy. The sentinel would set that right after the
    // failover's time limit, so that is made long.
    let lag = Proxy::start(([127, 0, 0, 1], redis.master.port()).into());
    let port = lag.address().port().to_string();
    let url = redis.url();
    let sentinel = url.split([':', '/']).nth(4).expect("the sentinel's port").to_owned();
    let mut patient = Command::new("redis-cli");
    patient.args(["-p", &sentinel, "SENTINEL", "SET", "farm", "failover-timeout", "180000"]);
    assert_eq!(finish(&mut patient).stdout.trim(), "OK");
    redis.replica.ask(&["REPLICAOF", "127.0.0.1", &port]);
    until("the replica follows", || {
        redis.replica.ask(&["INFO", "replication"]).contains("master_link_status:up").then_some(())
    });

    let mut farm = Farm::new(Setup { redis: RedisKind::At(url), ..Setup::default() });
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(6, 30), 6);
    farm.wait_for_count(job.id, "render", "done", 1);
    // What the replica has now is all that it will ever have.
    let offset = |server: &vqfarm_testing::redis::RedisServer| {
        let info = server.ask(&["INFO", "replication"]);
        let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        line.and_then(|offset| offset.trim().parse::<u64>().ok()).expect("an offset")
    };
    lag.set(Fault::BlackHole);
    let done = farm.count(job.id, "render", "done");
    let late = farm.submit(&sweep(3, 5), 3);
    farm.wait_for_count(job.id, "render", "done", done + 2);
    one.process.freeze();
    let before = farm.stored.written(job.id);
    let (ahead, behind) = (offset(&redis.master), offset(&redis.replica));
    assert!(ahead > behind, "the replica lags: {ahead} {behind}");
    let known = redis.replica.ask(&["KEYS", &format!("*{}*", late.id)]);
    assert_eq!(known.trim(), "", "it knows nothing of the job that was submitted last");
    redis.master.kill();
    redis.wait_for_failover();
    let mark = farm.coordinator.process.mark();
    one.process.thaw();
    farm.coordinator.process.wait_for_line(mark, &["reconciled"]);
    farm.prove(&late);
    farm.prove(&job);
    let after = farm.stored.written(job.id);
    assert!(before.iter().all(|(name, time)| after[name] == *time), "stored frames stay");
}

/// Storage is away for longer than a worker is patient: the attempt fails, its lease was kept
/// all the time, and a later attempt succeeds.
fn outlasts_patience(fault: Fault) {
    let farm = Farm::new(Setup { lease: 5.0, ..Setup::with_s3() });
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 40), 2);
    // The models are at hand then.
    farm.wait_for_count(job.id, "render", "done", 1);
    let mark = one.process.mark();
    let begin = Instant::now();
    one.wires.s3().set(fault);
    let line = one.process.wait_for_line(mark, &["the attempt failed"]);
    let took = begin.elapsed();
    assert!(one.wires.s3().fired() > 0, "the fault fired");
    assert!(line.contains("frames/000001.png"), "the place is named: {line}");
    assert!(took < Duration::from_secs(100), "patience is bounded: {took:?}");
    assert!(took > farm.lease(), "the lease would have run out without heartbeats: {took:?}");
    let log = one.process.log();
    assert!(!log[mark..].contains("lease is over"), "the heartbeats went on");
    assert_eq!(farm.count(job.id, "render", "failed"), 0, "another attempt may succeed");
    one.wires.s3().set(Fault::None);
    farm.prove(&job);
    assert!(farm.stored.attempts(job.id, "render", 1).len() <= 2);
}

#[test]
fn f14_a_store_that_does_not_answer_fails_the_attempt_in_the_end() {
    outlasts_patience(Fault::BlackHole);
}

#[test]
fn f14_a_store_that_trickles_for_ever_fails_the_attempt_in_the_end() {
    outlasts_patience(Fault::Trickle(Duration::from_secs(1)));
}
