//! Films painted anew with the real programs: from a clip with sound, from a folder, on a farm.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use vqfarm_tests::farm::{Farm, Setup};
use vqfarm_tests::film::{make, streams};
use vqfarm_tests::{Bench, events, finish, summary};

/// A video for the tiny models; the source's fields follow.
const VIDEO: &str = r#"
version = 1
name = "tiny video"

[render]
prompt = "a red sun"
size = [32, 24]
iterations = 3
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = { count = 2 }
init_weight = 0.5

[animation]
mode = "video"

[animation.source]
"#;

fn video(source: &str) -> String {
    format!("{VIDEO}{source}\n")
}

/// Eight frames a second for a second, with a tone, 64 × 32.
fn clip(file: &Path) {
    let picture = "testsrc2=size=64x32:rate=8:duration=1";
    let tone = "sine=frequency=440:duration=1";
    let inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone];
    make(&[&inputs[..], &["-c:v", "libx264", "-c:a", "aac"]].concat(), file);
}

/// What the job folder says of the job.
fn record(bench: &Bench, out: &str) -> Value {
    let bytes = fs::read(bench.path(out).join("job.json")).expect("the record");
    serde_json::from_slice(&bytes).expect("the record is JSON")
}

/// The frames as pixels.
fn frames(pictures: BTreeMap<String, Vec<u8>>) -> Vec<image::RgbImage> {
    let decode = |png: &Vec<u8>| image::load_from_memory(png).expect("a picture").to_rgb8();
    pictures.values().map(decode).collect()
}

