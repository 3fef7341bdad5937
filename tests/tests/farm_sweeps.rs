//! Sweeps as sets of cells, on a farm: what one job has rendered, no other one renders again.

use std::fs;

use serde_json::Value;
use vqfarm_storage::frame;
use vqfarm_tests::farm::{Farm, Setup, Submitted, reference, sweep};

/// Enough iterations to be measured.
const ITERATIONS: u32 = 12;

fn taken_over(farm: &Farm, job: &Submitted) -> u64 {
    farm.job(job.id)["taken_over"].as_u64().expect("a count")
}

/// The sweep by another name, so that its frames' settings are the same and its job is not.
fn renamed(cells: usize) -> String {
    sweep(cells, ITERATIONS).replace("name = \"seeds\"", "name = \"other\"")
}

#[test]
fn the_same_cells_are_rendered_once() {
    let farm = Farm::new(Setup::with_s3());
    let _one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(3, ITERATIONS), 3);
    farm.prove(&first);
    assert_eq!(taken_over(&farm, &first), 0);
    let again = farm.submit(&sweep(3, ITERATIONS), 3);
    farm.prove(&again);
    assert_eq!(taken_over(&farm, &again), 3, "nothing new");
    assert!(farm.stored.frames(again.id) == farm.stored.frames(first.id), "byte for byte");
    let wider = farm.submit(&renamed(5), 5);
    farm.prove(&wider);
    assert_eq!(taken_over(&farm, &wider), 3, "only the new cells are rendered");
    let shown = farm.vqfarm_ok(&["job", &wider.id.to_string()]);
    assert!(shown.contains("taken over 3 cells"), "{shown}");
    let other = farm.submit(&sweep(3, ITERATIONS + 1), 3);
    farm.prove(&other);
    assert_eq!(taken_over(&farm, &other), 0, "other pictures");
}

#[test]
fn what_is_damaged_or_gone_is_rendered_again_and_jobs_do_not_need_each_other() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(4, ITERATIONS), 4);
    farm.prove(&first);
    let damaged = farm.stored.job_path(first.id, "frames/000001.png");
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(farm.stored.job_path(first.id, "frames/000002.png")).unwrap();
    // A frame that is whole, but of another cell.
    let frame = |index: u64| farm.stored.job_path(first.id, &format!("frames/{index:06}.png"));
    fs::copy(frame(0), frame(3)).unwrap();
    let second = farm.submit(&sweep(4, ITERATIONS), 4);
    assert_eq!(farm.wait(second.id).status, 0);
    assert!(farm.stored.frames(second.id) == *reference(&farm.bench, &second.toml));
    assert_eq!(taken_over(&farm, &second), 1);
    // The first one goes, with all that was found by it.
    farm.vqfarm_ok(&["audit", &second.id.to_string()]);
    fs::remove_dir_all(farm.stored.job_path(first.id, "")).unwrap();
    let third = farm.submit(&renamed(4), 4);
    assert_eq!(farm.wait(third.id).status, 0);
    assert!(farm.stored.frames(third.id) == *reference(&farm.bench, &third.toml));
    assert_eq!(taken_over(&farm, &third), 4, "the second one has them all");
}

#[test]
fn frames_of_a_cancelled_job_are_taken_over() {
    let farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(4, 40), 4);
    farm.wait_for_count(first.id, "render", "done", 1);
    farm.vqfarm_ok(&["cancel", &first.id.to_string()]);
    let second = farm.submit(&sweep(4, 40), 4);
    farm.prove(&second);
    let taken = taken_over(&farm, &second);
    assert!((1..4).contains(&taken), "{taken}");
    drop(one);
}

#[test]
fn two_jobs_with_the_same_cells_at_the_same_time_are_both_right() {
    let farm = Farm::new(Setup::default());
    let jobs = [farm.submit(&sweep(4, ITERATIONS), 4), farm.submit(&renamed(4), 4)];
    let _workers = [farm.worker("one", &[]), farm.worker("two", &[])];
    for job in &jobs {
        farm.prove(job);
    }
}

#[test]
fn what_was_retried_is_taken_over_too() {
    let farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let first = farm.submit(&sweep(2, ITERATIONS), 2);
    farm.prove(&first);
    let second = farm.submit(&sweep(2, ITERATIONS), 2);
    farm.prove(&second);
    fs::remove_file(farm.stored.job_path(second.id, "frames/000001.png")).unwrap();
    farm.vqfarm_ok(&["retry", &second.id.to_string(), "--tasks", "1"]);
    farm.prove(&second);
}

