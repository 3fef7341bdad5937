use super::*;
use crate::file::{Document, JobError, Limits};
use crate::job::Job;
use crate::plan::{Dependency, Plan, TaskSpec};
use crate::prompt;

fn read(text: &str) -> Result<Job, JobError> {
    let text = format!("version = 1\n[render]\nprompt = \"a tree\"\n{text}");
    let document = Document::parse("film.toml", text.as_bytes())?;
    document.job(Limits::default(), |_| Ok(Vec::new()))
}

fn film(text: &str) -> Timeline {
    let job = read(text).unwrap_or_else(|error| panic!("{error}"));
    let animation = job.animation.clone().expect("an animation");
    Timeline::new(&job, &animation).unwrap()
}

const FEEDBACK: &str = "[animation]\nmode = \"feedback\"\n";

#[test]
fn frames_follow_from_one_another_with_the_cameras_numbers() {
    let film = film(&format!(
        "iterations = 50\nstep_size = \"0:(0.1), 10:(0.2)\"\n{FEEDBACK}frames = 40\n\
         [animation.motion]\nzoom = \"0:(1.02), 10:(1.04)\"\nangle = 0.5\nedge = \"wrap\"\n"
    ));
    let first = film.frame(0).unwrap();
    assert_eq!((first.start, first.render.iterations), (Start::Fresh, 50));
    let fifth = film.frame(5).unwrap();
    let Start::Moved(step) = fifth.start else { panic!("it follows from the fourth") };
    assert!((step.warp.zoom - 1.03).abs() < 1e-12 && step.warp.angle == 0.5);
    assert_eq!((step.warp.edge, step.warp.center), (Edge::Wrap, [0.5, 0.5]));
    assert_eq!((fifth.render.iterations, step.reference), (12, 0));
    assert!((fifth.render.step_size - 0.15).abs() < 1e-12);
    assert!(film.frame(40).is_err());
}

#[test]
fn prompts_fade_into_one_another_and_cuts_begin_shots() {
    let film = film(&format!(
        "{FEEDBACK}frames = 40\nfade = 3\n[animation.prompts]\n0 = \"a forest | fog:-0.5\"\n\
         10 = \"a city:2\"\n20 = {{ prompt = \"a desert\", cut = true }}\n\
         30 = {{ prompt = \"the sea\", fade = 0 }}\n"
    ));
    let prompt = |frame| film.frame(frame).unwrap().render.prompt;
    assert_eq!(prompt(9), "a forest | fog:-0.5");
    assert_eq!(prompt(10), "a forest:0.75 | fog:-0.375 | a city:0.5");
    assert_eq!(prompt(12), "a forest:0.25 | fog:-0.125 | a city:1.5");
    assert_eq!(prompt(13), "a city:2");
    assert_eq!(prompt(20), "a desert");
    assert_eq!(prompt(29), "a desert");
    assert_eq!(prompt(30), "the sea");
    let shots: Vec<_> = film.shots().iter().map(|shot| shot.frames.clone()).collect();
    assert_eq!(shots, [0..20, 20..40]);
    assert_eq!(film.frame(20).unwrap().start, Start::Fresh);
    assert_eq!(film.frame(20).unwrap().render.iterations, 300);
    assert_eq!(film.frame(25).unwrap().start.needs(25), [24, 20]);
}

#[test]
fn a_video_is_a_chain_only_where_the_frame_before_is_mixed_in() {
    let text = |blend: &str| {
        format!(
            "iterations = 30\n[animation]\nmode = \"video\"\nframes = 6\n\
             [animation.prompts]\n0 = \"a\"\n4 = {{ prompt = \"b\", cut = true }}\n\
             [animation.source]\nblend = {blend}\npictures = [{}]\n",
            ["\"p.png\""; 6].join(", ")
        )
    };
    let start = |blend| Start::Source { picture: "p.png".into(), blend };
    let apart = film(&text("0"));
    assert!(apart.is_independent() && !apart.is_chain());
    assert_eq!(apart.frame(5).unwrap().start, start(0.0));
    assert!(apart.frame(5).unwrap().start.needs(5).is_empty());
    assert_eq!(apart.frame(5).unwrap().render.iterations, 30);

    let chain = film(&text("\"0:(0), 2:(0.5)\""));
    assert!(chain.is_chain());
    let starts: Vec<_> = (0..6).map(|n| chain.frame(n).unwrap().start).collect();
    // The first frame of a shot has none before it.
    assert_eq!(starts, [0.0, 0.25, 0.5, 0.5, 0.0, 0.5].map(start));
    assert_eq!(chain.frame(5).unwrap().start.needs(5), [4]);
    assert_eq!(chain.shots().len(), 2);
}

