//! Mistakes, and the exit statuses that tell them apart.

use std::fs;

use crate::support::TestFarm;

#[test]
fn what_only_the_farm_knows_is_shown_where_it_stands_in_the_file() {
    let farm = TestFarm::start();
    let text = fs::read_to_string(farm.here.path().join("boats.toml")).unwrap();
    fs::write(farm.here.path().join("x.toml"), text.replace("demo-f8", "nonesuch")).unwrap();
    let ran = farm.run(&["submit", "x.toml"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (2, ""));
    let expected = "\
error: render.generator: the farm has no model `nonesuch`
 --> x.toml:5:13
  |
5 | generator = \"nonesuch\"
  |             ^^^^^^^^^^
  |
  = help: push it: vqfarm models push nonesuch
";
    assert_eq!(ran.stderr, expected);

    // The same diagnostics as `vqfarm render`, before anybody is asked.
    fs::write(farm.here.path().join("y.toml"), text.replace("iterations", "iteratons")).unwrap();
    let submitted = farm.run(&["submit", "y.toml", "--addr", "http://127.0.0.1:1"]);
    let rendered = farm.run(&["render", "y.toml"]);
    assert_eq!((submitted.status, &submitted.stderr), (2, &rendered.stderr));
    assert!(submitted.stderr.contains("did you mean \"iterations\"?"), "{}", submitted.stderr);
    assert_eq!(farm.ok(&["jobs"]), "");
}

#[test]
fn exit_statuses_tell_what_went_wrong() {
    let farm = TestFarm::with(&["--most-cells", "100"]);
    for (args, status, said) in [
        (&["job", "last"][..], 1, "there are no jobs yet"),
        (&["job", "nonsense"], 2, "is not a job's id"),
        (&["job", "00000000"], 1, "no job 00000000"),
        (&["drain", "nobody"], 1, "no worker nobody"),
        (&["retry", "last", "--tasks", "9-7"], 2, "runs backwards"),
        (&["tasks", "last", "--state", "odd"], 2, "possible values"),
        (&["submit", "gone.toml"], 2, "cannot read the job file"),
        (&["submit", "boats.toml", "--request-id", "a/b"], 2, "--request-id"),
        (&["submit", "boats.toml", "--user", "a b"], 2, "--user"),
        (&["submit", "boats.toml", "--set", "sweep.axes.seed=\"1-51\""], 2, "more than the 100"),
        (&["status", "--addr", "ftp://x"], 2, "neither http nor https"),
        (&["status", "--addr", "http://127.0.0.1:1"], 1, "is it running?"),
        (&["status", "--token-file", "/nonexistent"], 2, "--token-file /nonexistent"),
        (&["models", "push", "nonesuch"], 1, "no model is called"),
    ] {
        let ran = farm.run(args);
        assert_eq!(ran.status, status, "{args:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{args:?}");
    }
}

#[test]
fn a_request_id_makes_a_submit_repeatable() {
    let farm = TestFarm::start();
    let submit = ["submit", "boats.toml", "--request-id", "nightly-1"];
    let first = farm.ok(&submit);
    let again = farm.run(&submit);
    assert_eq!((again.status, &again.stdout), (0, &first));
    assert!(again.stderr.contains("was submitted before"), "{}", again.stderr);
    let other = farm.run(&[&submit[..], &["--set", "render.iterations=11"]].concat());
    assert_eq!(other.status, 2);
    assert!(other.stderr.contains("this request id stands for another job"), "{}", other.stderr);
}

#[test]
fn a_dry_run_pushes_and_submits_nothing() {
    let farm = TestFarm::start();
    let ran = farm.run(&["submit", "boats.toml", "--dry-run"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""));
    assert!(ran.stderr.contains("boats would be 5 tasks (4 render, 1 stitch)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("none is connected"), "{}", ran.stderr);
    assert!(!farm.dir.path().join("models").exists());
    assert!(!farm.dir.path().join("jobs").exists());
}
