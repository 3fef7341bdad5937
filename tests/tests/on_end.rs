//! `--on-end`: a command of the user's own when a job has ended, on a farm and without one.

use std::fs;

use serde_json::Value;
use vqfarm_tests::farm::{Farm, Setup, sweep};
use vqfarm_tests::{Bench, CELLS, SWEEP};

/// Keeps what it is told, in the folder that it runs in.
const KEEP: &str = "cat > told; echo $VQFARM_JOB_NAME $VQFARM_JOB_STATE > said; echo loud; exit 7";

fn told(bench: &Bench) -> (Value, String) {
    let told = fs::read_to_string(bench.path("told")).expect("the command was run");
    let said = fs::read_to_string(bench.path("said")).expect("the command was run");
    (serde_json::from_str(&told).expect("one JSON object"), said)
}

#[test]
fn a_render_tells_a_command_how_it_ended() {
    let bench = Bench::new(SWEEP);
    let ran = bench.render(&["job.toml", "--out", "out", "--json", "--on-end", KEEP]);
    assert_eq!(ran.status, 0, "the command's failure is not the render's: {}", ran.stderr);
    assert!(ran.stderr.contains("--on-end: it ended with exit status: 7"), "{}", ran.stderr);
    assert!(ran.stderr.contains("loud") && !ran.stdout.contains("loud"), "{}", ran.stdout);
    let (told, said) = told(&bench);
    assert_eq!(said, "tiny sweep done\n");
    assert_eq!((&told["event"], &told["state"]), (&"job.done".into(), &"done".into()));
    assert_eq!(
        (&told["farm"], &told["user"], &told["tasks"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(told["frames"], serde_json::json!({ "total": CELLS, "stored": CELLS }));
    let outputs = told["outputs"].as_array().expect("a list");
    assert_eq!(outputs[0], "out/out/contact-sheet.png");
    assert!(bench.path(outputs[1].as_str().expect("a path")).is_file());
}

#[test]
fn a_render_that_fails_says_of_what_and_one_that_never_began_says_nothing() {
    let bench = Bench::new(SWEEP);
    let ran = bench.render(&["job.toml", "--set", "render.generator=none", "--on-end", KEEP]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(!bench.path("told").exists());
    // The folder of the outputs is in the way.
    fs::create_dir_all(bench.path("out")).expect("a folder");
    fs::write(bench.path("out/out"), "").expect("a file");
    let ran = bench.render(&["job.toml", "--out", "out", "--on-end", KEEP]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let (told, said) = told(&bench);
    assert_eq!((said.as_str(), &told["event"]), ("tiny sweep failed\n", &"job.failed".into()));
    assert_eq!(told["frames"]["stored"], CELLS);
    assert!(told["failures"][0]["tasks"].as_u64() >= Some(1), "{told}");
}

#[test]
fn a_job_that_is_watched_tells_a_command_what_the_farm_tells_others() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    farm.write("job.toml", &sweep(2, 2));
    let ran = farm.vqfarm(&["submit", "job.toml", "--watch", "--user", "ada", "--on-end", KEEP]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let (first, said) = told(&farm.bench);
    assert_eq!(said, "seeds done\n");
    let (event, user, name) = (&first["event"], &first["user"], &first["farm"]);
    assert_eq!((event, user, name), (&"job.done".into(), &"ada".into(), &"vqfarm".into()));
    assert_eq!(first["frames"]["stored"], 2);
    assert_eq!(first["tasks"]["done"], 3);
    let url = first["outputs"][0].as_str().expect("a URL");
    assert!(url.starts_with(farm.stored.url()) && url.ends_with("/out/contact-sheet.png"), "{url}");
    // One that is over already is told of at once.
    fs::remove_file(farm.path("told")).expect("it is there");
    let ran = farm.vqfarm(&["watch", "last", "--on-end", KEEP]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(told(&farm.bench).0, first);
    let ran = farm.vqfarm(&["submit", "job.toml", "--on-end", KEEP]);
    assert_eq!(ran.status, 2);
    assert!(ran.stderr.contains("--watch"), "{}", ran.stderr);
}
