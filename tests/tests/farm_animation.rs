//! A film on the farm: its chains stay in order whoever dies, and come out as on one machine.

use std::process::Command;

use vqfarm_tests::farm::{FRAMES, Farm, Setup, film, until};

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

#[test]
fn a_soundtrack_goes_with_the_job_to_whoever_makes_the_film() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let tone = ["-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=3"];
    let sung = Command::new("ffmpeg").args(tone).arg(farm.path("song.flac")).status();
    assert!(sung.expect("ffmpeg is installed").success());
    let sound = "[output.video]\nsoundtrack = \"song.flac\"\nhardware = true\n";
    let job = farm.submit(&format!("{}{sound}", film(4)), FRAMES);
    farm.prove(&job);
    farm.vqfarm_ok(&["fetch", "last", "got"]);
    let asked = ["-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"];
    let film = farm.path("got/out/video.mp4");
    let told = Command::new("ffprobe").args(asked).arg(film).output().expect("ffprobe");
    assert_eq!(String::from_utf8_lossy(&told.stdout), "h264\naac\n");
    // The picture is too small for any GPU, and who looks for the reason finds it.
    let logs = farm.vqfarm_ok(&["logs", "last", "0", "--layer", "stitch"]);
    assert!(logs.contains("without a GPU"), "{logs}");
}
