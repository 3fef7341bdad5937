//! What a worker's trace says: it can be read, also after a crash, and agrees with the worker.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use vqfarm_tests::farm::{Farm, Setup, sweep, until};
use vqfarm_tests::{Bench, SWEEP};

/// Nanoseconds are lost where times are added; in microseconds.
const ROUNDING: f64 = 0.01;

struct Slice<'a> {
    name: &'a str,
    track: u64,
    begin: f64,
    end: f64,
}

fn slices(events: &[Value]) -> Vec<Slice<'_>> {
    let slice = |event: &'_ Value| Slice {
        name: "",
        track: event["tid"].as_u64().expect("a track"),
        begin: event["ts"].as_f64().expect("a time"),
        end: event["ts"].as_f64().expect("a time") + event["dur"].as_f64().expect("a time"),
    };
    let of = events.iter().filter(|event| event["ph"] == "X");
    of.map(|event| Slice { name: event["name"].as_str().expect("a name"), ..slice(event) })
        .collect()
}

/// On each track a slice ends before the next one begins, or lies inside of it.
fn assert_nested(slices: &[Slice<'_>]) {
    let mut tracks: BTreeMap<u64, Vec<&Slice<'_>>> = BTreeMap::new();
    for slice in slices {
        tracks.entry(slice.track).or_default().push(slice);
    }
    for track in tracks.values_mut() {
        track.sort_by(|a, b| a.begin.total_cmp(&b.begin).then(b.end.total_cmp(&a.end)));
        let mut around: Vec<&Slice<'_>> = Vec::new();
        for slice in track {
            while around.last().is_some_and(|outer| outer.end <= slice.begin + ROUNDING) {
                around.pop();
            }
            if let Some(outer) = around.last() {
                assert!(
                    slice.end <= outer.end + ROUNDING,
                    "{} ({}-{}) reaches out of {} ({}-{})",
                    slice.name,
                    slice.begin,
                    slice.end,
                    outer.name,
                    outer.begin,
                    outer.end
                );
            }
            around.push(slice);
        }
    }
}

#[test]
fn a_trace_agrees_with_its_worker() {
    let farm = Farm::new(Setup::default());
    let path = farm.path("trace.json");
    let mut one = farm.worker("one", &["--trace", path.to_str().expect("a plain path")]);
    let job = farm.submit(&sweep(6, 40), 6);
    let waited = farm.wait(job.id);
    assert_eq!(waited.status, 0, "{}", waited.stderr);
    one.process.signal(Signal::TERM);
    assert!(one.process.wait().success());
    let leaving = one.process.wait_for_line(one.process.start_of_log(), &["leaving"]);
    let computed = leaving.split("computed=").nth(1).and_then(|rest| rest.split(' ').next());
    let computed: f64 = computed.and_then(|s| s.trim().parse().ok()).expect("seconds");

    let events: Vec<Value> =
        serde_json::from_slice(&fs::read(&path).expect("a trace")).expect("JSON");
    let slices = slices(&events);
    assert_nested(&slices);
    let names: BTreeSet<&str> = slices.iter().map(|slice| slice.name).collect();
    for name in [
        "probe storage",
        "connect to redis",
        "lease",
        "prepare",
        "task",
        "batch",
        "load models",
        "begin",
        "compute",
        "publish",
        "encode",
        "upload",
        "commit",
        "heartbeat",
        "stitch",
    ] {
        assert!(names.contains(name), "no {name} in {names:?}");
    }
    let computing = || slices.iter().filter(|slice| slice.name == "compute");
    assert_eq!(computing().count(), 6);
    let traced: f64 = computing().map(|slice| (slice.end - slice.begin) / 1e6).sum();
    assert!(
        (traced - computed).abs() < 0.02 * computed,
        "{traced} s, and by the worker {computed} s"
    );

    // Each batch has an arrow to where its cell was published.
    let ends = |ph: &str| -> BTreeMap<&str, f64> {
        let of = events.iter().filter(|event| event["ph"] == ph);
        of.map(|event| {
            (event["id"].as_str().expect("an id"), event["ts"].as_f64().expect("a time"))
        })
        .collect()
    };
    let (from, to) = (ends("s"), ends("f"));
    assert_eq!(to.len(), 6);
    assert!(to.iter().all(|(id, end)| from[id] <= *end), "{from:?} {to:?}");

    let summary = farm.json(&["trace", path.to_str().expect("a plain path"), "--json"]);
    let seen = summary["computed"].as_f64().expect("seconds");
    assert!((seen - traced).abs() < 1e-3, "{seen} {traced}");
    let busy = summary["busy"].as_f64().expect("a share");
    assert!(busy > 0.0 && busy <= 1.0, "{summary}");
}

#[test]
fn the_trace_of_a_killed_render_can_be_read() {
    let bench = Bench::new(&SWEEP.replace("iterations = 8", "iterations = 400"));
    let path = bench.path("trace.json");
    let mut render = bench.start(&["job.toml", "--out", "out", "--trace", "trace.json"]);
    render.wait_for_frames(1);
    until("the trace is written", || {
        fs::read_to_string(&path).unwrap_or_default().contains("\"compute\"").then_some(())
    });
    render.kill_worker();
    render.finish();
    let told = vqfarm_tests::finish(&mut bench.vqfarm(&["trace", "trace.json"]));
    assert_eq!(told.status, 0, "{}", told.stderr);
    assert!(told.stdout.contains("% busy of"), "{}", told.stdout);
    let other = vqfarm_tests::finish(&mut bench.vqfarm(&["trace", "job.toml"]));
    assert_eq!(other.status, 1);
    assert!(
        other.stderr.contains("job.toml") && other.stderr.contains("line 2"),
        "{}",
        other.stderr
    );
    let nowhere = bench.render(&["job.toml", "--out", "out", "--trace", "nowhere/trace.json"]);
    assert_eq!(nowhere.status, 2);
    assert!(nowhere.stderr.contains("--trace: nowhere/trace.json"), "{}", nowhere.stderr);
}
