//! Killed, interrupted, abandoned: nothing stored is lost, and going on gives the same pictures.

use std::collections::BTreeMap;

use vqfarm_tests::{Bench, CELLS, Ran, Running, SWEEP, events, summary};

/// Long enough that no run ends by itself between its first frames and the fault.
const SLOW: [&str; 2] = ["--set", "render.iterations=60"];

fn whole(bench: &Bench) -> BTreeMap<String, Vec<u8>> {
    let ran = bench.render(&[&["job.toml", "--out", "whole"], &SLOW[..]].concat());
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    bench.pictures("whole")
}

/// Starts a render, does something to it after two frames, goes on afterwards, and compares
/// with a render that nothing happened to.
fn survives(fault: impl FnOnce(&Running)) -> Ran {
    let bench = Bench::new(SWEEP);
    let arguments = [&["job.toml", "--out", "o", "--threads", "2"], &SLOW[..]].concat();
    let mut running = bench.start(&arguments);
    running.wait_for_frames(2);
    fault(&running);
    let ran = running.finish();
    let stored = bench.frames("o");
    assert!((2..CELLS).contains(&stored.len()), "the fault came in time: {}", stored.len());

    let again = bench.render(&[&["--json"], &arguments[..]].concat());
    assert_eq!(again.status, 0, "{}", again.stderr);
    let summary = summary(&events(&again.stdout));
    assert_eq!(summary.rendered as usize, CELLS - stored.len());
    let frames = bench.frames("o");
    for (name, frame) in &stored {
        assert_eq!(&frames[name], frame, "{name} was stored already");
    }
    assert_eq!(bench.pictures("o"), whole(&bench));
    ran
}

#[test]
fn a_killed_worker_loses_nothing() {
    let ran = survives(Running::kill_worker);
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("same command"), "{}", ran.stderr);
}

#[test]
fn a_killed_command_takes_its_worker_along_and_loses_nothing() {
    // `finish` waits for both: it would hang if the worker stayed.
    survives(Running::kill_command);
}

#[test]
fn ctrl_c_stores_what_is_finished_and_says_how_to_go_on() {
    let ran = survives(Running::interrupt);
    assert_eq!(ran.status, 130, "{}", ran.stderr);
    assert!(summary(&events(&ran.stdout)).interrupted);
}
