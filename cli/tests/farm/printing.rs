//! What each command prints, for people and for programs.

use assert_cmd::Command;
use serde_json::Value;

use crate::support::TestFarm;

#[test]
fn help_teaches() {
    for (name, args) in [
        ("help", &["--help"][..]),
        ("help_submit", &["submit", "--help"]),
        ("help_wait", &["wait", "--help"]),
        ("help_retry", &["retry", "--help"]),
        ("help_status", &["status", "--help"]),
        ("help_top", &["top", "--help"]),
        ("help_doctor", &["doctor", "--help"]),
        ("help_rank", &["rank", "--help"]),
    ] {
        let mut command = Command::cargo_bin("vqfarm").unwrap();
        command.args(args).env("COLUMNS", "100").env_remove("VQFARM_ADDR");
        let output = command.output().unwrap();
        assert!(output.status.success());
        insta::assert_snapshot!(name, String::from_utf8(output.stdout).unwrap());
    }
}

/// One farm with a job in each interesting state, and every listing of it.
#[test]
fn every_listing_for_people() {
    let farm = TestFarm::start();
    let print = |name: &str, args: &[&str], ids: &[&str]| {
        let ran = farm.run(args);
        assert_eq!(ran.status, 0, "{args:?}: {}", ran.stderr);
        let text = farm.plain(&format!("{}\n-- stderr\n{}", ran.stdout, ran.stderr), ids);
        insta::assert_snapshot!(name, text);
    };
    print("nothing_jobs", &["jobs"], &[]);
    print("nothing_workers", &["workers"], &[]);
    print("nothing_status", &["status"], &[]);
    let first = farm.submit();
    while farm.work(8) > 0 {}
    let second = farm.submit();
    let tickets = farm.lease("w-1", 2);
    farm.fail(&tickets[0], "out of memory\nat line 3");
    let big = "requires.gpu_memory=\"16 GiB\"";
    let third = farm.ok(&["submit", "boats.toml", "--set", big, "--priority", "2"]);
    let ids = [first.as_str(), second.as_str(), third.trim()];
    print("jobs", &["jobs"], &ids);
    print("job", &["job", &second], &ids);
    print("tasks", &["tasks", &second], &ids);
    print("tasks_failed", &["tasks", &second, "--state", "failed"], &ids);
    print("workers", &["workers"], &ids);
    print("status", &["status"], &ids);
    print("why", &["why", &second], &ids);
    print("why_large", &["why", "last"], &ids);
    print("why_done", &["why", &first], &ids);
    print("audit", &["audit", &first], &ids);
    print("reconcile", &["reconcile"], &ids);
    print("pause", &["pause", "last"], &ids);
    print("resume", &["resume", "last"], &ids);
    print("priority", &["priority", "last", "-7"], &ids);
    print("retry", &["retry", &second, "--failed"], &ids);
    print("retry_tasks", &["retry", &first, "--tasks", "1-2"], &ids);
    print("cancel", &["cancel", "last"], &ids);
    print("drain", &["drain", "w-1"], &ids);
    print("undrain", &["undrain", "w-1"], &ids);
    print("logs_none", &["logs", "last"], &ids);
}

#[test]
fn garbage_is_told_of_before_it_goes() {
    let farm = TestFarm::start();
    let job = farm.submit();
    while farm.work(8) > 0 {}
    assert_eq!(farm.run(&["gc"]).stderr, "there is nothing to delete\n");
    let dry = farm.run(&["gc", "--older-than", "0s"]);
    assert!(dry.stdout.contains("boats") && dry.stdout.contains("done 0 s ago"), "{}", dry.stdout);
    assert!(dry.stderr.contains("nothing was deleted: --delete does"), "{}", dry.stderr);
    assert!(dry.stderr.contains("kept: jobs that go on or ended within 0 s;"), "{}", dry.stderr);
    // Nobody can be asked here.
    let unsure = farm.run(&["gc", "--older-than", "0s", "--delete"]);
    assert_eq!(unsure.status, 2, "{}", unsure.stderr);
    assert!(unsure.stderr.contains("--yes"), "{}", unsure.stderr);
    assert!(farm.stored(&job).exists());
    assert_eq!(farm.run(&["gc", "--older-than", "2 days"]).status, 2);

    let deleted = farm.ok(&["gc", "--older-than", "0s", "--delete", "--yes", "--json"]);
    let lines: Vec<Value> =
        deleted.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["kind"], &lines[0]["id"]), (&"job".into(), &job.as_str().into()));
    assert_eq!((&lines[1]["found"], &lines[1]["deleted"]), (&1.into(), &1.into()));
    assert!(!farm.stored(&job).exists());
    assert_eq!(farm.run(&["job", &job]).status, 1);
}

