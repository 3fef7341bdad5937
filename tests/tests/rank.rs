//! Pictures searched by text, with the real perceptors.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use vqfarm_tests::farm::{Farm, Setup, json_lines, sweep};
use vqfarm_tests::{Bench, CELLS, Ran, SWEEP, finish, program};

fn run(bench: &Bench, arguments: &[&str]) -> Ran {
    finish(&mut bench.vqfarm(&[&["rank"], arguments].concat()))
}

/// Draws scenes of the demo models into a folder, a file each; answers with their captions.
fn draw_scenes(bench: &Bench, folder: &str, count: u32) -> Vec<String> {
    const SIDE: u32 = 96;
    let sheet = bench.path("scenes.png");
    let count_text = count.to_string();
    let arguments = ["scenes", "--held-out", "--count", &count_text, "--columns", "8", "--out"];
    let drawn = finish(Command::new(program("vqfarm-demo")).args(arguments).arg(&sheet));
    assert_eq!(drawn.status, 0, "{}", drawn.stderr);
    let sheet = image::open(sheet).unwrap();
    fs::create_dir(bench.path(folder)).unwrap();
    for n in 0..count {
        let at = |n: u32| 4 + n * (SIDE + 4);
        let scene = sheet.crop_imm(at(n % 8), at(n / 8), SIDE, SIDE);
        scene.save(bench.path(folder).join(format!("scene-{n:02}.png"))).unwrap();
    }
    drawn.stdout.lines().map(|line| line.trim_start().split_once("  ").unwrap().1.into()).collect()
}

