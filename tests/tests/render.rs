//! A sweep from its file to pictures, with the real programs.

use std::fs;

use vqfarm_core::event::Event;
use vqfarm_tests::{Bench, CELLS, SWEEP, events, finish, summary};

#[test]
fn a_sweep_becomes_frames_and_overviews() {
    let bench = Bench::new(SWEEP);
    let ran = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);

    let events = events(&ran.stdout);
    let started = events.iter().find(|event| matches!(event, Event::Started { .. }));
    let Some(Event::Started { cells, stored: 0, device, .. }) = started else {
        panic!("{started:?}")
    };
    assert_eq!((*cells, device.as_str()), (CELLS as u64, "cpu"));
    let summary = summary(&events);
    assert_eq!((summary.frames, summary.rendered), (CELLS as u64, CELLS as u64));
    assert_eq!((summary.failed, summary.interrupted), (0, false));
    assert!(summary.iterations_per_second > 0.0);

    let frames = bench.frames("o");
    assert_eq!(frames.len(), CELLS);
    let decoder = png::Decoder::new(std::io::Cursor::new(&frames["000003.png"].0));
    let info = decoder.read_info().unwrap().info().clone();
    assert_eq!((info.width, info.height), (32, 32));
    let text = |keyword: &str| {
        let chunk = info.utf8_text.iter().find(|chunk| chunk.keyword == keyword);
        chunk.unwrap_or_else(|| panic!("no {keyword}")).get_text().unwrap()
    };
    assert_eq!(text("prompt"), "a red tree");
    let settings: serde_json::Value = serde_json::from_str(&text("vqfarm")).unwrap();
    assert_eq!(settings["settings"]["seed"], 2);
    assert_eq!(settings["models"].as_object().unwrap().len(), 2);

    let sheet = image::open(bench.path("o/out/contact-sheet.png")).unwrap();
    assert!(sheet.width() > 3 * 96, "{}", sheet.width());
    let page = fs::read_to_string(bench.path("o/out/index.html")).unwrap();
    assert!(page.contains("tiny sweep") && page.contains("a green tree"));
    let mut scores = csv::Reader::from_path(bench.path("o/out/scores.csv")).unwrap();
    assert_eq!(
        scores.headers().unwrap(),
        vec!["index", "colour", "thing", "seed", "prompt", "score", "file", "identity", "error"]
    );
    let rows: Vec<_> = scores.records().map(|row| row.unwrap()).collect();
    assert_eq!(rows.len(), CELLS);
    assert!(rows.iter().all(|row| row[5].parse::<f64>().unwrap().abs() <= 1.0));
    let expanded = finish(&mut bench.vqfarm(&["expand", "job.toml", "--json"])).stdout;
    let cells =
        expanded.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    for (cell, row) in cells.zip(&rows) {
        assert_eq!((&cell["identity"], &cell["prompt"]), (&row[7].into(), &row[4].into()));
        assert_eq!(row[6], format!("frames/{:06}.png", cell["cell"].as_u64().unwrap()));
    }
}

#[test]
fn a_finished_render_run_again_changes_no_frame() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = bench.frames("o");
    let again = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(summary(&events(&again.stdout)).rendered, 0);
    assert_eq!(bench.frames("o"), before);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "one", "--threads", "1"]).status, 0);
    assert_eq!(bench.render(&["job.toml", "--out", "three", "--threads", "3"]).status, 0);
    assert_eq!(bench.pictures("one"), bench.pictures("three"));
}

#[test]
fn a_prompt_alone_is_a_job() {
    let bench = Bench::new(SWEEP);
    let ran = bench.render(&[
        "--prompt",
        "a red sun over the sea",
        "--seed",
        "7",
        "--set",
        "render.generator=tiny-f4",
        "--set",
        "render.perceptors=[\"tiny-clip\"]",
        "--set",
        "render.size=[32,32]",
        "--set",
        "render.iterations=3",
        "--set",
        "render.cutouts.count=2",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let picture = bench.path("out/a-red-sun-over-the-sea-7/frames/000000.png");
    assert!(picture.is_file(), "{}", ran.stdout);
    assert!(ran.stdout.contains("contact-sheet.png"), "{}", ran.stdout);
}

#[test]
fn a_damaged_frame_is_rendered_again_and_the_others_stay() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let before = bench.frames("o");
    let victim = bench.path("o/frames/000004.png");
    let bytes = &before["000004.png"].0;
    fs::write(&victim, &bytes[..bytes.len() / 2]).unwrap();
    let again = bench.render(&["job.toml", "--out", "o", "--json"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let events = events(&again.stdout);
    assert_eq!(summary(&events).rendered, 1);
    let warned = |event: &Event| matches!(event, Event::Warning { message } if message.contains("000004.png"));
    assert!(events.iter().any(warned), "{events:?}");
    for (name, (bytes, changed)) in bench.frames("o") {
        assert_eq!(bytes, before[&name].0, "{name}");
        assert_eq!(changed == before[&name].1, name != "000004.png", "{name}");
    }
}

#[test]
fn a_picture_says_enough_to_be_made_again() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let again = bench.render(&["--from", "o/frames/000005.png", "--out", "again"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    let pixels = |path: &str| image::open(bench.path(path)).unwrap().to_rgb8();
    assert!(pixels("again/frames/000000.png") == pixels("o/frames/000005.png"));

    // Braces that mean themselves stay that.
    let braces = r#"sweep.prompt="a {{{colour}|black}} {thing}""#;
    let all = bench.render(&["job.toml", "--set", braces, "--out", "braces"]);
    assert_eq!(all.status, 0, "{}", all.stderr);
    let frame = "braces/frames/000000.png";
    let again = bench.render(&["--from", frame, "--out", "braces-again"]);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(pixels("braces-again/frames/000000.png") == pixels(frame));
    assert!(!bench.path("braces-again/frames/000001.png").exists());

    let plain = image::RgbImage::new(8, 8);
    plain.save(bench.path("plain.png")).unwrap();
    fs::write(bench.path("none.png"), "no picture").unwrap();
    for (file, said) in [
        ("plain.png", "says nothing of how vqfarm made it"),
        ("none.png", "not a whole PNG"),
        ("gone.png", "No such file"),
    ] {
        let ran = bench.render(&["--from", file, "--out", "x"]);
        assert_eq!(ran.status, 2, "{file}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{file}: {}", ran.stderr);
    }
    assert!(!bench.path("x").exists());
}
