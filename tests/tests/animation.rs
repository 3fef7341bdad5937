//! Feedback films with the real programs: frames that follow from one another, whatever happens.

use vqfarm_core::event::Event;
use vqfarm_tests::film::{decode, make, probe, streams};
use vqfarm_tests::{Bench, events, finish, summary};

/// Two shots of a film for the tiny models.
const FILM: &str = r#"
version = 1
name = "tiny film"

[render]
size = [32, 32]
iterations = 8
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = { count = 2 }

[animation]
mode = "feedback"
frames = 12
fps = 6
fade = 2
[animation.prompts]
0 = "a red sun"
4 = "a blue sea"
8 = { prompt = "a green tree", cut = true }
[animation.motion]
zoom = 1.05
angle = "2*sin(2*pi*t/12)"
iterations = 4
[animation.feedback]
segment = 3
color_match = 0.5
noise = 0.01
sharpen = 0.2
"#;

/// Three seconds of a tone, in a file beside the job.
fn sing(bench: &Bench, file: &str) {
    make(&["-f", "lavfi", "-i", "sine=frequency=440:duration=3"], &bench.path(file));
}

/// Mean absolute difference of bytes.
fn apart(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    sum / a.len() as f64
}

fn pixels(png: &[u8]) -> Vec<u8> {
    image::load_from_memory(png).expect("a frame is a picture").to_rgb8().into_raw()
}

#[test]
fn a_film_has_every_frame_in_order_at_its_size_and_rate() {
    let bench = Bench::new(FILM);
    let ran = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let summary = summary(&events(&ran.stdout));
    assert_eq!((summary.frames, summary.rendered), (12, 12));
    let film = summary.video.expect("the film is told of");
    assert!(film.ends_with("out/video.mp4") && summary.contact_sheet.is_none());

    let stream = probe(&bench.path("o/out/video.mp4"));
    let facts = ["codec_name", "width", "height", "r_frame_rate", "nb_read_frames"];
    let facts = facts.map(|fact| stream[fact].to_string().replace('"', ""));
    assert_eq!(facts, ["h264", "32", "32", "6/1", "12"]);

    let frames: Vec<Vec<u8>> = bench.pictures("o").values().map(|png| pixels(png)).collect();
    let shown = decode(&bench.path("o/out/video.mp4"), frames[0].len());
    for (n, picture) in shown.iter().enumerate() {
        let distances: Vec<f64> = frames.iter().map(|frame| apart(frame, picture)).collect();
        // The tiny models' pictures are noise, of which video keeps half the colour.
        let others = distances.iter().enumerate().filter(|(other, _)| *other != n);
        let nearest = others.map(|(_, distance)| *distance).fold(f64::INFINITY, f64::min);
        assert!(distances[n] < 0.6 * nearest, "frame {n}: {distances:?}");
    }
}

#[test]
fn each_frame_starts_from_the_one_before_and_a_cut_from_nothing() {
    let bench = Bench::new(FILM);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let other = FILM.replace("zoom = 1.05", "zoom = \"0:(1.2) hold, 8:(1.05)\"");
    std::fs::write(bench.path("other.toml"), other).unwrap();
    assert_eq!(bench.render(&["other.toml", "--out", "p"]).status, 0);
    let (one, two) = (bench.pictures("o"), bench.pictures("p"));
    for n in 0..12 {
        let name = format!("{n:06}.png");
        let same = pixels(&one[&name]) == pixels(&two[&name]);
        assert_eq!(same, n == 0 || n >= 8, "{name}");
    }
}

#[test]
fn a_killed_film_goes_on_from_its_last_frame_and_is_the_same_bit_for_bit() {
    let bench = Bench::new(FILM);
    let slow = ["job.toml", "--set", "animation.motion.iterations=30", "--threads", "1"];
    let whole = bench.render(&[&slow[..], &["--out", "whole"]].concat());
    assert_eq!(whole.status, 0, "{}", whole.stderr);

    let mut running = bench.start(&[&slow[..], &["--out", "o"]].concat());
    // In the middle of a segment.
    running.wait_for_frames(5);
    running.kill_command();
    let _ = running.finish();
    let stored = bench.frames("o");
    assert!((5..12).contains(&stored.len()), "the fault came in time: {}", stored.len());

    let again = bench.render(&[&slow[..], &["--out", "o", "--json"]].concat());
    assert_eq!(again.status, 0, "{}", again.stderr);
    let events = events(&again.stdout);
    let rendered = |event: &&Event| matches!(event, Event::Frame { adopted: false, .. });
    assert_eq!(events.iter().filter(rendered).count(), 12 - stored.len());
    let frames = bench.frames("o");
    assert!(stored.iter().all(|(name, frame)| frames[name] == *frame), "stored frames stay");
    assert_eq!(bench.pictures("o"), bench.pictures("whole"));
    let film = |out: &str| std::fs::read(bench.path(out).join("out/video.mp4")).unwrap();
    assert!(film("o") == film("whole"), "the same film");
}

#[test]
fn a_damaged_frame_of_a_film_is_made_again_from_the_one_before() {
    let bench = Bench::new(FILM);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = bench.pictures("o");
    let victim = bench.path("o/frames/000004.png");
    std::fs::write(&victim, &before["000004.png"][..100]).unwrap();
    let again = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(bench.pictures("o"), before);
}

