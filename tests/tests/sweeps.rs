//! A sweep as a set of cells, in a folder: what was made before is not made again, whatever form
//! the job has now.

use std::collections::BTreeMap;
use std::fs;

use vqfarm_core::event::{Event, Summary};
use vqfarm_tests::{Bench, events, summary};

fn job(axes: &str) -> String {
    format!(
        r#"
version = 1
name = "sets"

[render]
size = [32, 32]
iterations = 12
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = {{ count = 2 }}

[sweep]
prompt = "a {{colour}} sun"
[sweep.axes]
{axes}
"#
    )
}

/// Renders a job with these axes; answers with its events, the summary among them.
fn render(bench: &Bench, axes: &str, out: &str) -> (Vec<Event>, Summary) {
    fs::write(bench.path("job.toml"), job(axes)).unwrap();
    let ran = bench.render(&["job.toml", "--json", "--threads", "1", "--out", out]);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let events = events(&ran.stdout);
    let summary = summary(&events);
    (events, summary)
}

const NARROW: &str = "colour = [\"red\", \"blue\"]\nseed = \"1-2\"";
/// More of it, and in another order.
const WIDE: &str = "seed = \"0-2\"\ncolour = [\"blue\", \"green\", \"red\"]";

#[test]
fn a_wider_sweep_in_the_same_folder_renders_only_the_new_cells() {
    let bench = Bench::new("");
    render(&bench, NARROW, "o");
    let narrow = bench.pictures("o");
    let (told, wide) = render(&bench, WIDE, "o");
    assert_eq!((wide.frames, wide.rendered, wide.taken_over), (9, 5, 4));
    assert!(
        told.iter().any(|event| matches!(event, Event::Warning { message } if message.contains("4 of its frames"))),
        "{told:?}"
    );
    render(&bench, WIDE, "anew");
    assert!(bench.pictures("o") == bench.pictures("anew"), "as if nothing had been there");
    // And back again, without rendering anything.
    let (_, back) = render(&bench, NARROW, "o");
    assert_eq!((back.frames, back.rendered, back.taken_over), (4, 0, 4));
    assert!(bench.pictures("o") == narrow);
    let (_, same) = render(&bench, NARROW, "o");
    assert_eq!((same.frames, same.rendered, same.taken_over), (4, 0, 0));
}

#[test]
fn what_is_damaged_is_rendered_and_another_job_is_refused() {
    let bench = Bench::new("");
    render(&bench, NARROW, "o");
    render(&bench, "colour = [\"green\"]\nseed = \"1-2\"", "o");
    let kept: Vec<_> = fs::read_dir(bench.path("o/cells")).unwrap().flatten().collect();
    assert_eq!(kept.len(), 4);
    let bytes = fs::read(kept[0].path()).unwrap();
    fs::write(kept[0].path(), &bytes[..bytes.len() / 2]).unwrap();
    // Somebody's mistake: the picture of one cell under the name of another.
    fs::copy(kept[3].path(), kept[1].path()).unwrap();
    let (_, back) = render(&bench, NARROW, "o");
    assert_eq!((back.rendered, back.taken_over), (2, 2));
    render(&bench, NARROW, "anew");
    assert!(bench.pictures("o") == bench.pictures("anew"));

    let before: BTreeMap<_, _> = bench.pictures("o");
    fs::write(bench.path("job.toml"), job(NARROW)).unwrap();
    let other = ["--set", "name=other", "--set", "render.iterations=9"];
    let ran = bench.render(&[&["job.toml", "--out", "o"], &other[..]].concat());
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("holds another job"), "{}", ran.stderr);
    assert!(bench.pictures("o") == before);
}

#[test]
fn the_first_cells_sample_the_grid() {
    let bench = Bench::new("");
    let axes = "colour = [\"red\", \"green\", \"blue\", \"white\"]\nseed = \"1-4\"";
    let (told, _) = render(&bench, axes, "o");
    let frames = told.iter().filter_map(|event| match event {
        Event::Frame { cell, .. } => Some(*cell),
        _ => None,
    });
    let first: Vec<u64> = frames.take(4).collect();
    let mut columns: Vec<u64> = first.iter().map(|cell| cell % 4).collect();
    let mut rows: Vec<u64> = first.iter().map(|cell| cell / 4).collect();
    columns.sort_unstable();
    rows.sort_unstable();
    assert_eq!((rows, columns), (vec![0, 1, 2, 3], vec![0, 1, 2, 3]), "{first:?}");
}

#[test]
fn hours_are_estimated_by_what_renders_have_measured() {
    let bench = Bench::new("");
    fs::write(bench.path("job.toml"), job(NARROW)).unwrap();
    let plan = || {
        let out = vqfarm_tests::finish(&mut bench.vqfarm(&["plan", "job.toml", "--json"]));
        assert_eq!(out.status, 0, "{}", out.stderr);
        let json: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
        json["estimate"].clone()
    };
    let before = plan();
    assert_eq!((&before["frames"], &before["iterations"]), (&4.into(), &48.into()));
    assert!(before["device_hours"].is_null(), "{before}");
    let (_, summary) = render(&bench, NARROW, "o");
    let after = plan();
    let hours = after["device_hours"].as_f64().unwrap();
    assert!(hours > 0.0 && hours * 3600.0 <= summary.seconds, "{after} of {summary:?}");
    assert_eq!(after["device"], "cpu");
    let said = vqfarm_tests::finish(&mut bench.vqfarm(&["expand", "job.toml"]));
    assert!(
        said.stderr.contains("4 cells, 48 iterations, about 0.01 CPU hours"),
        "{}",
        said.stderr
    );
}
