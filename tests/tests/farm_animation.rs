//! A film on the farm: its chains stay in order whoever dies, and come out as on one machine.

use vqfarm_tests::farm::{Farm, Setup, until};

const FRAMES: usize = 12;

/// Two shots of six frames, in segments of three.
fn film(iterations: u32) -> String {
    format!(
        r#"
version = 1
name = "film"

[render]
size = [32, 32]
iterations = {iterations}
generator = "tiny-f4"
perceptors = ["tiny-clip"]
cutouts = {{ count = 2 }}

[animation]
mode = "feedback"
frames = {FRAMES}
fps = 6
[animation.prompts]
0 = "a red sun"
6 = {{ prompt = "a blue sea", cut = true }}
[animation.motion]
zoom = 1.04
iterations = {iterations}
[animation.feedback]
segment = 3
color_match = 0.5
"#
    )
}

#[test]
fn shots_run_side_by_side_and_give_the_film_of_a_standalone_render() {
    let farm = Farm::new(Setup::with_s3());
    let (_one, _two) = (farm.worker("one", &[]), farm.worker("two", &[]));
    let job = farm.submit(&film(12), FRAMES);
    until("both shots are under way", || {
        let leased = |layer| farm.count(job.id, layer, "leased");
        (leased("shot-1") + leased("shot-2") == 2).then_some(())
    });
    farm.prove(&job);
    let attempts = |layer| farm.stored.attempts(job.id, layer, 0).len();
    assert_eq!((attempts("shot-1"), attempts("shot-2")), (1, 1));
}

#[test]
fn f01_a_killed_workers_film_goes_on_from_its_last_stored_frame() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&film(40), FRAMES);
    // In the middle of a segment of either shot.
    until("some frames are stored", || {
        let stored = farm.stored.frames(job.id).len();
        (stored >= 4).then_some(())
    });
    one.process.freeze();
    one.process.kill();
    let before = farm.stored.written(job.id);
    assert!((4..FRAMES).contains(&before.len()), "the fault came in time: {}", before.len());
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
    let after = farm.stored.written(job.id);
    assert!(before.iter().all(|(name, time)| after[name] == *time), "stored frames stay");
}

#[test]
fn a_damaged_frame_of_a_finished_film_is_found_by_audit_and_made_again() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&film(4), FRAMES);
    farm.prove(&job);
    let path = farm.stored.job_path(job.id, "frames/000007.png");
    std::fs::write(&path, b"not a picture").unwrap();
    let ran = farm.vqfarm(&["audit", "--repair", "--json"]);
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    assert!(
        ran.stdout.contains("000007.png") && ran.stdout.contains("\"repaired\":true"),
        "{}",
        ran.stdout
    );
    farm.prove(&job);
}

#[test]
fn a_film_waits_for_a_worker_that_has_ffmpeg_and_says_so() {
    let farm = Farm::new(Setup::default());
    let _blind = farm.worker_with("blind", &[], |command| {
        command.env("PATH", "/nonexistent");
    });
    farm.write("job.toml", &film(4));
    let submitted = farm.vqfarm(&["submit", "job.toml"]);
    assert_eq!(submitted.status, 0, "{}", submitted.stderr);
    assert!(submitted.stderr.contains("ffmpeg"), "{}", submitted.stderr);
    until("the frames are done", || {
        let why = farm.vqfarm_ok(&["why", "last", "--json"]);
        let jobs = farm.rows(&["jobs", "--json"]);
        (jobs[0]["state"] == "running" && why.contains("ffmpeg")).then_some(())
    });
    let _sighted = farm.worker("sighted", &[]);
    until("the film is made", || {
        let jobs = farm.rows(&["jobs", "--json"]);
        (jobs[0]["state"] == "done").then_some(())
    });
    farm.audit();
}
