//! Jobs that only stitch: films made again, and early looks at jobs that run.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::video::held;
use vqfarm_tests::farm::{self, FRAMES, Farm, Setup, sweep, until};
use vqfarm_tests::film::{length, probe};

/// A film that needs no ffmpeg.
fn film(iterations: u32) -> String {
    format!("{}\n[output.video]\ncodec = \"gif\"\n", farm::film(iterations))
}

/// Submits a stitching, which must be taken.
fn stitch(farm: &Farm, arguments: &[&str]) -> JobId {
    let stdout = farm.vqfarm_ok(&[&["stitch"], arguments].concat());
    stdout.trim().parse().expect("the id goes to standard output")
}

fn source(farm: &Farm, id: JobId) -> Value {
    farm.job(id)["record"]["source"]["job"].clone()
}

fn done(farm: &Farm, id: JobId) {
    let ran = farm.wait(id);
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn a_finished_film_is_made_again_by_a_job_of_its_own() {
    let farm = Farm::new(Setup::with_s3());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&film(4), FRAMES);
    farm.prove(&job);
    let id = job.id.to_string();
    let frames = farm.stored.frames(job.id);

    let vp9 = ["last", "--codec", "vp9", "--fps", "24", "--request-id", "again"];
    let again = stitch(&farm, &vp9);
    done(&farm, again);
    assert_ne!(again, job.id);
    assert_eq!(source(&farm, again), id.as_str());
    let told = farm.job(again);
    assert_eq!((&told["priority"], &told["tasks"]["done"]), (&1.into(), &1.into()));
    assert_eq!(farm.stored.names(again, keys::FRAMES), [""; 0], "nothing was rendered");
    assert!(farm.stored.frames(job.id) == frames, "no frame was touched");
    assert!(farm.stored.get(job.id, "out/video.webm").is_none(), "the first film stays alone");

    farm.vqfarm_ok(&["fetch", &again.to_string(), "again"]);
    let stream = probe(&farm.bench.path("again/out/video.webm"));
    assert_eq!(
        (&stream["r_frame_rate"], &stream["nb_read_frames"]),
        (&"24/1".into(), &"12".into())
    );
    // What was fetched has no frames to stitch.
    let ran = farm.vqfarm(&["stitch", "again/"]);
    assert_eq!(ran.status, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("vqfarm fetch"), "{}", ran.stderr);

    // The same request is the same job, and a stitching of a stitching is of the frames.
    let same = farm.vqfarm_ok(&[&["stitch", &id][..], &vp9[1..]].concat());
    assert_eq!(same.trim(), again.to_string());
    let third = stitch(&farm, &[&again.to_string(), "--codec", "gif"]);
    done(&farm, third);
    assert_eq!(source(&farm, third), id.as_str());
    assert_eq!(farm.job(third)["record"]["spec"]["output"]["video"]["fps"], 24.0);
    farm.audit();
}

#[test]
fn a_stitching_survives_an_emptied_redis() {
    let mut farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&film(4), FRAMES);
    farm.prove(&job);
    let id = job.id.to_string();
    let made = stitch(&farm, &[&id, "--codec", "vp9"]);
    done(&farm, made);
    one.process.kill();
    let waiting = stitch(&farm, &[&id, "--codec", "gif", "--fps", "12", "--priority", "7"]);
    let cancelled = stitch(&farm, &[&id, "--codec", "webp"]);
    farm.vqfarm_ok(&["cancel", &cancelled.to_string()]);

    farm.restart_redis();
    until("all jobs are back", || {
        let ran = farm.vqfarm(&["jobs", "--json"]);
        (ran.status == 0 && ran.stdout.lines().count() == 4).then_some(())
    });
    let state = |id| (farm.state(id), farm.job(id)["priority"].as_i64());
    assert_eq!(state(job.id), ("done".into(), Some(0)));
    assert_eq!(state(made), ("done".into(), Some(1)));
    assert_eq!(state(waiting), ("waiting".into(), Some(7)));
    assert_eq!(state(cancelled), ("cancelled".into(), Some(1)));
    let _two = farm.worker("two", &[]);
    done(&farm, waiting);
    assert!(farm.stored.get(waiting, "out/video.gif").is_some());
    assert!(farm.stored.get(cancelled, "out/video.webp").is_none());
    farm.audit();
}

