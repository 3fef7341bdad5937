//! Films and contact sheets of a folder's frames made again, and early looks at what there is.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use vqfarm_core::event::Event;
use vqfarm_core::keys;
use vqfarm_core::video::held;
use vqfarm_tests::film::{decode, length, probe};
use vqfarm_tests::{Bench, Ran, SWEEP, events, finish, summary};

/// A film whose frames come from coarse to fine: eight rows of eight.
const ZOOM: &str = r#"
version = 1
name = "tiny zoom"

[render]
size = [32, 32]
iterations = 4
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = { count = 2 }

[animation]
mode = "zoom"
frames = 64
fps = 16
[animation.prompts]
0 = "a red sun"
[animation.zoom]
frames_per_step = 32
rounds = 1

[output.video]
crf = 10
"#;

fn run(bench: &Bench, arguments: &[&str]) -> Ran {
    finish(&mut bench.vqfarm(arguments))
}

/// A finished render in the folder `o`, with neither its job file nor its models.
fn rendered(job: &str) -> Bench {
    let bench = Bench::new(job);
    let ran = bench.render(&["job.toml", "--out", "o"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    fs::remove_dir_all(bench.path("models")).unwrap();
    fs::remove_file(bench.path("job.toml")).unwrap();
    bench
}

/// Files of a folder's `out`, and its record.
fn outputs(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(bench.path("o/out")).unwrap().map(|file| file.unwrap().path());
    let files = files.chain([bench.path("o/job.json")]);
    files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_film_is_made_again_of_its_folder_alone() {
    let bench = rendered(ZOOM);
    let before = bench.frames("o");
    let ran = run(
        &bench,
        &[
            "stitch",
            "o",
            "--codec",
            "vp9",
            "--fps",
            "32",
            "--set",
            "output.video.ping_pong=true",
            "--json",
        ],
    );
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let summary = summary(&events(&ran.stdout));
    assert_eq!((summary.frames, summary.rendered), (64, 0));
    assert!(summary.video.expect("a film").ends_with("o/out/video.webm"));
    let stream = probe(&bench.path("o/out/video.webm"));
    let facts = ["codec_name", "r_frame_rate", "nb_read_frames"].map(|fact| stream[fact].clone());
    assert_eq!(facts, ["vp9", "32/1", "126"]);
    assert!(bench.frames("o") == before, "no frame was touched");
    // What was set is what the folder's record says from now on; vp9 has a crf of its own.
    let record: Value =
        serde_json::from_slice(&fs::read(bench.path("o/job.json")).unwrap()).unwrap();
    let video = &record["spec"]["output"]["video"];
    assert_eq!(
        (&video["codec"], &video["fps"], &video["crf"]),
        (&"vp9".into(), &32.0.into(), &Value::Null)
    );
    assert_eq!(record["source"], Value::Null);
}

#[test]
fn a_contact_sheet_is_made_again_the_other_way_round() {
    let bench = rendered(SWEEP);
    let before = outputs(&bench);
    let sets =
        ["--set", "output.contact_sheet.rows=colour", "--set", "output.contact_sheet.columns=seed"];
    // The gallery is made again, too.
    fs::remove_file(bench.path("o/out/index.html")).unwrap();
    let ran = run(&bench, &[&["stitch", "o"][..], &sets].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("12 of 12 frames"), "{}", ran.stdout);
    let after = outputs(&bench);
    let changed: Vec<&String> = after.keys().filter(|&name| after[name] != before[name]).collect();
    let name = |name: &str| bench.path("o").join(name).display().to_string();
    assert_eq!(changed, [&name("job.json"), &name("out/contact-sheet.png")]);
    let sheet = image::load_from_memory(&after[&name("out/contact-sheet.png")]).unwrap();
    // Three colours down in each of two sections.
    assert!(sheet.height() > sheet.width(), "{}×{}", sheet.width(), sheet.height());
}

#[test]
fn a_sheet_of_several_pages_says_so_and_leaves_none_behind() {
    let bench = rendered(SWEEP);
    let paged = ["--set", "output.contact_sheet.pages=[\"colour\"]", "--json"];
    let ran = run(&bench, &[&["stitch", "o"][..], &paged].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let told = events(&ran.stdout);
    let sheets = told.iter().filter_map(|event| match event {
        Event::Sheet { page, pages, cells, size } => Some((*page, *pages, *cells, *size)),
        _ => None,
    });
    let sheets: Vec<_> = sheets.collect();
    assert_eq!(summary(&told).contact_sheet_pages, 3);
    assert!(summary(&told).gallery.expect("a gallery").ends_with("o/out/index.html"));
    let gallery = fs::read_to_string(bench.path("o/out/index.html")).unwrap();
    assert!(gallery.contains("\"sheets\": 3"), "it names all pages");
    for (n, (page, pages, cells, size)) in (1..).zip(&sheets) {
        assert_eq!((*page, *pages, *cells), (n, 3, 4));
        let path = bench.path("o").join(keys::contact_sheet(n as usize - 1));
        assert_eq!(image::image_dimensions(path).unwrap(), (size[0], size[1]));
    }
    assert_eq!(sheets.len(), 3);
    let again = run(&bench, &["stitch", "o", "--set", "output.contact_sheet.pages=[]"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let left: Vec<String> = outputs(&bench).into_keys().filter(|n| n.contains("sheet")).collect();
    assert_eq!(left, [bench.path("o/out/contact-sheet.png").display().to_string()]);
}

#[test]
fn what_cannot_be_stitched_is_named_and_changes_nothing() {
    let bench = rendered(ZOOM);
    for lost in [5, 6, 40] {
        fs::remove_file(bench.path("o").join(keys::frame(lost))).unwrap();
    }
    let before = outputs(&bench);
    for (arguments, status, words) in [
        (&["stitch", "o"][..], 1, "3 of 64 frames are missing or damaged, the first is frame 5; "),
        (&["stitch", "o", "--crf", "80"], 2, "help: it must be from 0 to 51"),
        (&["stitch", "o", "--codec", "h266"], 2, "--codec h266: output.video.codec"),
        (&["stitch", "o", "--set", "render.seed=2"], 2, "only fields of [output] can be changed"),
        (&["stitch", "o", "--set", "output.video.nmae=2"], 2, "nmae"),
        (&["stitch", "o", "--watch"], 2, "--watch is for jobs of a farm"),
        (&["preview", "o", "--user", "ada"], 2, "--user is for jobs of a farm"),
        (&["preview", "o", "--out", "x.gif"], 2, "it is made as .mp4; name it so"),
        (&["preview", "o", "--out", "o"], 2, "this is a folder"),
        (&["stitch", "nowhere"], 2, "nowhere/job.json"),
        (&["preview", "./last"], 2, "./last/job.json"),
    ] {
        let ran = run(&bench, arguments);
        assert_eq!(ran.status, status, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    assert!(!bench.path("nowhere").exists() && !bench.path("x.gif").exists());
    assert!(outputs(&bench) == before, "nothing was changed");

    fs::remove_dir_all(bench.path("o/frames")).unwrap();
    let ran = run(&bench, &["preview", "o"]);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("has no frames yet"), "{}", ran.stderr);
    assert!(!bench.path("tiny zoom-preview.mp4").exists());
}

#[test]
fn a_preview_of_a_film_holds_each_frame_until_the_next_that_is_there() {
    let bench = rendered(ZOOM);
    let before = outputs(&bench);
    let all: Vec<Vec<u8>> = bench
        .pictures("o")
        .values()
        .map(|png| image::load_from_memory(png).expect("a frame").to_rgb8().into_raw())
        .collect();
    let there: BTreeSet<u64> = [0, 8, 20, 21, 40].into();
    for lost in (0..64).filter(|index| !there.contains(index)) {
        fs::remove_file(bench.path("o").join(keys::frame(lost))).unwrap();
    }
    let set = ["--set", "output.video.codec=webp", "--crf", "5"];
    let refused = run(&bench, &[&["preview", "o"][..], &set].concat());
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    let ran = run(&bench, &["preview", "o", "--out", "new/early.mp4", "--crf", "0", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told, serde_json::json!({ "cells": 64, "files": ["new/early.mp4"], "frames": 5 }));
    let shown = decode(&bench.path("new/early.mp4"), all[0].len());
    let expected = held(&there);
    assert_eq!((shown.len(), expected.len()), (41, 41));
    for (at, picture) in shown.iter().enumerate() {
        let apart = |frame: u64| -> u64 {
            let pairs = all[frame as usize].iter().zip(picture);
            pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
        };
        let nearest = there.iter().copied().min_by_key(|&frame| apart(frame));
        assert_eq!(nearest, Some(expected[at]), "at {at}");
    }
    assert!(outputs(&bench) == before, "the folder stays as it is");
}

#[test]
fn a_preview_of_a_sweep_has_blanks() {
    let bench = rendered(SWEEP);
    for lost in [1, 2, 7] {
        fs::remove_file(bench.path("o").join(keys::frame(lost))).unwrap();
    }
    let ran = run(&bench, &["preview", "o"]);
    assert_eq!(
        (ran.status, ran.stdout.as_str()),
        (0, "tiny sweep-preview.png\n"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("9 of 12 frames"), "{}", ran.stderr);
    let open = |path: &str| image::open(bench.path(path)).expect("a sheet").to_rgb8();
    let (early, whole) = (open("tiny sweep-preview.png"), open("o/out/contact-sheet.png"));
    assert_eq!(early.dimensions(), whole.dimensions());
    let blank =
        |sheet: &image::RgbImage| sheet.pixels().filter(|pixel| pixel.0 == [236, 234, 228]).count();
    // A cell is 192 pixels wide and high; a few words stand in it.
    assert!(
        blank(&whole) < 100 && (90_000..=3 * 192 * 192).contains(&blank(&early)),
        "{}",
        blank(&early)
    );
}

#[test]
fn an_interrupted_zoom_can_be_looked_at_from_end_to_end_and_goes_on() {
    let bench = Bench::new(ZOOM);
    let arguments =
        ["job.toml", "--threads", "1", "--set", "animation.zoom.refine=4", "--out", "o"];
    let mut running = bench.start(&arguments);
    // More than the first two rows: frames 0 to 7 and 32 to 39.
    running.wait_for_frames(17);
    running.kill_command();
    let _ = running.finish();
    let there: BTreeSet<u64> =
        bench.frames("o").keys().filter_map(|name| keys::frame_index(name)).collect();
    assert!((17..64).contains(&there.len()), "the fault came in time: {}", there.len());
    let coarse = (0..8).chain(32..40).all(|frame| there.contains(&frame));
    assert!(coarse && !there.contains(&8), "from coarse to fine: {there:?}");
    let ran = run(&bench, &["preview", "o", "--out", "early.mp4"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(length(&bench.path("early.mp4")), held(&there).len());

    let again = bench.render(&[&arguments[..], &["--json"]].concat());
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(summary(&events(&again.stdout)).rendered, 64 - there.len() as u64);
    assert_eq!(length(&bench.path("o/out/video.mp4")), 64);
}