#[test]
fn a_drawn_scene_is_found_by_its_caption() {
    let bench = Bench::new(SWEEP);
    let captions = draw_scenes(&bench, "scenes", 40);
    // What is no picture is passed over; what pretends to be one is told.
    fs::write(bench.path("scenes/notes.txt"), "not a picture").unwrap();
    fs::write(bench.path("scenes/broken.png"), "not a picture either").unwrap();
    let mut first = 0;
    for (n, caption) in captions.iter().enumerate().take(8) {
        let ran = run(&bench, &[caption, "scenes", "--perceptor", "demo-clip", "--json"]);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        assert!(ran.stderr.contains("broken.png: "), "{}", ran.stderr);
        assert!(ran.stderr.contains("the best 10 of 40 pictures, 1 could not be read"));
        let lines = json_lines(&ran.stdout);
        let scores: Vec<f64> = lines.iter().map(|line| line["score"].as_f64().unwrap()).collect();
        assert!(lines.len() == 10 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        let places: Vec<&Value> = lines.iter().map(|line| &line["place"]).collect();
        assert_eq!((places[0], places[9]), (&1.into(), &10.into()));
        first += usize::from(lines[0]["path"] == format!("scenes/scene-{n:02}.png"));
    }
    // The perceptor finds a picture's own caption among 64 for 98.8 %.
    assert!(first >= 7, "{first} of 8 found");
}

#[test]
fn frames_of_a_render_are_ranked_as_their_scores_say() {
    let bench = Bench::new(SWEEP);
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    let arguments = ["a red sun", "o", "--top", "50", "--json", "--sheet", "best.png"];
    let ran = run(&bench, &arguments);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let lines = json_lines(&ran.stdout);
    assert_eq!(lines.len(), CELLS);
    let scores: Vec<f64> = lines.iter().map(|line| line["score"].as_f64().unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    // Of cells with this very prompt, the score is the frame's own, but for the PNG's rounding.
    let mut table = csv::Reader::from_path(bench.path("o/out/scores.csv")).unwrap();
    let mut same = 0;
    for row in table.records().map(|row| row.unwrap()) {
        let line = lines.iter().find(|line| line["frame"].as_u64() == row[0].parse().ok()).unwrap();
        assert_eq!((&line["prompt"], &line["axes"]["colour"]), (&row[4].into(), &row[1].into()));
        if &row[4] == "a red sun" {
            same += 1;
            let (own, found) = (row[5].parse::<f64>().unwrap(), line["score"].as_f64().unwrap());
            assert!((own - found).abs() < 0.005, "{own} and {found}");
        }
    }
    assert_eq!(same, 2);
    let sheet = image::open(bench.path("best.png")).unwrap();
    assert!(sheet.width() > 4 * 192, "twelve cells, four in a row");
    // The first cell of the sheet is the best picture.
    let best = image::open(bench.path(lines[0]["path"].as_str().unwrap())).unwrap().to_rgb8();
    let worst = lines[CELLS - 1]["path"].as_str().unwrap();
    let worst = image::open(bench.path(worst)).unwrap().to_rgb8();
    let sheet = sheet.to_rgb8();
    let distance = |picture: &image::RgbImage| {
        let shown = image::imageops::resize(picture, 192, 192, image::imageops::CatmullRom);
        let at = (0..sheet.height() - 192).map(|y| {
            let difference = |(x, row, p): (u32, u32, &image::Rgb<u8>)| {
                let other = sheet.get_pixel(x + 33, y + row);
                p.0.iter().zip(other.0).map(|(a, b)| u64::from(a.abs_diff(b))).sum::<u64>()
            };
            shown.enumerate_pixels().map(difference).sum::<u64>()
        });
        at.take(200).min().unwrap()
    };
    assert_eq!(distance(&best), 0);
    assert!(distance(&worst) > 0);

    let table = run(&bench, &["a red sun", "o", "--top", "3"]);
    assert_eq!(table.stdout.lines().count(), 4, "{}", table.stdout);
    assert!(table.stdout.lines().nth(1).unwrap().contains(lines[0]["path"].as_str().unwrap()));
}

#[test]
fn what_cannot_be_ranked_is_named_with_the_remedy() {
    let bench = Bench::new(SWEEP);
    for folder in ["empty", "broken", "pictures"] {
        fs::create_dir(bench.path(folder)).unwrap();
    }
    fs::write(bench.path("broken/a.png"), "no picture").unwrap();
    image::RgbImage::new(8, 8).save(bench.path("pictures/a.png")).unwrap();
    for (arguments, status, words) in [
        (
            &["a sun", "nowhere"][..],
            2,
            "nowhere is no folder; name one, or a job of the farm by its id",
        ),
        (&["a sun", "empty"], 2, "empty holds no picture"),
        (&["a sun", "pictures"], 2, "say who judges with --perceptor: "),
        (&[" ", "pictures"], 2, "the text is empty"),
        (&["a sun", "pictures", "--top", "0"], 2, "0 is not in 1..=1000"),
        (&["a sun", "pictures", "--sheet", "x.jpg"], 2, "it is made as .png"),
        (&["a sun", "pictures", "--sheet", "empty"], 2, "this is a folder"),
        (&["a sun", "pictures", "--perceptor", "nobody"], 2, "nobody"),
        (&["a sun", "pictures", "--perceptor", "../x"], 2, "--perceptor ../x"),
        (&["a sun", "pictures", "--perceptor", "tiny-f4"], 2, "`tiny-f4` is not a perceptor"),
        (&["a sun", "broken", "--perceptor", "tiny-clip"], 1, "no picture that can be read"),
        (&["a sun", "pictures", "--perceptor", "tiny-clip", "--device", "tpu"], 2, "tpu"),
    ] {
        let ran = run(&bench, arguments);
        assert_eq!(ran.status, status, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    assert!(!Path::new(&bench.path("x.jpg")).exists());
}

#[test]
fn a_job_of_the_farm_is_ranked_where_it_is() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 2), 4);
    farm.prove(&job);
    let ranked = farm.vqfarm_ok(&["rank", "a red sun", "last", "--json", "--sheet", "best.png"]);
    let lines = json_lines(&ranked);
    assert_eq!(lines.len(), 4);
    for line in &lines {
        let key = format!("frames/{:06}.png", line["frame"].as_u64().unwrap());
        assert_eq!(line["path"], key);
    }
    assert!(farm.path("best.png").is_file());
    // The same as of the folder that it is fetched into.
    farm.vqfarm_ok(&["fetch", "last", "here"]);
    let of_folder = json_lines(&farm.vqfarm_ok(&["rank", "a red sun", "here", "--json"]));
    let scores = |lines: &[Value]| {
        lines.iter().map(|l| (l["frame"].clone(), l["score"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(scores(&of_folder), scores(&lines));
    let refused = farm.vqfarm(&["rank", "a sun", "abcdef"]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("no job abcdef"), "{}", refused.stderr);
}
