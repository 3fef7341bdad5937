//! Parallel zooms with the real programs: keyframes in rounds, frames composed of them.

use vqfarm_core::event::Event;
use vqfarm_tests::farm::{Farm, Setup, until};
use vqfarm_tests::{Bench, events, summary};

const FRAMES: usize = 20;

/// Four keyframes, three rounds, twenty frames.
const ZOOM: &str = r#"
version = 1
name = "tiny zoom"

[render]
size = [32, 32]
iterations = 10
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = { count = 2 }

[animation]
mode = "zoom"
frames = 20
fps = 10
[animation.prompts]
0 = "a red sun"
10 = "a blue sea"
[animation.zoom]
frames_per_step = 8
angle = 15
center_x = 0.55
rounds = 3
round_iterations = 6
"#;

fn pixels(png: &[u8]) -> Vec<u8> {
    image::load_from_memory(png).expect("a frame is a picture").to_rgb8().into_raw()
}

#[test]
fn a_zoom_is_composed_of_keyframes_and_played_both_ways() {
    let bench = Bench::new(ZOOM);
    let ran = bench.render(&["job.toml", "--out", "in", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let summary = summary(&events(&ran.stdout));
    assert_eq!((summary.frames, summary.rendered), (FRAMES as u64, FRAMES as u64));
    assert!(bench.path("in/out/video.mp4").is_file());
    for round in 1..=3 {
        let folder = bench.path(&format!("in/work/keyframes-{round}"));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 4, "round {round}");
    }
    // The camera ends nearer to keyframe 2 than it began.
    let frames = bench.pictures("in");
    let key = std::fs::read(bench.path("in/work/keyframes-3/000002.png")).unwrap();
    let to_key = |name: &str| -> u64 {
        let (a, b) = (pixels(&frames[name]), pixels(&key));
        a.iter().zip(&b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum()
    };
    assert!(to_key("000016.png") < to_key("000008.png"), "frame 16 shows keyframe 2");

    let out = ["job.toml", "--out", "out", "--set", "animation.zoom.direction=out"];
    assert_eq!(
        bench
            .render(&[&out[..], &["--set", "animation.prompts={0=\"a red sun\"}"]].concat())
            .status,
        0
    );
    let same = ["job.toml", "--out", "same", "--set", "animation.prompts={0=\"a red sun\"}"];
    assert_eq!(bench.render(&same).status, 0);
    let (out, same) = (bench.pictures("out"), bench.pictures("same"));
    for n in 0..FRAMES {
        let (forth, back) = (format!("{n:06}.png"), format!("{:06}.png", FRAMES - 1 - n));
        assert!(pixels(&same[&forth]) == pixels(&out[&back]), "frame {n} backwards");
    }
}

#[test]
fn a_killed_zoom_goes_on_with_its_keyframes_and_is_the_same_bit_for_bit() {
    let bench = Bench::new(ZOOM);
    let slow = ["job.toml", "--threads", "2", "--set", "animation.zoom.refine=5"];
    let whole = bench.render(&[&slow[..], &["--out", "whole"]].concat());
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    let mut running = bench.start(&[&slow[..], &["--out", "o"]].concat());
    running.wait_for_frames(3);
    running.kill_command();
    let _ = running.finish();
    let stored = bench.frames("o");
    assert!((3..FRAMES).contains(&stored.len()), "the fault came in time: {}", stored.len());
    // A round that is lost is made again.
    std::fs::remove_file(bench.path("o/work/keyframes-2/000001.png")).unwrap();
    let again = bench.render(&[&slow[..], &["--out", "o", "--json"]].concat());
    assert_eq!(again.status, 0, "{}", again.stderr);
    let rendered = |event: &&Event| matches!(event, Event::Frame { adopted: false, .. });
    let rendered = events(&again.stdout).iter().filter(rendered).count();
    assert_eq!(rendered, FRAMES - stored.len());
    assert_eq!(bench.pictures("o"), bench.pictures("whole"));
}

#[test]
fn two_workers_make_the_zoom_of_a_standalone_render_though_one_dies() {
    let farm = Farm::new(Setup::with_s3());
    let mut one = farm.worker("one", &[]);
    let _two = farm.worker("two", &[]);
    let job = farm.submit(ZOOM, FRAMES);
    until("the second round is under way", || {
        (farm.count(job.id, "keyframes-1", "done") == 4).then_some(())
    });
    one.process.freeze();
    one.process.kill();
    farm.prove(&job);
}

#[test]
fn mistakes_in_a_zoom_are_named() {
    let bench = Bench::new(ZOOM);
    for (set, words) in [
        (
            "animation.zoom.center_x=0.9",
            "animation.zoom.center_x: 0.9 puts the next keyframe over the edge",
        ),
        ("animation.zoom.step=1", "animation.zoom.step: 1 is out of range"),
        ("animation.motion.zoom=1.1", "the camera of a zoom is in [animation.zoom]"),
        ("animation.mode=feedback", "this is for mode = \"zoom\""),
    ] {
        let ran = bench.render(&["job.toml", "--out", "o", "--set", set]);
        assert_eq!(ran.status, 2, "{set}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{set}: {}", ran.stderr);
        assert!(!bench.path("o").exists());
    }
}