#[test]
fn weights_may_be_schedules_and_texts_keep_their_colons() {
    let film = film(&format!(
        "{FEEDBACK}frames = 20\n[animation.prompts]\n0 = \"12:30 at night:(0:(1), 10:(0)):0.5 | \
         a (small) tree:(1 + t) | ratio 1:2:3\"\n"
    ));
    let parts = |frame| prompt::parse(&film.frame(frame).unwrap().render.prompt).unwrap().remove(0);
    let read = |frame| -> Vec<(String, f64, Option<f64>)> {
        parts(frame).into_iter().map(|part| (part.text, part.weight, part.stop)).collect()
    };
    assert_eq!(
        read(5),
        [
            ("12:30 at night".into(), 0.5, Some(0.5)),
            ("a (small) tree".into(), 6.0, None),
            ("ratio 1".into(), 2.0, Some(3.0)),
        ]
    );
    assert_eq!(read(10)[0].0, "a (small) tree", "what weighs nothing is left out");
}

#[test]
fn phases_share_the_frames() {
    let job = "version = 1\n[render]\nprompt = \"sun ^ moon ^ stars\"\n[animation]\n\
               mode = \"feedback\"\nframes = 9\nfade = 0\n";
    let document = Document::parse("film.toml", job.as_bytes()).unwrap();
    let job = document.job(Limits::default(), |_| Ok(Vec::new())).unwrap();
    let film = Timeline::new(&job, job.animation.as_ref().unwrap()).unwrap();
    let prompts: Vec<_> = (0..9).map(|n| film.frame(n).unwrap().render.prompt).collect();
    assert_eq!(prompts, ["sun", "sun", "sun", "moon", "moon", "moon", "stars", "stars", "stars"]);
}

#[test]
fn a_shot_is_a_chain_of_segments_and_the_film_waits_for_all_of_them() {
    let job = read(&format!(
        "{FEEDBACK}frames = 50\n[animation.feedback]\nsegment = 8\n[animation.prompts]\n\
         0 = \"a\"\n30 = {{ prompt = \"b\", cut = true }}\n"
    ))
    .unwrap();
    let plan = Plan::new(&job).unwrap();
    let layers: Vec<_> =
        plan.layers.iter().map(|l| (l.name.as_str(), l.tasks, l.dependency)).collect();
    assert_eq!(
        layers,
        [
            ("shot-1", 4, Dependency::Chain),
            ("shot-2", 3, Dependency::Chain),
            ("stitch", 1, Dependency::All),
        ]
    );
    assert_eq!(plan.task(0, 3), Ok(TaskSpec::Segment(24..30)));
    assert_eq!(plan.task(1, 0), Ok(TaskSpec::Segment(30..38)));
    assert_eq!(plan.task(2, 0), Ok(TaskSpec::Stitch));
    assert!(plan.task(1, 3).is_err() && plan.task(3, 0).is_err());
    assert_eq!(
        (plan.maker(29), plan.maker(30), plan.maker(50)),
        (Some((0, 3)), Some((1, 0)), None)
    );
    let stored = (0..20).chain(24..37).collect();
    assert_eq!(plan.made(&stored), [(0, 0..2), (0, 3..4)]);
}

