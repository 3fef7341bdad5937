//! Mistakes are answered with the field and the remedy, status 2, and nothing is written.

use std::fs;

use vqfarm_tests::{Bench, Ran, SWEEP, finish, program};

/// Renders a changed job and expects a refusal that says all of `expected`.
fn refuses(from: &str, to: &str, expected: &[&str]) {
    assert!(SWEEP.contains(from), "{from}");
    let bench = Bench::new(&SWEEP.replacen(from, to, 1));
    let ran = bench.render(&["job.toml", "--out", "o"]);
    refused(&bench, &ran, expected);
}

fn refused(bench: &Bench, ran: &Ran, expected: &[&str]) {
    assert_eq!(ran.status, 2, "{ran:?}");
    for part in expected {
        assert!(ran.stderr.contains(part), "no {part:?} in:\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    assert!(!bench.path("o").exists(), "something was written");
}

#[test]
fn a_typo_is_answered_with_line_field_and_nearest_name() {
    refuses(
        "iterations = 8",
        "itterations = 8",
        &["job.toml:7:1", "itterations", "\"iterations\""],
    );
}

#[test]
fn values_of_another_type_or_out_of_range_name_their_field() {
    refuses("iterations = 8", "iterations = \"many\"", &["job.toml:7", "render.iterations"]);
    refuses("iterations = 8", "iterations = 0", &["render.iterations", "1 to"]);
    refuses("size = [32, 32]", "size = [0, 32]", &["render.size[0]"]);
    refuses("size = [32, 32]", "size = [999999, 32]", &["render.size[0]"]);
    refuses("version = 1", "version = 7", &["version"]);
}

#[test]
fn sweeps_without_values_or_of_absurd_length_are_refused() {
    refuses("thing = [\"sun\", \"tree\"]", "thing = []", &["sweep.axes.thing"]);
    refuses("seed = \"1-2\"", "seed = \"1-999999999\"", &["cells", "allowed"]);
    refuses("a {colour} {thing}", "", &["prompt"]);
    refuses("a {colour} {thing}", "a {color} {thing}", &["color", "colour"]);
}

#[test]
fn models_that_are_not_there_or_not_for_this_are_named_with_the_remedy() {
    refuses("\"tiny-f4\"", "\"tiny-f5\"", &["render.generator", "tiny-f5", "tiny-f4"]);
    refuses("\"tiny-f4\"", "\"coco\"", &["render.generator", "vqfarm models pull coco"]);
    refuses("\"tiny-f4\"", "\"../models/tiny-f4\"", &["render.generator"]);
    refuses("\"tiny-f4\"", "\"tiny-clip\"", &["render.generator", "is a perceptor"]);
    refuses("[\"tiny-clip\"]", "[\"tiny-f4\"]", &["render.perceptors[0]", "is a generator"]);
}

#[test]
fn pictures_that_are_missing_elsewhere_or_no_pictures_are_refused() {
    let init = |path: &str| format!("init = {{ image = \"{path}\" }}\niterations = 8");
    refuses("iterations = 8", &init("none.png"), &["render.init.image", "none.png"]);
    refuses("iterations = 8", &init("../../etc/passwd"), &["render.init.image"]);
    refuses("iterations = 8", &init("job.toml"), &["render.init.image", "job.toml"]);
}

#[test]
fn a_picture_that_claims_absurd_sizes_is_refused() {
    let job =
        SWEEP.replacen("iterations = 8", "init = { image = \"bomb.png\" }\niterations = 8", 1);
    let bench = Bench::new(&job);
    // A PNG header of 60,000 × 60,000 pixels and nothing behind it.
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 60_000, 60_000);
    encoder.set_color(png::ColorType::Rgb);
    drop(encoder.write_header().unwrap());
    fs::write(bench.path("bomb.png"), bytes).unwrap();
    let ran = bench.render(&["job.toml", "--out", "o"]);
    refused(&bench, &ran, &["render.init.image", "bomb.png"]);
}

#[test]
fn files_that_are_no_jobs_are_refused() {
    let bench = Bench::new(SWEEP);
    fs::write(bench.path("latin.toml"), b"version = 1\nname = \"\xe4\"\n").unwrap();
    refused(&bench, &bench.render(&["latin.toml", "--out", "o"]), &["latin.toml", "UTF-8"]);
    refused(&bench, &bench.render(&["none.toml", "--out", "o"]), &["none.toml"]);
    refused(&bench, &bench.render(&["job.toml", "--out", "o", "--set", "render.size"]), &["--set"]);
    let unknown = bench.render(&["job.toml", "--out", "o", "--set", "render.itterations=5"]);
    refused(&bench, &unknown, &["--set render.itterations=5", "\"iterations\""]);
    refused(&bench, &bench.render(&["--out", "o"]), &["<JOB>"]);
    refused(&bench, &bench.render(&["job.toml", "--out", "o", "--device", "gpu"]), &["cpu"]);
}

#[test]
fn a_folder_of_another_job_is_left_alone() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = (bench.frames("o"), fs::read(bench.path("o/job.json")).unwrap());
    let other = ["--set", "name=other", "--set", "render.iterations=9"];
    let ran = bench.render(&[&["job.toml", "--out", "o"], &other[..]].concat());
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("another") && ran.stderr.contains("--out"), "{}", ran.stderr);
    assert_eq!((bench.frames("o"), fs::read(bench.path("o/job.json")).unwrap()), before);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let bench = Bench::new(SWEEP);
    let ran = bench.render(&["job.toml", "--out", "job.toml/inside"]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert!(ran.stderr.contains("job.toml/inside"), "{}", ran.stderr);
}

#[test]
fn a_missing_worker_is_said_to_be_missing() {
    let bench = Bench::new(SWEEP);
    let alone = bench.path("vqfarm");
    fs::copy(program("vqfarm"), &alone).unwrap();
    let mut command = std::process::Command::new(alone);
    command.args(["render", "job.toml", "--out", "o"]).current_dir(bench.path("."));
    let ran = finish(command.env("PATH", "").env("VQFARM_MODELS", bench.path("models")));
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("vqfarm-worker"), "{}", ran.stderr);
}
