use image::{Rgb, RgbImage};
use tch::Device;
use vqfarm_core::animation::Timeline;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::rng::{Key, Purpose};
use vqfarm_engine::similarity::Similarity;

use super::scores::Judges;
use super::{
    Figures, Film, Report, Rings, Scores, Steadiness, camera, comparable, rings, steadiness,
};
use crate::data;
use crate::models::Demo;

const SIZE: u32 = 96;

const ZOOM: &str = "mode = \"zoom\"\n[animation.zoom]\nframes_per_step = 6\nangle = 12\n\
                    center_x = 0.55\n";
/// A zoom towards the middle, as a chain can follow it.
const STRAIGHT: &str = "mode = \"zoom\"\n[animation.zoom]\nframes_per_step = 6\nangle = 12\n";
const CHAIN: &str = "mode = \"feedback\"\n[animation.motion]\nzoom = \"2 ** (1/6)\"\nangle = 2\n";

fn timeline(animation: &str) -> Timeline {
    let text = format!(
        "version = 1\n[render]\nprompt = \"a red sun\"\nsize = [{SIZE}, {SIZE}]\n\
         [animation]\nframes = 18\n{animation}"
    );
    let document = Document::parse("job.toml", text.as_bytes()).unwrap();
    let job = document.job(Limits::default(), |_| Ok(Vec::new())).unwrap();
    Timeline::new(&job, job.animation.as_ref().unwrap()).unwrap()
}

/// A world that has something to show at every scale, seen at a point.
fn world([x, y]: [f64; 2]) -> Rgb<u8> {
    let wave = |phase: f64| {
        let part = |n: i32| {
            let pitch = 2.0 * 1.9f64.powi(n);
            let turn = phase + 1.3 * f64::from(n);
            ((x * turn.cos() + y * turn.sin()) / pitch + turn).sin()
        };
        (-3..6).map(part).sum::<f64>() / 5.0
    };
    Rgb([0.0, 1.0, 2.0].map(|phase| (127.5 + 60.0 * wave(phase)).clamp(0.0, 255.0) as u8))
}

/// A film of the world with a camera that strays from its way by so many pixels, in every other
/// frame.
fn film(timeline: &Timeline, stray: f64) -> Vec<RgbImage> {
    let mut view = Similarity { a: [1.0, 0.0], b: [0.0, 0.0] };
    let middle = f64::from(SIZE - 1) / 2.0;
    let mut frames = Vec::new();
    for n in 0..timeline.len() {
        let off = stray * (n % 2) as f64;
        frames.push(RgbImage::from_fn(SIZE, SIZE, |x, y| {
            // What a pixel shows is spread over it.
            let sample = |i: u32, j: u32| {
                let at = |n: u32, part: u32| f64::from(n) + (f64::from(part) - 1.0) / 3.0 - middle;
                world(view.apply([at(x, i) + off, at(y, j)]))
            };
            let samples: Vec<_> = (0..9).map(|k| sample(k % 3, k / 3)).collect();
            Rgb([0, 1, 2]
                .map(|c| (samples.iter().map(|s| u32::from(s.0[c])).sum::<u32>() / 9) as u8))
        }));
        if n + 1 < timeline.len() {
            view = view.after(camera::between(timeline, n, 1.0).unwrap().unwrap());
        }
    }
    frames
}

fn steady(timeline: &Timeline, frames: &[RgbImage]) -> Steadiness {
    steadiness::measure(timeline, frames).unwrap()
}

#[test]
fn frames_that_follow_the_camera_agree_and_those_that_stray_do_not() {
    let timeline = timeline(ZOOM);
    let true_way = steady(&timeline, &film(&timeline, 0.0));
    let strays = steady(&timeline, &film(&timeline, 1.0));
    assert!(true_way.mean > 32.0 && true_way.low > 30.0, "{true_way:?}");
    assert!(strays.mean < true_way.mean - 5.0, "{strays:?} beside {true_way:?}");
    // A single frame that leaps shows in the percentile.
    let mut leaps = film(&timeline, 0.0);
    leaps[9] = RgbImage::from_pixel(SIZE, SIZE, Rgb([0; 3]));
    let leaps = steady(&timeline, &leaps);
    assert!(leaps.low < true_way.low - 10.0, "{leaps:?}");
}

#[test]
fn blurred_frames_are_steadier_and_their_slope_says_why() {
    let timeline = timeline(ZOOM);
    // Grain that each frame has of its own.
    let mut grain = Key::new(1, Purpose::FrameNoise).stream();
    let mut sharp = film(&timeline, 0.0);
    for level in sharp.iter_mut().flat_map(|frame| frame.iter_mut()) {
        *level = level.saturating_add((grain.uniform() * 40.0) as u8);
    }
    let soft: Vec<_> = sharp.iter().map(|frame| image::imageops::blur(frame, 2.0)).collect();
    let (sharp, soft) = (steady(&timeline, &sharp), steady(&timeline, &soft));
    assert!(soft.mean > sharp.mean + 5.0, "{soft:?} {sharp:?}");
    assert!(soft.slope < 0.5 * sharp.slope, "{soft:?} {sharp:?}");
}

#[test]
fn an_outward_zoom_and_a_chain_are_followed_as_well() {
    let out = STRAIGHT.replace("frames_per_step", "direction = \"out\"\nframes_per_step");
    for animation in [&out, CHAIN] {
        let timeline = timeline(animation);
        let figures = steady(&timeline, &film(&timeline, 0.0));
        assert!(figures.low > 30.0, "{figures:?}");
    }
}