#[test]
fn every_listing_for_programs() {
    let farm = TestFarm::start();
    let submitted = farm.ok(&["submit", "boats.toml", "--json"]);
    let submitted: Value = serde_json::from_str(&submitted).unwrap();
    assert_eq!(submitted["job"]["state"], "waiting");
    assert_eq!(submitted["reasons"][0]["kind"], "no_workers");
    let id = submitted["job"]["id"].as_str().unwrap().to_owned();
    farm.work(2);
    let ticket = farm.lease("w-1", 1).remove(0);
    farm.fail(&ticket, "no luck");
    let one = |args: &[&str]| -> Value { serde_json::from_str(&farm.ok(args)).unwrap() };
    let job = one(&["job", "last", "--json"]);
    assert_eq!((&job["tasks"]["done"], &job["tasks"]["failed"]), (&2.into(), &1.into()));
    assert_eq!(job["record"]["spec"]["render"]["iterations"], 10);
    assert_eq!(one(&["jobs", "--json"])["id"], id.as_str());
    let task = one(&["tasks", "last", "--json"]);
    assert_eq!((&task["state"], &task["last_error"]), (&"failed".into(), &"no luck".into()));
    assert_eq!(one(&["workers", "--json"])["id"], "w-1");
    let status = one(&["status", "--json"]);
    assert_eq!(
        (&status["status"], &status["failures"][0]["tasks"]),
        (&"waiting".into(), &1.into())
    );
    assert_eq!(
        (&status["worker_groups"][0]["state"], &status["frames_an_hour"]),
        (&"idle".into(), &0.0.into())
    );
    assert!(status["now"].as_str().is_some_and(|now| now.ends_with('Z')), "{status}");
    let why = farm.ok(&["why", "last", "--json"]);
    let kinds: Vec<Value> = why
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone())
        .collect();
    assert_eq!(kinds, ["starting", "failed", "blocked"]);
    assert_eq!(one(&["pause", "last", "--json"])["state"], "paused");
    assert_eq!(one(&["resume", "last", "--json"])["state"], "running");
    assert_eq!(one(&["priority", "last", "4", "--json"])["priority"], 4);
    assert_eq!(one(&["retry", "last", "--json"])["retried"], 1);
    assert_eq!(one(&["drain", "w-1", "--json"])["state"], "draining");
    assert_eq!(one(&["audit", "--json"])["unrepaired"], 0);
    assert_eq!(one(&["undrain", "w-1", "--json"])["state"], "idle");
    assert_eq!(one(&["reconcile", "--json"])["restored"], 0);
    assert_eq!(one(&["fetch", "last", "out", "--json"])["frames"], 2);
    let pushed = one(&["models", "push", "demo-clip", "--json"]);
    assert_eq!((&pushed["existed"], &pushed["replaced"]), (&true.into(), &Value::Null));
    assert_eq!(one(&["cancel", "last", "--json"])["state"], "cancelled");
    assert_eq!(farm.ok(&["logs", "last", "--json"]), "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let farm = TestFarm::start();
    farm.submit();
    let program = assert_cmd::cargo::cargo_bin("vqfarm");
    let script = format!("\"{}\" jobs | true; exit ${{PIPESTATUS[0]}}", program.display());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).env("VQFARM_ADDR", format!("http://{}", farm.addr));
    command.assert().success();
}