/// Mean absolute difference of bytes.
fn apart(a: &image::RgbImage, b: &image::RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let sum: f64 = a.iter().zip(b.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / a.len() as f64
}

#[test]
fn a_clip_is_painted_frame_by_frame_and_keeps_its_rate_and_sound() {
    let bench = Bench::new(&video("path = \"clip.mp4\""));
    clip(&bench.path("clip.mp4"));
    let ran = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(summary(&events(&ran.stdout)).frames, 8);

    let told = streams(&bench.path("o/out/video.mp4"));
    let kinds: Vec<_> = told.iter().map(|s| s["codec_name"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["h264", "aac"]);
    assert_eq!(
        (&told[0]["nb_read_frames"], &told[0]["avg_frame_rate"]),
        (&"8".into(), &"8/1".into())
    );
    assert_eq!((&told[0]["width"], &told[0]["height"]), (&32.into(), &24.into()));

    // The resolved job has pictures in the frame's shape and nothing of the path.
    let record = record(&bench, "o");
    let animation = &record["spec"]["animation"];
    assert_eq!((&animation["frames"], &animation["fps"]), (&8.into(), &8.0.into()));
    assert_eq!(animation["source"]["path"], Value::Null);
    let pictures = animation["source"]["pictures"].as_array().expect("pictures");
    let own: Vec<_> = pictures
        .iter()
        .map(|key| fs::read(bench.path("o").join(key.as_str().unwrap())).expect("a stored picture"))
        .collect();
    assert_eq!(own.len(), 8);
    let own: Vec<_> =
        own.iter().map(|png| image::load_from_memory(png).unwrap().to_rgb8()).collect();
    assert_eq!(own[0].dimensions(), (32, 24));
    assert_ne!(own[0], own[7], "the clip moves");

    // Rendering again does nothing; without sound and cut shorter it is another film.
    let again = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(summary(&events(&again.stdout)).rendered, 0, "{}", again.stderr);
    // Made again as what has no sound, it goes without.
    let gif = finish(&mut bench.vqfarm(&["stitch", "o", "--codec", "gif"]));
    assert_eq!(gif.status, 0, "{}", gif.stderr);
    assert_eq!(streams(&bench.path("o/out/video.gif")).len(), 1);
    let more = ["--set", "animation.source.audio=false", "--set", "animation.source.start=0.5"];
    let ran = bench.render(&[&["job.toml", "--out", "mute", "--json"], &more[..]].concat());
    assert_eq!(summary(&events(&ran.stdout)).frames, 4, "{}", ran.stderr);
    assert_eq!(streams(&bench.path("mute/out/video.mp4")).len(), 1);
}

#[test]
fn an_init_weight_holds_frames_to_the_source() {
    let bench = Bench::new(&video("path = \"clip.mp4\"\naudio = false"));
    clip(&bench.path("clip.mp4"));
    let render = |out: &str, weight: &str| {
        let set = format!("render.init_weight={weight}");
        let far = ["--set", "render.iterations=30", "--set", "render.step_size=0.3"];
        let more = [&["--set", &set, "--set", "animation.frames=2"][..], &far].concat();
        let ran = bench.render(&[&["job.toml", "--out", out][..], &more[..]].concat());
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        frames(bench.pictures(out))
    };
    let (bound, free) = (render("bound", "1000"), render("free", "0"));
    // The first iteration's picture: what the generator makes of the source alone.
    let start = bench.render(&[
        "job.toml",
        "--out",
        "start",
        "--set",
        "render.iterations=1",
        "--set",
        "render.step_size=0.000001",
        "--set",
        "animation.frames=2",
    ]);
    assert_eq!(start.status, 0, "{}", start.stderr);
    for (index, start) in frames(bench.pictures("start")).iter().enumerate() {
        let (bound, free) = (apart(&bound[index], start), apart(&free[index], start));
        assert!(bound < free, "frame {index}: {bound} with the weight, {free} without");
    }
}

#[test]
fn a_blended_video_is_a_chain_that_goes_on_where_it_was_left() {
    let bench = Bench::new(&video("path = \"stills\"\nblend = \"0:(0.5)\"\nfit = \"stretch\""));
    fs::create_dir(bench.path("stills")).expect("a folder");
    for (n, colour) in ["red", "green", "blue", "white", "black"].iter().enumerate() {
        let still = format!("color=c={colour}:size=50x20");
        let file = bench.path("stills").join(format!("{n}.png"));
        make(&["-f", "lavfi", "-i", &still, "-frames:v", "1"], &file);
    }
    fs::write(bench.path("stills/notes.txt"), "not a picture").expect("a file");
    let ran = bench.render(&["job.toml", "--out", "o"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let whole = bench.pictures("o");
    assert_eq!(whole.len(), 5);

    for lost in ["000002.png", "000003.png", "000004.png"] {
        fs::remove_file(bench.path("o/frames").join(lost)).expect("a frame");
    }
    let ran = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(summary(&events(&ran.stdout)).rendered, 3, "{}", ran.stderr);
    assert_eq!(bench.pictures("o"), whole);

    let alone = bench.render(&["job.toml", "--out", "alone", "--set", "animation.source.blend=0"]);
    assert_eq!(alone.status, 0, "{}", alone.stderr);
    let (blended, alone) = (frames(whole), frames(bench.pictures("alone")));
    assert_eq!(blended[0], alone[0], "the first frame follows from none");
    assert_ne!(blended[1], alone[1]);
}

#[test]
fn a_source_that_cannot_be_used_is_named_and_nothing_is_written() {
    let bench = Bench::new(&video("path = \"clip.mp4\""));
    fs::write(bench.path("clip.mp4"), "no film at all").expect("a file");
    fs::create_dir(bench.path("empty")).expect("a folder");
    let path = "animation.source.path";
    for (set, words) in [
        ("name=x", &[path, "clip.mp4", "cannot read"][..]),
        ("animation.source.path=nowhere.mp4", &[path, "nowhere.mp4", "No such file"]),
        ("animation.source.path=empty", &[path, "no PNG"]),
        ("animation.source.path=http://127.0.0.1:9/x.mp4", &[path, "No such file"]),
        ("animation.source.fit=squeeze", &["animation.source.fit", "cover"]),
        ("animation.mode=feedback", &["animation.source", "mode = \"video\""]),
    ] {
        let ran = bench.render(&["job.toml", "--out", "o", "--set", set]);
        assert_eq!(ran.status, 2, "{set}: {}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{set}: no {word:?} in {}", ran.stderr);
        }
    }
    clip(&bench.path("clip.mp4"));
    for (set, words) in [
        ("animation.frames=9", &["animation.frames", "9 frames of a source that has 8"][..]),
        ("animation.motion.zoom=1.1", &["animation.motion", "camera of its source"]),
        ("animation.feedback.noise=0.1", &["animation.feedback", "only segment"]),
        ("animation.source.blend=2", &["animation.source.blend", "0 to 1"]),
    ] {
        let ran = bench.render(&["job.toml", "--out", "o", "--set", set]);
        assert_eq!(ran.status, 2, "{set}: {}", ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{set}: no {word:?} in {}", ran.stderr);
        }
    }
    let mut without = bench.vqfarm(&["render", "job.toml", "--out", "o"]);
    let ran = finish(without.env("PATH", "/nowhere"));
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("ffmpeg"), "{}", ran.stderr);
    assert!(!bench.path("o").exists());
}

#[test]
fn a_farm_paints_the_same_film_and_takes_more_pictures_than_a_message_holds() {
    let farm = Farm::new(Setup::with_s3());
    let _one = farm.worker("one", &[]);
    // Noise does not compress: two of these do not fit into one portion.
    let names: Vec<String> = (0..3u32)
        .map(|n| {
            let mut state = u64::from(n);
            let mut random = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            };
            let noise = image::RgbImage::from_fn(2000, 1600, |_, _| {
                image::Rgb([random(), random(), random()])
            });
            let name = format!("noise-{n}.png");
            noise.save(farm.path(&name)).expect("a picture is written");
            name
        })
        .collect();
    let pictures = video(&format!("pictures = {names:?}"));
    let three = "mode = \"video\"\nframes = 3\nfps = 3";
    let job = farm.submit(&pictures.replacen("mode = \"video\"", three, 1), 3);
    farm.prove(&job);
    let again = farm.vqfarm(&["submit", "job.toml", "--priority", "-1"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stderr.contains("portions sent ahead"), "{}", again.stderr);
    // A job that is refused leaves nothing behind, whatever it would have brought along.
    let before = farm.stored.jobs();
    farm.write(
        "bad.toml",
        &pictures.replacen("mode = \"video\"", "mode = \"video\"\nframes = 4", 1),
    );
    assert_eq!(farm.vqfarm(&["submit", "bad.toml"]).status, 2);
    assert_eq!(farm.stored.jobs(), before);
}