#[test]
fn a_running_film_can_be_seen_and_goes_on() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&film(40), FRAMES);
    let id = job.id.to_string();
    until("some frames are stored", || (farm.stored.frames(job.id).len() >= 4).then_some(()));
    // So that no frame comes between the counting and the film.
    farm.vqfarm_ok(&["pause", &id]);
    until("what was begun is done", || {
        let leased = |layer| farm.count(job.id, layer, "leased");
        (leased("shot-1") + leased("shot-2") == 0).then_some(())
    });
    let there: BTreeSet<u64> =
        farm.stored.frames(job.id).keys().filter_map(|name| keys::frame_index(name)).collect();
    assert!(there.len() < FRAMES, "the look came in time");

    let refused = farm.vqfarm(&["stitch", &id]);
    assert_eq!(refused.status, 1, "{}", refused.stderr);
    let words = format!("{} of {FRAMES} frames of job", FRAMES - there.len());
    assert!(refused.stderr.contains(&words), "{}", refused.stderr);
    assert!(refused.stderr.contains("vqfarm preview"), "{}", refused.stderr);

    let preview = ["preview", &id, "--codec", "h264", "--out", "early.mp4", "--json"];
    let told = farm.json(&preview);
    assert_eq!(told["files"], serde_json::json!(["early.mp4"]));
    assert_eq!((&told["frames"], &told["cells"]), (&there.len().into(), &FRAMES.into()));
    assert_eq!(length(&farm.bench.path("early.mp4")), held(&there).len());
    let looked: JobId = told["job"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    assert_eq!(farm.job(looked)["record"]["source"]["partial"], true);

    farm.vqfarm_ok(&["resume", &id]);
    farm.prove(&job);
}

#[test]
fn lost_frames_fail_a_stitching_and_lost_films_are_found_and_made_again() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&film(4), FRAMES);
    farm.prove(&job);
    let id = job.id.to_string();
    one.process.kill();
    let again = stitch(&farm, &[&id, "--codec", "gif"]);
    fs::write(farm.stored.job_path(job.id, &keys::frame(7)), b"not a picture").unwrap();
    let _two = farm.worker("two", &[]);
    let ran = farm.wait(again);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    let error = farm.tasks(again)[0]["last_error"].as_str().expect("why").to_owned();
    assert!(error.contains("the first is frame 7"), "{error}");
    // It takes the job that has the frames to make them again.
    assert_eq!(farm.vqfarm(&["audit", &id, "--repair"]).status, 0);
    done(&farm, job.id);
    farm.vqfarm_ok(&["retry", &again.to_string()]);
    done(&farm, again);

    fs::remove_file(farm.stored.job_path(again, "out/video.gif")).unwrap();
    let found = farm.vqfarm(&["audit", "--json"]);
    assert_eq!(found.status, 1, "{found:?}");
    assert!(found.stdout.contains("out/video.gif is missing"), "{}", found.stdout);
    assert_eq!(farm.vqfarm(&["audit", "--repair"]).status, 0);
    done(&farm, again);
    assert!(farm.stored.get(again, "out/video.gif").is_some());
    farm.audit();
}

#[test]
fn a_stitching_waits_for_ffmpeg_and_says_so() {
    let farm = Farm::new(Setup::default());
    let _blind = farm.worker_with("blind", &[], |command| {
        command.env("PATH", "/nonexistent");
    });
    let job = farm.submit(&film(4), FRAMES);
    farm.prove(&job);
    let ran = farm.vqfarm(&["stitch", "last", "--codec", "h264"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("ffmpeg"), "{}", ran.stderr);
    let id: JobId = ran.stdout.trim().parse().expect("an id");
    assert_eq!(farm.why(id)[0]["kind"], "tags");
    farm.audit();
    farm.vqfarm_ok(&["cancel", &id.to_string()]);
    assert_eq!((farm.wait(id).status, farm.state(id)), (3, "cancelled".into()));
    farm.audit();
}

#[test]
fn what_cannot_be_stitched_is_named_and_nothing_is_stored() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 4), 2);
    farm.prove(&job);
    let jobs = farm.stored.jobs();
    for (arguments, status, words) in [
        (&["stitch", "00000000"][..], 1, "no job 00000000"),
        (&["preview", "0123456789abcdef0123456789abcdef"], 1, "no job 0123456789abcdef"),
        (&["stitch", "last", "--fps", "30"], 2, "--fps: \"seeds\" has no film"),
        (&["stitch", "last", "--set", "sweep.axes.seed=\"1-9\""], 2, "only fields of [output]"),
        (
            &["stitch", "last", "--set", "output.contact_sheet.rows=sed"],
            2,
            "did you mean \"seed\"?",
        ),
        (&["preview", "last", "--out", "early.mp4"], 2, "it is made as .png"),
        (&["stitch", "last", "--request-id", "a/b"], 2, "--request-id"),
    ] {
        let ran = farm.vqfarm(arguments);
        assert_eq!(
            (ran.status, ran.stdout.as_str()),
            (status, ""),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(farm.stored.jobs(), jobs);

    farm.vqfarm_ok(&["preview", "last"]);
    assert!(image::open(farm.bench.path("seeds-preview.png")).is_ok());
    farm.audit();
}