#[test]
fn a_submit_says_what_it_takes_and_asks_before_a_large_one() {
    let farm = Farm::new(Setup::default());
    farm.write("job.toml", &sweep(3, ITERATIONS));
    let estimate = || -> Value {
        farm.json(&["submit", "job.toml", "--dry-run", "--json"])["estimate"].clone()
    };
    let unmeasured = estimate();
    assert_eq!((&unmeasured["frames"], &unmeasured["iterations"]), (&3.into(), &36.into()));
    assert!(unmeasured["device_hours"].is_null(), "{unmeasured}");

    let refused = farm.vqfarm(&["submit", "job.toml", "--large-cells", "2"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("3 cells, 36 iterations") && refused.stderr.contains("--yes"));
    assert!(farm.stored.jobs().is_empty(), "nothing is stored");

    let _one = farm.worker("one", &[]);
    let job = farm.submit_with(&sweep(3, ITERATIONS), 3, &["--large-cells", "2", "--yes"]);
    farm.prove(&job);
    let measured = estimate();
    assert!(measured["device_hours"].as_f64().is_some_and(|hours| hours > 0.0), "{measured}");
    let refused = farm.vqfarm(&["submit", "job.toml", "--large-hours", "0"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert_eq!(farm.stored.jobs(), [job.id]);
}

/// Steps so long that each iteration changes the picture.
fn far(toml: &str) -> String {
    toml.replace("[render]", "[render]\nstep_size = 1.0")
}

/// A sweep whose cells stop after five iterations, all but so many.
fn stopped_early(keep: u32) -> String {
    let toml = far(&sweep(5, ITERATIONS));
    format!("{toml}[sweep.early_stop]\niterations = 5\nkeep = {keep}\n")
}

/// The cells of a job's frames that have all their iterations.
fn whole_cells(farm: &Farm, job: &Submitted) -> Vec<u64> {
    let frames = farm.stored.whole_frames(job.id, job.cells);
    let infos = frames.values().map(|bytes| frame::decode(bytes).expect("a frame").0);
    infos.filter(|info| info.stopped.is_none()).map(|info| info.index).collect()
}

#[test]
fn a_farm_keeps_the_best_and_whatever_is_chosen_later() {
    let farm = Farm::new(Setup::with_s3());
    let _workers = [farm.worker("one", &[]), farm.worker("two", &[])];
    let job = farm.submit(&stopped_early(2), 5);
    farm.prove(&job);
    let best = whole_cells(&farm, &job);
    assert_eq!(best.len(), 2, "{best:?}");
    let other: u64 = (0..5).find(|cell| !best.contains(cell)).unwrap();
    let kept = farm.json(&["keep", &job.id.to_string(), &other.to_string(), "--json"]);
    assert_eq!(kept["continued"], 1, "{kept}");
    assert_eq!(farm.wait(job.id).status, 0);
    let mut all = [best, vec![other]].concat();
    all.sort_unstable();
    assert_eq!(whole_cells(&farm, &job), all);
    farm.audit();
    // It is to the bit what a render in one go makes.
    let plain = farm.submit(&far(&renamed(5)), 5);
    farm.prove(&plain);
    assert_eq!(taken_over(&farm, &plain), 3, "whole cells of the other job are no work");
    let pixels = |job: &Submitted, cell: u64| {
        let frames = farm.stored.frames(job.id);
        frame::decode(&frames[&format!("{cell:06}.png")]).expect("a frame").1
    };
    // Again: the choice is known, and nothing goes on.
    let again = farm.json(&["keep", &job.id.to_string(), &other.to_string(), "--json"]);
    assert_eq!(again["continued"], 0, "{again}");
    for cell in &all {
        assert!(pixels(&job, *cell) == pixels(&plain, *cell), "cell {cell}");
    }
    let stopped: Vec<u64> = (0..5).filter(|cell| !all.contains(cell)).collect();
    let same = stopped.iter().all(|cell| pixels(&job, *cell) == pixels(&plain, *cell));
    assert!(!same, "the iterations make a difference");
}

#[test]
fn what_is_chosen_first_takes_the_place_of_the_best() {
    let farm = Farm::new(Setup::default());
    let job = farm.submit(&stopped_early(2), 5);
    farm.vqfarm_ok(&["keep", &job.id.to_string(), "0,3-4"]);
    let refused = farm.vqfarm(&["keep", &job.id.to_string(), "5"]);
    assert_eq!(refused.status, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("no cell 5; the last is 4"), "{}", refused.stderr);
    let _one = farm.worker("one", &[]);
    assert_eq!(farm.wait(job.id).status, 0);
    assert_eq!(whole_cells(&farm, &job), [0, 3, 4]);
    let other = farm.submit(&sweep(2, ITERATIONS), 2);
    let refused = farm.vqfarm(&["keep", &other.id.to_string(), "0"]);
    assert!(refused.stderr.contains("[sweep.early_stop]"), "{}", refused.stderr);
}

#[test]
fn a_lost_queue_and_lost_previews_cost_time_only() {
    let mut farm = Farm::new(Setup::default());
    let one = farm.worker("one", &[]);
    let job = farm.submit(&stopped_early(1), 5);
    farm.wait_for_count(job.id, "preview", "done", 3);
    drop(one);
    farm.restart_redis();
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
    assert_eq!(whole_cells(&farm, &job).len(), 1);
    // A preview that is gone is made again where it is needed.
    fs::remove_file(farm.stored.job_path(job.id, "work/preview/000002.png")).unwrap();
    fs::remove_file(farm.stored.job_path(job.id, "frames/000002.png")).unwrap();
    farm.vqfarm_ok(&["retry", &job.id.to_string(), "--layer", "render", "--tasks", "2"]);
    farm.prove(&job);
}
