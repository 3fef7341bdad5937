//! A disk that is full, a reader that goes away.

use std::process::{Command, Stdio};

use vqfarm_tests::{Bench, CELLS, SWEEP, events, finish, program, summary};

#[test]
fn a_full_disk_is_said_with_its_file_and_costs_only_time() {
    let few = SWEEP.replacen("[\"red\", \"blue\", \"green\"]", "[\"red\"]", 1);
    let bench = Bench::new(&few);
    let whole = bench.render(&["job.toml", "--out", "whole"]);
    assert_eq!(whole.status, 0, "{}", whole.stderr);

    // A limit on the size of files is a disk that anybody may fill: the job's record just fits,
    // a frame does not. Without the trap the signal would end the program.
    let size = |file: &str| bench.path("whole").join(file).metadata().expect(file).len();
    let blocks = size("job.json").div_ceil(512);
    assert!(size("frames/000000.png") > blocks * 512, "a frame is larger than the record");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    let mut full = bench.vqfarm(&[]);
    let vqfarm = full.get_program().to_owned();
    let mut limited = Command::new("sh");
    limited
        .args(["-c", &script, "sh"])
        .arg(vqfarm)
        .args(["render", "job.toml", "--out", "o"])
        .current_dir(bench.path("."))
        .envs(full.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = finish(&mut limited);
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stderr.contains("File too large"), "the fault fired: {}", ran.stderr);
    assert!(ran.stderr.contains("frames/0000"), "the file is named: {}", ran.stderr);
    assert!(bench.frames("o").is_empty(), "no part of a frame is left");

    full.args(["render", "job.toml", "--out", "o", "--json"]);
    let again = finish(&mut full);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(summary(&events(&again.stdout)).rendered as usize, CELLS / 3);
    assert_eq!(bench.pictures("o"), bench.pictures("whole"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new(SWEEP);
    for arguments in [&["models", "list"][..], &["render", "job.toml", "--out", "o", "--json"]] {
        let mut command = bench.vqfarm(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program("vqfarm").display()));
        // Nobody reads from here on; every write meets a broken pipe.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the command ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {} {stderr}", output.status);
        assert!(!stderr.contains("panicked") && !stderr.contains("error"), "{stderr}");
    }
    assert_eq!(bench.render(&["job.toml", "--out", "o"]).status, 0);
    assert_eq!(bench.frames("o").len(), CELLS, "what was begun can be finished");
}
