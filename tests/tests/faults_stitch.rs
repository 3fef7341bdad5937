//! The last step goes wrong, or finds that an earlier one has: the overviews appear whole or
//! not at all, and damaged frames are made again.
//! The numbers are those of the table in `docs/reliability.md`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use vqfarm_core::keys;
use vqfarm_testing::proxy::Fault;
use vqfarm_tests::farm::{Farm, Setup, Submitted, json_lines, sweep, until};

#[test]
fn f08_a_worker_killed_while_stitching_leaves_nothing_half_done() {
    let farm = Farm::new(Setup::with_s3());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 5), 4);
    farm.wait_for_count(job.id, "render", "done", 3);
    // Stitching begins with reading the frames: from here on that takes long.
    let s3 = one.wires.s3();
    s3.set(Fault::Delay(Duration::from_secs(1)));
    farm.wait_for_lease(job.id, "stitch", "one");
    s3.wait_until_fired(1);
    one.process.freeze();
    farm.wait_for_lease(job.id, "stitch", "one");
    one.process.kill();
    // Whatever is there is whole.
    farm.stored.outputs(job.id);
    assert_ne!(farm.state(job.id), "done");
    let frames = farm.stored.frames(job.id);

    let _two = farm.worker("two", &[]);
    until("stitched again", || {
        farm.stored.outputs(job.id);
        (farm.state(job.id) == "done").then_some(())
    });
    farm.prove(&job);
    assert_eq!(farm.stored.frames(job.id), frames, "no frame was rendered again");
}

/// How a stored frame can be wrong: truncated, altered, empty.
const DAMAGES: [fn(Vec<u8>) -> Vec<u8>; 3] = [
    |frame| frame[..frame.len() / 2].to_vec(),
    |mut frame| {
        let middle = frame.len() / 2;
        frame[middle] ^= 0x10;
        frame
    },
    |_| Vec::new(),
];

/// Damages three of the job's stored frames, each in another way; answers with all frames as
/// they were.
fn damage(farm: &Farm, job: &Submitted) -> BTreeMap<String, Vec<u8>> {
    let frames = farm.stored.frames(job.id);
    assert!(frames.len() >= DAMAGES.len(), "{}", frames.len());
    for ((name, bytes), damage) in frames.iter().zip(DAMAGES) {
        farm.stored.put(job.id, &format!("{}/{name}", keys::FRAMES), damage(bytes.clone()));
    }
    frames
}

#[test]
fn f15_damaged_frames_are_found_at_stitch_and_rendered_again() {
    let farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 20), 4);
    farm.wait_for_count(job.id, "render", "done", 3);
    one.process.freeze();
    assert!(!farm.stored.outputs(job.id), "the fault came in time");
    damage(&farm, &job);
    one.process.thaw();
    farm.prove(&job);
    assert!(one.process.log().contains("damaged"), "the fault was found");
}

#[test]
fn f15_damaged_frames_of_a_finished_job_are_found_by_audit_and_rendered_again() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(5, 5), 5);
    farm.prove(&job);
    let frames = damage(&farm, &job);
    let (lost, _) = frames.last_key_value().expect("five frames");
    let lost = farm.stored.job_path(job.id, &format!("{}/{lost}", keys::FRAMES));
    fs::remove_file(lost).expect("the frame is there");
    let wrong = DAMAGES.len() + 1;

    let found = farm.vqfarm(&["audit", "--json"]);
    assert_eq!(found.status, 1, "{found:?}");
    let audit = json_lines(&found.stdout);
    let problems = audit.iter().filter(|line| line["kind"] == "frame").count();
    assert_eq!((problems, audit.len()), (wrong, wrong + 1), "{audit:#?}");

    farm.vqfarm(&["audit", "--repair", "--json"]);
    farm.prove(&job);
}
