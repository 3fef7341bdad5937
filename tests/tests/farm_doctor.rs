//! `vqfarm doctor` on a whole farm, and where things are missing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vqfarm_testing::proxy::Fault;
use vqfarm_tests::farm::{Farm, Setup, json_lines, until};
use vqfarm_tests::{Ran, finish, program};

/// The checks of one name.
fn of<'a>(checks: &'a [Value], name: &str) -> Vec<&'a Value> {
    checks.iter().filter(|check| check["check"] == name).collect()
}

#[test]
fn a_whole_farm_lacks_nothing() {
    let mut farm = Farm::new(Setup::default());
    let ran = farm.vqfarm(&["doctor", "--json"]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let checks = json_lines(&ran.stdout);
    for name in ["worker", "libtorch", "models", "coordinator", "redis", "storage", "clock"] {
        let [check] = of(&checks, name)[..] else { panic!("{name}: {checks:?}") };
        // A Redis for tests keeps nothing, of which it warns.
        assert_eq!(check["state"], if name == "redis" { "warning" } else { "ok" }, "{check}");
    }
    assert_eq!(of(&checks, "workers")[0]["state"], "warning", "there is none yet");
    assert!(of(&checks, "disk").is_empty(), "nobody says");
    let _one = farm.worker("one", &[]);
    let room = || {
        let checks = json_lines(&farm.vqfarm(&["doctor", "--json"]).stdout);
        assert_eq!(of(&checks, "workers")[0]["text"], "1 worker at work or ready");
        of(&checks, "disk").first().map(|check| check["text"].to_string())
    };
    // It says so with its next heartbeat, at the latest.
    let room = until("the worker says what room it has", room);
    assert!(room.contains("for models and films"), "{room}");

    // Somebody gave an address, and nobody is there.
    farm.coordinator.process.kill();
    let ran = farm.vqfarm(&["doctor"]);
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let line = ran.stdout.lines().find(|line| line.contains("coordinator"));
    assert!(line.is_some_and(|line| line.starts_with("missing")), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 thing missing"), "{}", ran.stderr);
}

#[test]
fn a_storage_that_answers_and_takes_nothing_is_told_of() {
    let farm = Farm::new(Setup::with_s3());
    let storage = || {
        let ran = farm.vqfarm(&["doctor", "--json"]);
        (ran.status, of(&json_lines(&ran.stdout), "storage")[0].clone())
    };
    let (status, check) = storage();
    assert_eq!((status, &check["state"]), (0, &"ok".into()), "{check}");
    assert!(check["text"].to_string().contains("written to and tidied up"), "{check}");
    farm.coordinator.wires.s3().set(Fault::Status(403, b"PUT /".to_vec()));
    let (status, check) = storage();
    assert_eq!((status, &check["state"]), (1, &"missing".into()), "{check}");
    assert!(check["remedy"].to_string().contains("may read, write and delete"), "{check}");
    // Nobody else has storage written to by a look.
    assert_ne!(farm.json(&["status", "--json"])["status"], "unwell");
}

/// A program that says this in place of a worker.
fn worker(folder: &Path, script: &str) {
    let path = folder.join("vqfarm-worker");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the script is written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it may be run");
}

/// The doctor's word on a machine where the programs of this folder are all that there is.
fn examine(folder: &Path) -> Ran {
    let mut command = Command::new(folder.join("vqfarm"));
    command
        .args(["doctor", "--json"])
        .env("PATH", folder)
        .env_remove("VQFARM_ADDR")
        .env_remove("VQFARM_BUNDLED_MODELS");
    command.env("VQFARM_MODELS", folder.join("models"));
    finish(command.env("VQFARM_ADRR", "http://farm:7070"))
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::copy(program("vqfarm"), folder.path().join("vqfarm")).expect("the program is copied");
    let state = |name: &str| {
        let ran = examine(folder.path());
        let checks = json_lines(&ran.stdout);
        let found = of(&checks, name).pop().unwrap_or_else(|| panic!("{name}: {}", ran.stdout));
        let words = format!("{} → {}", found["text"], found["remedy"]);
        (ran.status, found["state"].as_str().unwrap_or_default().to_owned(), words)
    };
    let (status, worker_state, words) = state("worker");
    assert_eq!((status, worker_state.as_str()), (1, "missing"), "{words}");
    assert!(words.contains("make build"), "{words}");
    let (_, models, words) = state("models");
    assert!(models == "missing" && words.contains("vqfarm models pull"), "{words}");
    let (_, variable, words) = state("environment");
    assert!(variable == "warning" && words.contains("did you mean VQFARM_ADDR"), "{words}");

    let lost = "echo 'error while loading shared libraries: libtorch_cpu.so' >&2; exit 127";
    worker(folder.path(), lost);
    let (_, libtorch, words) = state("libtorch");
    assert!(libtorch == "missing" && words.contains("make setup"), "{words}");
    worker(
        folder.path(),
        r#"echo '{"version":"0.0.1","cores":2,"memory":1,"gpus":[],"ffmpeg":false}'"#,
    );
    let (_, other, words) = state("worker");
    assert!(other == "missing" && words.contains("of version 0.0.1"), "{words}");
    let (_, ffmpeg, words) = state("ffmpeg");
    assert!(ffmpeg == "warning" && words.contains("apt install ffmpeg"), "{words}");

    // The real one, from elsewhere.
    fs::remove_file(folder.path().join("vqfarm-worker")).expect("the script is ours");
    symlink(program("vqfarm-worker"), folder.path().join("vqfarm-worker")).expect("a link");
    assert_eq!(state("libtorch").1, "ok");
}
