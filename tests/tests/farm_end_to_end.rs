//! A job through a whole farm, as its user and its operator see it.

use std::fs;

use vqfarm_tests::farm::{Farm, Setup, json_lines, reference, sweep, until};
use vqfarm_tests::{CELLS, SWEEP};

/// The frames that `vqfarm fetch` put into a folder.
fn fetched(farm: &Farm, dir: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    farm.bench.pictures(dir)
}

#[test]
fn a_sweep_on_two_workers_gives_the_frames_of_a_standalone_render() {
    let farm = Farm::new(Setup::with_s3());
    let workers = [farm.worker("one", &[]), farm.worker("two", &[])];
    farm.write("sweep.toml", SWEEP);
    // As people do it: the id is all that goes to standard output.
    let id = farm.vqfarm_ok(&["submit", "sweep.toml"]).trim().to_owned();
    let watched = farm.vqfarm(&["watch", &id, "--json"]);
    assert_eq!(watched.status, 0, "{}", watched.stderr);
    let last = json_lines(&watched.stdout).pop().expect("the job, at least once");
    assert_eq!((&last["id"], &last["state"]), (&id.clone().into(), &"done".into()));
    let job = vqfarm_tests::farm::Submitted {
        id: id.parse().expect("an id"),
        toml: SWEEP.into(),
        cells: CELLS,
    };
    farm.prove(&job);

    let told = farm.vqfarm(&["fetch", &id, "got"]);
    assert_eq!(told.status, 0, "{}", told.stderr);
    assert!(fetched(&farm, "got") == *reference(&farm.bench, SWEEP), "bit for bit");
    for output in ["contact-sheet.png", "index.html", "scores.csv"] {
        assert!(farm.bench.path("got/out").join(output).is_file(), "{output}");
    }
    let again = farm.json(&["fetch", &id, "got", "--json"]);
    assert_eq!(again["frames"], 0, "nothing is copied twice: {again}");

    // Both did some of it, and said so.
    let logs = farm.vqfarm_ok(&["logs", &id]);
    for worker in &workers {
        assert!(logs.contains(&format!("worker={}", worker.name)), "{logs}");
    }
    let one = farm.vqfarm_ok(&["logs", &id, "3"]);
    assert!(one.contains("==> render 3, attempt 1 <==") && one.contains("stored"), "{one}");
    let shown = farm.vqfarm_ok(&["job", "last"]);
    assert!(shown.contains(&id) && shown.contains("done") && shown.contains("s3://"), "{shown}");
    let status = farm.json(&["status", "--json"]);
    assert_eq!(status["status"], "idle", "{status}");
}

#[test]
fn a_job_can_be_fetched_while_it_runs() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 20), 4);
    let id = job.id.to_string();
    farm.wait_for_count(job.id, "render", "done", 1);
    let ran = farm.vqfarm(&["fetch", &id, "got"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let early = farm.bench.frames("got");
    assert!(!early.is_empty());
    farm.prove(&job);
    farm.vqfarm_ok(&["fetch", &id, "got"]);
    let late = farm.bench.frames("got");
    assert!(early.iter().all(|(name, frame)| late[name] == *frame), "not copied twice");
    assert!(fetched(&farm, "got") == *reference(&farm.bench, &job.toml), "bit for bit");
}

#[test]
fn the_exit_status_says_how_a_job_ended() {
    let farm = Farm::new(Setup::default());
    let waiting = farm.submit(&sweep(2, 5), 2);
    let id = waiting.id.to_string();
    let ran = farm.vqfarm(&["wait", &id, "--timeout", "1"]);
    assert_eq!(ran.status, 4, "{}", ran.stderr);
    farm.vqfarm_ok(&["cancel", &id]);
    assert_eq!(farm.wait(waiting.id).status, 3);
    assert_eq!(farm.vqfarm(&["wait", &"0".repeat(32)]).status, 1, "no such job");
    assert_eq!(farm.vqfarm(&["wait", "not-a-job"]).status, 2);
    farm.audit();
}

#[test]
fn an_operator_pauses_urges_and_drains() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(4, 40), 4);
    let second = farm.submit(&sweep(3, 5), 3);
    farm.vqfarm_ok(&["pause", &first.id.to_string()]);
    let why = farm.why(first.id);
    assert!(why.iter().any(|why| why["kind"] == "paused"), "{why:?}");
    farm.prove(&second);
    assert_eq!(farm.state(first.id), "paused");

    let third = farm.submit(&sweep(2, 12), 2);
    farm.vqfarm_ok(&["pause", &third.id.to_string()]);
    farm.vqfarm_ok(&["priority", &third.id.to_string(), "5"]);
    farm.vqfarm_ok(&["resume", &third.id.to_string()]);
    farm.vqfarm_ok(&["resume", &first.id.to_string()]);
    assert_eq!(farm.wait(third.id).status, 0);
    assert_ne!(farm.state(first.id), "done", "the urgent job went first");

    farm.vqfarm_ok(&["drain", "one"]);
    let ended = one.process.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    let why = until("the job has nobody", || {
        farm.why(first.id).into_iter().find(|why| {
            ["no_workers", "draining"].contains(&why["kind"].as_str().unwrap_or_default())
        })
    });
    assert_ne!(why["remedy"], "", "{why}");
    let _two = farm.worker("two", &[]);
    farm.prove(&first);
    farm.prove(&third);
}

#[test]
fn a_second_submit_under_the_same_request_id_is_the_same_job() {
    let farm = Farm::new(Setup::default());
    let first = farm.submit_with(&sweep(2, 5), 2, &["--request-id", "nightly"]);
    let again = farm.submit_with(&sweep(2, 5), 2, &["--request-id", "nightly"]);
    assert_eq!(again.id, first.id);
    farm.write("other.toml", &sweep(3, 5));
    let other = farm.vqfarm(&["submit", "other.toml", "--request-id", "nightly"]);
    assert_eq!(other.status, 2, "{other:?}");
    assert!(other.stderr.contains("request id"), "{}", other.stderr);
    let _one = farm.worker("one", &[]);
    farm.prove(&first);
    assert_eq!(farm.stored.jobs(), [first.id]);
}

#[test]
fn submit_pushes_the_models_that_the_farm_lacks() {
    let farm = Farm::new(Setup::default());
    fs::copy(
        vqfarm_tests::fixture("files/vqgan_vq_f4.lightning.ckpt"),
        farm.bench.path("other.ckpt"),
    )
    .expect("the fixture is copied");
    let config = vqfarm_tests::fixture("files/vqgan_vq_f4.yaml").display().to_string();
    farm.vqfarm_ok(&["models", "import", "other.ckpt", "--config", &config, "--name", "mine"]);
    let toml = sweep(2, 10).replace("tiny-f4", "mine");
    farm.write("mine.toml", &toml);
    let dry = farm.vqfarm(&["submit", "mine.toml", "--dry-run"]);
    assert_eq!(dry.status, 0, "{}", dry.stderr);
    assert!(farm.stored.jobs().is_empty(), "a dry run stores nothing");
    assert!(!farm.stored.path("models/names/mine.json").exists(), "a dry run pushes nothing");
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&toml, 2);
    assert!(farm.stored.path("models/names/mine.json").exists());
    farm.prove(&job);
}