#[test]
fn a_ring_that_is_drawn_is_seen() {
    let timeline = timeline(ZOOM);
    let clean = film(&timeline, 0.0);
    let found = rings::measure(&timeline, &clean).unwrap();
    assert!((0.95..1.05).contains(&found.mean) && found.worst < 1.2, "{found:?}");
    // Where a nested keyframe's edge lies, the frame is darker by so much inside of it.
    let drawn = |frame: u64, picture: &RgbImage, by: u8| {
        let depth = timeline.animation().zoom.depth(frame, timeline.len());
        let size = (i64::from(SIZE), i64::from(SIZE));
        let nesting = timeline.nesting(depth.base).unwrap();
        let back = Similarity::placing(&nesting, size, depth.along - 1.0);
        let mut picture = picture.clone();
        for (x, y, pixel) in picture.enumerate_pixels_mut() {
            let middle = f64::from(SIZE - 1) / 2.0;
            let at = back.apply([f64::from(x) - middle, f64::from(y) - middle]);
            if at.iter().all(|part| part.abs() < f64::from(SIZE) / 2.0) {
                pixel.0 = pixel.0.map(|level| level.saturating_sub(by));
            }
        }
        picture
    };
    let all: Vec<_> = (0..).zip(&clean).map(|(n, frame)| drawn(n, frame, 40)).collect();
    let ringed = rings::measure(&timeline, &all).unwrap();
    assert!(ringed.mean > 1.3, "{ringed:?}");
    let mut one = clean.clone();
    one[7] = drawn(7, &clean[7], 80);
    let one = rings::measure(&timeline, &one).unwrap();
    assert!(one.worst > 1.5 && one.worst_frame == 7, "{one:?}");
}

#[test]
fn pictures_score_higher_with_their_own_prompts() {
    let models = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    let judges = Judges::new(&Demo::read(&models).unwrap(), Device::Cpu).unwrap();
    let samples: Vec<_> = (0..4).map(|n| data::held_out(n, SIZE)).collect();
    let picture = |s: &data::Sample| RgbImage::from_raw(SIZE, SIZE, s.pixels.clone()).unwrap();
    let pictures: Vec<_> = samples.iter().map(picture).collect();
    let mut prompts: Vec<_> = samples.iter().map(|s| s.caption.text.clone()).collect();
    let own = judges.scores(&pictures, &prompts).unwrap();
    // What is to be avoided does not count, and weights are shares.
    let weighed: Vec<_> = prompts.iter().map(|text| format!("{text}:3 | blurry:-1")).collect();
    let weighed = judges.scores(&pictures, &weighed).unwrap();
    assert!((weighed.judge - own.judge).abs() < 1e-6);
    prompts.rotate_left(1);
    let others = judges.scores(&pictures, &prompts).unwrap();
    assert!(own.perceptor > others.perceptor + 0.1, "{own:?} {others:?}");
    assert!(own.judge > others.judge + 0.1, "{own:?} {others:?}");
}

#[test]
fn films_are_compared_only_with_their_like() {
    let film = |animation: &str| {
        let timeline = timeline(animation);
        let frames = vec![RgbImage::new(SIZE, SIZE); timeline.len() as usize];
        Film { timeline, frames, keyframes: Vec::new() }
    };
    let zoom = film(STRAIGHT);
    comparable(&zoom, &film(CHAIN)).unwrap();
    let refused = |feedback: &Film, why: &str| {
        let error = comparable(&zoom, feedback).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused(&film(STRAIGHT), "no chain");
    refused(&film(&CHAIN.replace("angle = 2", "angle = 1")), "cameras differ after frame 0");
    refused(&film(&CHAIN.replace("mode", "prompts = { 4 = \"a tree\" }\nmode")), "at frame 0");
    let cut = "prompts = { 0 = \"a red sun\", 4 = { prompt = \"a red sun\", cut = true } }\nmode";
    refused(&film(&CHAIN.replace("mode", cut)), "cut after frame 3");
}

#[test]
fn means_are_taken_of_all_pairs_and_the_worst_frame_stays_the_worst() {
    let figures = |mean: f64, ring: f64, frame: u64| Figures {
        steadiness: Steadiness { mean, low: mean - 2.0, slope: 1.0 },
        scores: Scores { perceptor: mean / 100.0, judge: 0.5 },
        rings: Rings { mean: ring, worst: 2.0 * ring, worst_frame: frame },
    };
    let report = |mean: f64, ring: f64, frame: u64| Report {
        zoom: figures(mean, ring, frame),
        keyframes: Scores { perceptor: mean / 50.0, judge: 0.25 },
        feedback: figures(mean / 2.0, 1.0, 0),
    };
    assert!(Report::mean(&[]).is_none());
    let mean = Report::mean(&[report(40.0, 2.0, 7), report(20.0, 0.5, 3)]).unwrap();
    assert_eq!(mean.zoom.steadiness.mean, 30.0);
    assert_eq!(mean.zoom.steadiness.low, 28.0);
    assert!((mean.zoom.scores.perceptor - 0.3).abs() < 1e-12);
    assert!((mean.keyframes.perceptor - 0.6).abs() < 1e-12);
    assert!((mean.zoom.rings.mean - 1.0).abs() < 1e-12);
    assert_eq!((mean.zoom.rings.worst, mean.zoom.rings.worst_frame), (4.0, 7));
    assert_eq!(mean.feedback.steadiness.mean, 15.0);
}
