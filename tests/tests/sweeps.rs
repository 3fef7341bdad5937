//! A sweep as a set of cells, in a folder: what was made before is not made again, whatever form
//! the job has now.

use std::collections::BTreeMap;
use std::fs;

use vqfarm_core::event::{Event, Summary};
use vqfarm_storage::frame;
use vqfarm_tests::{Bench, events, summary};

fn job(axes: &str) -> String {
    format!(
        r#"
version = 1
name = "sets"

[render]
size = [32, 32]
iterations = 12
step_size = 1.0
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
    fs::write(bench.path("job.toml"), job(axes)).expect("the job file is written");
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

const EARLY: &str =
    "colour = [\"red\", \"blue\"]\nseed = \"1-3\"\n[sweep.early_stop]\niterations = 4";

/// How many iterations each frame of a folder says that it has, where these are not all.
fn stopped(bench: &Bench, out: &str) -> Vec<Option<u32>> {
    let frames = bench.pictures(out);
    frames.values().map(|bytes| frame::decode(bytes).expect("a frame").0.stopped).collect()
}

/// The picture of each frame alone, by file name.
fn pixels(bench: &Bench, out: &str) -> BTreeMap<String, Vec<u8>> {
    let decode = |bytes: &[u8]| frame::decode(bytes).expect("a frame").1.into_raw();
    bench.pictures(out).iter().map(|(name, bytes)| (name.clone(), decode(bytes))).collect()
}

#[test]
fn the_best_go_on_from_where_they_stopped_and_come_out_the_same() {
    let bench = Bench::new("");
    let whole = EARLY.split("[sweep.early_stop]").next().unwrap();
    render(&bench, whole, "whole");
    let (told, summary) = render(&bench, &format!("{EARLY}\nkeep = 2"), "o");
    assert_eq!((summary.frames, summary.failed), (6, 0));
    let is_stopped = stopped(&bench, "o");
    assert_eq!(is_stopped.iter().filter(|stopped| stopped.is_none()).count(), 2, "{is_stopped:?}");
    assert!(is_stopped.iter().flatten().all(|iterations| *iterations == 4), "{is_stopped:?}");
    let (all, early) = (pixels(&bench, "whole"), pixels(&bench, "o"));
    let same = |name: &String| all[name] == early[name];
    let (gone_on, left): (Vec<_>, Vec<_>) =
        is_stopped.iter().zip(all.keys()).partition(|(stopped, _)| stopped.is_none());
    assert!(gone_on.iter().all(|(_, name)| same(name)), "to the bit");
    assert!(left.iter().any(|(_, name)| !same(name)), "the iterations make a difference");
    // What goes on begins after the first iterations.
    let went_on: Vec<u32> = told
        .iter()
        .filter_map(|event| match event {
            Event::Progress { iteration, iterations: 12, .. } => Some(*iteration),
            _ => None,
        })
        .collect();
    assert!(!went_on.is_empty() && went_on.iter().all(|iteration| *iteration >= 4), "{went_on:?}");
    let made = 6 * 4 + 2 * 8;
    let steps = summary.iterations_per_second * summary.seconds;
    assert!((steps - f64::from(made)).abs() < 0.5, "{steps} of {made} iterations");

    // The kept ones have the best scores of all previews.
    let score = |bytes: &Vec<u8>| frame::decode(bytes).unwrap().0.score.unwrap();
    let preview = |cell: usize| {
        fs::read(bench.path(&format!("o/work/preview/{cell:06}.png"))).expect("a preview")
    };
    let scores: Vec<f32> = (0..6).map(|cell| score(&preview(cell))).collect();
    let of = |kept: bool| {
        let scores = scores.iter().zip(&is_stopped);
        scores.filter(move |(_, stopped)| stopped.is_none() == kept).map(|(score, _)| *score)
    };
    assert!(of(true).fold(f32::MAX, f32::min) >= of(false).fold(f32::MIN, f32::max), "{scores:?}");
}

#[test]
fn cells_that_somebody_chooses_go_on_whenever_he_does() {
    let bench = Bench::new("");
    let (_, previews) = render(&bench, EARLY, "o");
    assert_eq!((previews.frames, stopped(&bench, "o")), (6, vec![Some(4); 6]));
    // One of the two has nothing to go on from any more: it is made from the start.
    fs::remove_file(bench.path("o/work/preview/000004.safetensors")).unwrap();
    let ran = bench.render(&["job.toml", "--json", "--out", "o", "--keep", "1,4"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(summary(&events(&ran.stdout)).rendered, 2);
    let none = [Some(4), None, Some(4), Some(4), None, Some(4)];
    assert_eq!(stopped(&bench, "o"), none);
    // The same command again has nothing to do, and so has the one without a choice.
    let (_, again) = render(&bench, EARLY, "o");
    assert_eq!((again.rendered, stopped(&bench, "o")), (0, none.to_vec()));
    let whole = EARLY.split("[sweep.early_stop]").next().unwrap();
    render(&bench, whole, "whole");
    let (all, early) = (pixels(&bench, "whole"), pixels(&bench, "o"));
    for cell in ["000001.png", "000004.png"] {
        assert!(all[cell] == early[cell], "{cell}");
    }
    // Without the early stop the folder's whole cells are taken over.
    let (_, changed) = render(&bench, whole, "o");
    assert_eq!((changed.rendered, changed.taken_over), (4, 2));
    assert!(bench.pictures("o") == bench.pictures("whole"), "byte for byte");
    // And with it, its previews and what they go on from.
    let (_, back) = render(&bench, &format!("{EARLY}\nkeep = 1"), "o");
    assert_eq!((back.frames, back.rendered), (6, 5), "five previews became frames");
    let steps = back.iterations_per_second * back.seconds;
    // But for the one that has nothing to go on from.
    assert!(steps < 4.5, "{steps} iterations though all was there");
}

#[test]
fn a_choice_that_makes_no_sense_is_refused() {
    let bench = Bench::new("");
    fs::write(bench.path("job.toml"), job(NARROW)).unwrap();
    for (axes, keep, said) in [
        (NARROW, "1", "[sweep.early_stop]"),
        (EARLY, "6", "no cell 6; the last is 5"),
        (EARLY, "x", "not a number or range"),
    ] {
        fs::write(bench.path("job.toml"), job(axes)).unwrap();
        let ran = bench.render(&["job.toml", "--out", "o", "--keep", keep]);
        assert_eq!(ran.status, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
        assert!(bench.pictures("o").is_empty());
    }
    fs::write(bench.path("job.toml"), job(&EARLY.replace("iterations = 4", "iterations = 12")))
        .unwrap();
    let ran = bench.render(&["job.toml", "--out", "o"]);
    assert_eq!(ran.status, 2);
    // The line, with a mark under the value.
    assert!(ran.stderr.contains("iterations = 12") && ran.stderr.contains('^'), "{}", ran.stderr);
}
