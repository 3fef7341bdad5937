//! Redis restarts, loses its memory, loses an answer, is full: nothing that was answered is
//! lost, and stored frames are not rendered again.
//! The numbers are those of the table in `docs/reliability.md`.

use std::fs;

use vqfarm_testing::proxy::Fault;
use vqfarm_tests::farm::{Farm, RedisKind, Setup, sweep};

#[test]
fn f09_a_restarted_redis_with_its_log_loses_nothing() {
    let mut farm = Farm::new(Setup { redis: RedisKind::Durable, ..Setup::default() });
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 30), 4);
    let waiting = farm.submit(&sweep(2, 5), 2);
    farm.wait_for_lease(job.id, "render", "one");
    farm.restart_redis();
    farm.prove(&job);
    farm.prove(&waiting);
    drop(one);
    assert!(farm.redis().info("number_of_cached_scripts") > 0, "the scripts were loaded again");
    let next = farm.submit(&sweep(2, 5), 2);
    let _two = farm.worker("two", &[]);
    farm.prove(&next);
}

/// Redis comes back without its memory, at a moment when some frames of a job are stored, one
/// job has not begun, one is cancelled and one paused.
fn redis_comes_back_empty(kill: bool) {
    let mut farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(5, 30), 5);
    let waiting = farm.submit_with(&sweep(2, 5), 2, &["--priority", "-1"]);
    let paused = farm.submit(&sweep(3, 10), 3);
    farm.vqfarm_ok(&["pause", &paused.id.to_string()]);
    let cancelled = farm.submit(&sweep(3, 10), 3);
    farm.vqfarm_ok(&["cancel", &cancelled.id.to_string()]);
    farm.wait_for_count(job.id, "render", "done", 2);
    one.process.freeze();
    let mark = farm.coordinator.process.mark();
    let before = farm.stored.written(job.id);
    assert!((2..5).contains(&before.len()), "the fault came in time: {}", before.len());
    if kill {
        farm.restart_redis();
    } else {
        farm.redis().ask(&["FLUSHALL"]);
    }
    one.process.thaw();
    farm.coordinator.process.wait_for_line(mark, &["has lost its memory"]);
    farm.coordinator.process.wait_for_line(mark, &["reconciled"]);
    assert_eq!(farm.state(paused.id), "paused");
    assert_eq!(farm.state(cancelled.id), "cancelled");
    farm.prove(&job);
    farm.prove(&waiting);
    let after = farm.stored.written(job.id);
    assert!(before.iter().all(|(name, time)| after[name] == *time), "stored frames stay");
    farm.vqfarm_ok(&["resume", &paused.id.to_string()]);
    farm.prove(&paused);
    assert_eq!(farm.state(cancelled.id), "cancelled");
}

#[test]
fn f10_jobs_come_back_when_redis_was_restarted_without_its_memory() {
    redis_comes_back_empty(true);
}

#[test]
fn f10_jobs_come_back_when_redis_was_flushed() {
    redis_comes_back_empty(false);
}

#[test]
fn f12_the_lost_answer_to_a_commit_is_asked_for_again() {
    let farm = Farm::new(Setup { lease: 10.0, ..Setup::default() });
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 12), 4);
    // The script is known to Redis from the first commit on: what is lost later is an answer
    // to a commit that was done.
    farm.wait_for_count(job.id, "render", "done", 1);
    // Only a commit says how many follow, and of which job.
    let commit = format!("$1\r\n1\r\n$32\r\n{}\r\n", job.id);
    one.wires.redis().set(Fault::LoseAnswer(commit.into_bytes()));
    one.wires.redis().wait_until_fired(1);
    farm.prove(&job);
    for index in 0..4 {
        let attempts = farm.stored.attempts(job.id, "render", index);
        assert_eq!(attempts.len(), 1, "task {index} was not tried again: {attempts:?}");
    }
    assert!(!one.process.log().contains("lease is over"), "{}", one.process.log());
}

#[test]
fn f20_a_full_redis_refuses_jobs_and_keeps_what_runs() {
    let farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    // Longer than a lease: heartbeats are needed.
    let job = farm.submit(&sweep(4, 80), 4);
    farm.wait_for_lease(job.id, "render", "one");
    let jobs = farm.stored.jobs();
    farm.redis().ask(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let refused = farm.redis().command(&["SET", "probe", "x"]).expect("an answer");
    assert!(refused.contains("OOM"), "the fault fired: {refused}");

    farm.write("more.toml", &sweep(2, 5));
    let ran = farm.vqfarm(&["submit", "more.toml"]);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("full") && ran.stderr.contains("maxmemory"), "{}", ran.stderr);
    assert_eq!(farm.stored.jobs(), jobs, "nothing was stored");

    farm.wait_for_count(job.id, "render", "done", 1);
    let first = fs::metadata(farm.stored.job_path(job.id, "frames/000000.png"));
    assert!(first.is_ok(), "what was leased was committed while Redis was full");
    farm.redis().ask(&["CONFIG", "SET", "maxmemory", "0"]);
    let more = farm.submit(&sweep(2, 5), 2);
    farm.prove(&job);
    farm.prove(&more);
    assert!(!one.process.log().contains("lease is over"), "no lease was lost");
    assert_eq!(farm.stored.attempts(job.id, "render", 0).len(), 1);
}