#[test]
fn the_frames_of_a_zoom_come_from_coarse_to_fine() {
    let job = read("[animation]\nmode = \"zoom\"\nframes = 60\n").unwrap();
    let plan = Plan::new(&job).unwrap();
    let render = plan.layers.iter().position(|layer| layer.name == "render").unwrap() as u8;
    let tasks = plan.layers[usize::from(render)].tasks;
    let frames = |task| match plan.task(render, task) {
        Ok(TaskSpec::Segment(frames)) => frames,
        other => panic!("{other:?}"),
    };
    let starts: Vec<u64> = (0..tasks).map(|task| frames(task).start).collect();
    assert_eq!(starts, [0, 32, 16, 48, 8, 24, 40, 56]);
    assert_eq!(frames(7), 56..60);
    for task in 0..tasks {
        assert!(frames(task).all(|frame| plan.maker(frame) == Some((render, task))));
    }
    // Both ends and the middle, all but one frame of the second quarter.
    let stored = (0..8).chain(16..23).chain(32..40).chain(56..60).collect();
    assert_eq!(plan.made(&stored), [(render, 0..2), (render, 7..8)]);
}

#[test]
fn a_plan_that_only_stitches_renders_nothing_and_keeps_its_frames() {
    let film = read(&format!("{FEEDBACK}frames = 20\n")).unwrap();
    let plan = Plan::new(&film).unwrap().only_stitching();
    assert!(plan.only_stitches() && !Plan::new(&film).unwrap().only_stitches());
    assert_eq!((plan.frames(), plan.task(0, 0)), (20, Ok(TaskSpec::Stitch)));
    assert_eq!((plan.maker(0), plan.made(&(0..20).collect())), (None, Vec::new()));
    assert_eq!(plan.outputs(), ["out/video.mp4", "out/scores.csv"]);
    let sweep = Plan::new(&read("").unwrap()).unwrap();
    assert!(sweep.outputs().contains(&"out/index.html"));
    assert_eq!(sweep.only_stitching().outputs(), ["out/contact-sheet.png", "out/scores.csv"]);
}

#[test]
fn mistakes_stand_where_the_words_are() {
    let mistake = |text: &str, message: &str, caret: &str| {
        let error = read(text).expect_err(text);
        assert!(error.to_string().contains(message), "{error}");
        let place = error.problems[0].place.as_ref().unwrap();
        let marked: String = place.text.chars().skip(place.column - 1).take(place.width).collect();
        assert_eq!(marked, caret, "{error}");
    };
    let motion = |line: &str| format!("{FEEDBACK}frames = 40\n[animation.motion]\n{line}\n");
    mistake(
        &motion("zoom = \"0:(1.02), 9:(1 + sine(t))\""),
        "animation.motion.zoom: no function `sine`; did you mean `sin`?",
        "sine",
    );
    mistake(
        &motion("zoom = \"0:(1), 20:(9)\""),
        "it must be from 0.25 to 4 (at frame",
        "\"0:(1), 20:(9)\"",
    );
    mistake(&motion("angle = \"1/(t-7)\""), "comes to inf at frame 7", "\"1/(t-7)\"");
    mistake(&motion("zom = 1"), "did you mean \"zoom\"?", "zom");
    mistake(
        &format!("step_size = \"0:(0.1), 5:(0.2 +)\"\n{FEEDBACK}"),
        "animation.motion.step_size: expected a number",
        ")",
    );
    mistake(
        &format!("{FEEDBACK}frames = 10\n[animation.prompts]\n12 = \"late\"\n"),
        "animation.prompts.12: the animation ends at frame 9",
        "\"late\"",
    );
    mistake(
        &format!("{FEEDBACK}[animation.prompts]\nx = \"a\"\n"),
        "not the number of a frame",
        "x",
    );
    mistake(
        &format!("{FEEDBACK}[animation.prompts]\n0 = \"a:(2*tt)\"\n"),
        "animation.prompts.0: no variable `tt`",
        "tt",
    );
    mistake(&format!("{FEEDBACK}frames = 0\n"), "it must be from 1 to 100000", "0");
    mistake("[animation]\nmode = \"backwards\"\n", "\"backwards\" is not known", "\"backwards\"");
}

#[test]
fn frames_show_keyframes_down_to_a_few_pixels() {
    let deepest = |step, size| Zoom { step, ..Zoom::default() }.deepest(size);
    // 48, 24, 12 pixels, and 12 when the camera gets to the next one.
    assert_eq!(deepest(2.0, [96, 128]), 4);
    assert_eq!(deepest(1.2, [96, 96]), 14);
    assert_eq!(deepest(2.0, [4, 4]), 1);
}
