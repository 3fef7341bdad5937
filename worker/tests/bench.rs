//! `vqfarm-worker bench` as people and scripts run it, with small networks.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::process::{Command, Output};

use serde_json::Value;

const WORKER: &str = env!("CARGO_BIN_EXE_vqfarm-worker");
const SMALL: [&str; 11] = [
    "bench",
    "--device",
    "cpu",
    "--models",
    "small",
    "--cutouts",
    "8",
    "--iterations",
    "1",
    "--warm-up",
    "1",
];

/// Threads that wait for each other sleep, so that a busy machine makes this slow, not endless.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("GOMP_SPINCOUNT", "0");
    command
}

fn bench(args: &[&str]) -> Output {
    command(WORKER).args(SMALL).args(args).output().unwrap()
}

fn rows(ran: &Output) -> Vec<Value> {
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = str::from_utf8(&ran.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("no {field} in {row}"))
}

#[test]
fn each_combination_is_one_line_whose_numbers_agree() {
    let rows = rows(&bench(&["--json", "--size", "32,64", "--batch", "1,2"]));
    let combinations: Vec<_> =
        rows.iter().map(|row| (row["size"].as_u64(), row["batch"].as_u64())).collect();
    let expected = [(32, 1), (32, 2), (64, 1), (64, 2)];
    assert_eq!(combinations, expected.map(|(size, batch)| (Some(size), Some(batch))));
    for row in &rows {
        let (seconds, rate) = (number(row, "seconds"), number(row, "iterations_per_second"));
        let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-6, "{a} {b}: {row}");
        close(rate * seconds, number(row, "batch"));
        close(number(row, "images_per_hour"), rate * 3600.0 / 300.0);
        close(number(row, "flops_per_second"), number(row, "flops_per_iteration") * rate);
        let share = number(row, "utilisation");
        close(share * number(row, "matrix_flops_per_second"), number(row, "flops_per_second"));
        assert!(0.0 < share && share < 1.0, "{row}");
        let stages: Vec<f64> =
            row["stages"].as_object().unwrap().values().map(|s| s.as_f64().unwrap()).collect();
        assert_eq!(stages.len(), 7, "{row}");
        let sum = stages.iter().sum::<f64>() / seconds;
        assert!((0.9..1.01).contains(&sum), "the stages are the iteration: {row}");
        assert!(number(row, "peak_memory") > 50e6 && row["precision"] == "float32", "{row}");
    }
    let flops = |at: usize| number(&rows[at], "flops_per_iteration");
    assert!(flops(0) == flops(1) && flops(2) > flops(0), "of one picture");
}

#[test]
fn what_is_estimated_is_a_little_more_than_what_is_taken() {
    // What is taken differs by a sixth from one run to the next: see docs/performance.md.
    let sizes = ["--json", "--size", "64,512"];
    let mut rows = rows(&bench(&sizes));
    rows.extend(self::rows(&bench(&[&sizes[..], &["--thrift", "frugal"]].concat())));
    for row in &rows {
        let share = number(row, "estimated_memory") / number(row, "peak_memory");
        assert!((1.0..1.6).contains(&share), "{share}: {row}");
    }
    let peak = |at: usize| number(&rows[at], "peak_memory");
    assert!(peak(3) < peak(1), "frugal is less: {rows:?}");
}

#[test]
fn what_does_not_fit_is_told_and_the_next_one_measured() {
    // The limit is the kernel's, so libtorch's allocator fails for real.
    let script = "ulimit -v 1500000; exec \"$@\"";
    let limited = |json: &[&str]| {
        let mut command = command("sh");
        command.args(["-c", script, "sh", WORKER]).args(SMALL);
        command.args(["--size", "2048,32"]).args(json).output().unwrap()
    };
    let rows = rows(&limited(&["--json"]));
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!((&rows[0]["size"], &rows[0]["out_of_memory"]), (&2048.into(), &true.into()));
    assert!(number(&rows[1], "seconds") > 0.0);
    let table = limited(&[]);
    let text = String::from_utf8_lossy(&table.stdout);
    assert!(table.status.success() && text.contains("2048     1  out of memory"), "{text}");
}

#[test]
fn nonsense_is_refused_by_name() {
    for (args, named) in [
        (["--size", "8"], "--size"),
        (["--batch", "0"], "--batch"),
        (["--precision", "f16"], "bf16"),
        (["--memory", "lots"], "16 GiB"),
    ] {
        let ran = bench(&args);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}