#[test]
fn the_number_of_threads_and_the_segments_change_no_picture() {
    let bench = Bench::new(FILM);
    assert_eq!(bench.render(&["job.toml", "--out", "one", "--threads", "1"]).status, 0);
    let two = ["job.toml", "--out", "two", "--threads", "2"];
    let segments = ["--set", "animation.feedback.segment=100"];
    assert_eq!(bench.render(&[&two[..], &segments[..]].concat()).status, 0);
    let pictures = |out: &str| -> Vec<Vec<u8>> {
        bench.pictures(out).values().map(|png| pixels(png)).collect()
    };
    assert_eq!(pictures("one"), pictures("two"));
}

#[test]
fn other_films_of_the_same_frames_render_nothing_again() {
    let bench = Bench::new(FILM);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = bench.frames("o");
    for (codec, file, name, frames) in [
        ("gif", "video.gif", "gif", "22"),
        ("vp9", "video.webm", "vp9", "22"),
        ("hevc", "video.mp4", "hevc", "22"),
        ("prores", "video.mov", "prores", "22"),
    ] {
        let ran = bench.render(&[
            "job.toml",
            "--out",
            "o",
            "--set",
            &format!("output.video.codec={codec}"),
            "--set",
            "output.video.ping_pong=true",
            "--set",
            "output.video.fps=12",
            "--set",
            "output.video.labels=true",
            "--json",
        ]);
        assert_eq!(ran.status, 0, "{codec}: {}", ran.stderr);
        assert_eq!(summary(&events(&ran.stdout)).rendered, 0);
        let stream = probe(&bench.path(&format!("o/out/{file}")));
        assert_eq!(
            (&stream["codec_name"], &stream["nb_read_frames"]),
            (&name.into(), &frames.into())
        );
    }
    assert_eq!(bench.frames("o"), before);
}

#[test]
fn a_film_gets_its_sound_after_its_frames_and_is_told_of_on_the_way() {
    let bench = Bench::new(FILM);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = bench.frames("o");
    sing(&bench, "song.mp3");
    let sound = "output.video.soundtrack=song.mp3";
    let ran = bench.render(&["job.toml", "--out", "o", "--set", sound, "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let events = events(&ran.stdout);
    assert_eq!(summary(&events).rendered, 0);
    assert!(events.contains(&Event::Stitching { done: 12, of: 12 }), "{events:?}");
    assert_eq!(bench.frames("o"), before, "no frame is another one for it");

    let told = streams(&bench.path("o/out/video.mp4"));
    let codec = |stream: usize| told[stream]["codec_name"].clone();
    assert_eq!((codec(0), codec(1)), ("h264".into(), "aac".into()));
    let assets = std::fs::read_dir(bench.path("o/assets")).unwrap();
    let assets: Vec<_> = assets.map(|asset| asset.unwrap().file_name()).collect();
    assert_eq!(assets.len(), 1);
    assert!(assets[0].to_string_lossy().ends_with(".mp3"), "{assets:?}");
}

#[test]
fn a_film_that_cannot_be_is_refused_before_anything_is_rendered() {
    let bench = Bench::new(FILM);
    sing(&bench, "song.ogg");
    std::fs::write(bench.path("list.mp3"), "#EXTM3U\nhttp://host/x.ts\n").unwrap();
    std::fs::write(bench.path("empty.mp3"), "ID3 and nothing more").unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["soundtrack=none.mp3"], "No such file"),
        (&["soundtrack=list.mp3"], "not a sound file\n"),
        (&["soundtrack=job.toml"], "help: MP3, M4A/MP4, "),
        (&["soundtrack=empty.mp3"], "ffmpeg cannot read it"),
        (&["soundtrack=/etc/passwd"], "leads away from the job file"),
        (&["soundtrack=song.ogg", "codec=webp"], "GIF, WebP and PNG have no sound"),
        (&["soundtrack=song.ogg", "soundtrack_start=9"], "it ends before second 9"),
        (&["codec=vp9", "hardware=true"], "GPUs encode h264, hevc and av1"),
        (&["pixel_format=nonsense"], "ffmpeg ended with"),
    ];
    for (fields, said) in cases {
        let mut arguments = vec!["job.toml".to_owned(), "--out".into(), "o".into()];
        for field in fields {
            arguments.extend(["--set".into(), format!("output.video.{field}")]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = bench.render(&arguments);
        assert_eq!(ran.status, 2, "{fields:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{fields:?}: {}", ran.stderr);
        assert!(bench.frames("o").is_empty() && !bench.path("o/out").exists(), "{fields:?}");
    }
}

#[test]
fn without_ffmpeg_gifs_and_pngs_are_made_and_other_films_are_refused_before_anything_is_rendered() {
    let bench = Bench::new(FILM);
    let render = |more: &[&str]| {
        let arguments = [&["render", "job.toml", "--out", "o"], more].concat();
        // The worker lies beside the command, so it needs no PATH.
        finish(bench.vqfarm(&arguments).env("PATH", "/nonexistent"))
    };
    let refused = render(&[]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no ffmpeg"), "{}", refused.stderr);
    assert!(bench.frames("o").is_empty());
    let gif = render(&["--set", "output.video.codec=gif"]);
    assert_eq!(gif.status, 0, "{}", gif.stderr);
    let bytes = std::fs::read(bench.path("o/out/video.gif")).unwrap();
    assert!(bytes.starts_with(b"GIF89a"));
    let png = render(&["--set", "output.video.codec=png"]);
    assert_eq!(png.status, 0, "{}", png.stderr);
    assert!(png.stdout.contains("out/frames.zip"), "{}", png.stdout);
}
