//! Watching, waiting, fetching: over the end of a job, and of a coordinator.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::support::{TestFarm, files};

#[test]
fn wait_tells_how_a_job_ended() {
    let farm = TestFarm::start();
    let id = farm.submit();
    let late = farm.run(&["wait", &id, "--timeout", "1"]);
    assert_eq!(late.status, 4, "{}", late.stderr);
    while farm.work(8) > 0 {}
    let done = farm.run(&["wait", &id]);
    assert_eq!((done.status, done.stdout.as_str()), (0, ""));
    assert!(done.stderr.contains("is done: 5 of 5 tasks done"), "{}", done.stderr);

    let id = farm.submit();
    farm.ok(&["cancel", &id]);
    assert_eq!(farm.run(&["wait", &id]).status, 3);

    let id = farm.submit();
    for ticket in farm.lease("w-1", 4) {
        farm.fail(&ticket, "no");
    }
    let failed = farm.run(&["watch", &id]);
    assert_eq!(failed.status, 1);
    assert!(failed.stdout.contains("is failed: 0 of 5 tasks done, 4 failed"), "{}", failed.stdout);
    assert!(failed.stderr.contains("--state failed"), "{}", failed.stderr);
}

#[test]
fn a_watcher_waits_for_the_next_coordinator() {
    let farm = TestFarm::start();
    let id = farm.submit();
    farm.work(2);
    let mut watcher = Command::new(assert_cmd::cargo::cargo_bin("vqfarm"))
        .args(["watch", &id, "--json"])
        .env("VQFARM_ADDR", format!("http://{}", farm.addr))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    let done = |line: String| {
        serde_json::from_str::<serde_json::Value>(&line).unwrap()["tasks"]["done"].clone()
    };
    assert_eq!(done(lines.next().unwrap().unwrap()), 2);
    let addr = farm.addr.to_string();
    let dir = farm.stop();
    let mut said = BufReader::new(watcher.stderr.take().unwrap()).lines();
    let lost = said.next().unwrap().unwrap();
    assert_eq!(lost, "the coordinator does not answer; waiting for it");
    // The new one has the job from storage alone.
    let farm = TestFarm::over(dir, &addr, &[]);
    assert!(said.next().unwrap().unwrap().starts_with("the coordinator is back after"));
    assert_eq!(done(lines.next().unwrap().unwrap()), 2);
    while farm.work(8) > 0 {}
    let last = lines.map(|line| done(line.unwrap())).last().unwrap();
    assert_eq!(last, 5);
    assert_eq!(watcher.wait().unwrap().code(), Some(0));
}

#[test]
fn results_are_fetched_as_they_come() {
    let farm = TestFarm::start();
    let id = farm.submit();
    farm.work(2);
    let first = farm.run(&["fetch", &id, "out"]);
    assert_eq!((first.status, first.stdout.as_str()), (0, "out\n"));
    assert!(first.stderr.contains("2 new frames"), "{}", first.stderr);
    assert!(first.stderr.contains("is running: 2 of 5 tasks done"), "{}", first.stderr);
    let out = farm.here.path().join("out");
    // In the order in which they are rendered.
    assert_eq!(files(&out.join("frames")), ["000000.png", "000003.png"]);
    while farm.work(8) > 0 {}
    let rest = farm.run(&["fetch", "last", "out"]);
    assert!(rest.stderr.contains("2 new frames"), "{}", rest.stderr);
    assert_eq!(files(&out), ["frames", "job.json", "out"]);
    for file in ["frames/000003.png", "out/index.html", "job.json"] {
        let stored = fs::read(farm.stored(&id).join(file)).unwrap();
        assert!(stored == fs::read(out.join(file)).unwrap(), "{file}");
    }
    // Another job's results do not go into the same folder.
    let other = farm.submit();
    let refused = farm.run(&["fetch", &other, "out"]);
    assert_eq!(refused.status, 2);
    assert!(refused.stderr.contains("holds the results of \"boats\""), "{}", refused.stderr);
}

#[test]
fn logs_are_shown_attempt_by_attempt() {
    let farm = TestFarm::start();
    let id = farm.submit();
    let folder = farm.stored(&id).join("logs/render");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("000002.1.log"), "first\n").unwrap();
    fs::write(folder.join("000002.2.log"), "second\nthird\n").unwrap();
    let all = "==> render 2, attempt 1 <==\nfirst\n\n==> render 2, attempt 2 <==\nsecond\nthird\n";
    assert_eq!(farm.ok(&["logs", &id]), all);
    assert_eq!(farm.ok(&["logs", &id, "2"]), all);
    assert_eq!(farm.ok(&["logs", &id, "1"]), "");
}
