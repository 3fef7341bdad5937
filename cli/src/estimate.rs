//! What a job will take, before anything of it runs, and whether that is meant.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use vqfarm_core::cost::{self, DeviceTime, Estimate};
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::speed::{Speeds, Workload};
use vqfarm_weights::library::Library;

use crate::failure::Failure;

const HOUR: f64 = 3600.0;

/// When a large job is asked about.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Do not ask before a large job
    #[arg(short, long)]
    yes: bool,

    /// A sweep of more cells is large
    #[arg(long, value_name = "N", default_value_t = 1000, env = "VQFARM_LARGE_CELLS")]
    large_cells: u64,

    /// A job of more estimated hours of devices is large
    #[arg(long, value_name = "H", default_value_t = 24.0, env = "VQFARM_LARGE_HOURS",
          value_parser = hours)]
    large_hours: f64,
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hours) if hours >= 0.0 && hours.is_finite() => Ok(hours),
        _ => Err("it must be a number of hours, as in 24 or 0.5".into()),
    }
}

impl ConfirmArgs {
    /// Asks whether a large job is meant, where somebody is there to answer.
    ///
    /// # Errors
    /// It is not; or nobody can be asked, and nobody said yes beforehand.
    pub fn confirm(&self, estimate: &Estimate, is_sweep: bool) -> Result<(), Failure> {
        let hours = estimate.time.as_ref().map_or(0.0, |time| time.seconds / HOUR);
        let large = is_sweep && estimate.frames > self.large_cells || hours > self.large_hours;
        if self.yes || !large {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Err(Failure::Usage(format!(
                "a large job: {}; nothing was submitted; --yes goes on, --large-cells and \
                 --large-hours set what is large",
                sentence(estimate, is_sweep)
            )));
        }
        anstream::eprint!("a large job; go on? [y/N] ");
        io::stderr().flush().context("ask")?;
        if is_yes(&mut io::stdin().lock()).context("read the answer")? {
            return Ok(());
        }
        Err(Failure::Usage("not confirmed; nothing was submitted".into()))
    }
}

fn is_yes(answer: &mut impl BufRead) -> io::Result<bool> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// What a job will take by what renders on this machine have measured.
///
/// # Errors
/// A frame cannot be computed.
pub fn of(job: &Job, plan: &Plan, library: &Library) -> anyhow::Result<Estimate> {
    let hashes = hashes(job, library);
    let mut speeds = Speeds::default();
    for workload in cost::workloads(plan, &hashes).context("the job's cost")? {
        read_speeds(library, workload, &mut speeds);
    }
    cost::estimate(plan, &hashes, &speeds).context("the job's cost")
}

/// SHA-256 of each of the job's models that is on this machine, by name.
pub fn hashes(job: &Job, library: &Library) -> BTreeMap<String, String> {
    let hash = |name: String| Some((name.clone(), library.open(&name).ok()?.sha256));
    job.models().into_iter().filter_map(|model| hash(model.name)).collect()
}

/// What cannot be read is as good as not measured.
fn read_speeds(library: &Library, workload: Workload, speeds: &mut Speeds) {
    let folder = library.root().join(workload.folder());
    let Ok(files) = fs::read_dir(&folder) else { return };
    for file in files.flatten() {
        let size = file.file_name().to_str().and_then(keys::speed_size);
        let speed = fs::read(file.path()).ok().and_then(|b| serde_json::from_slice(&b).ok());
        if let (Some(size), Some(speed)) = (size, speed) {
            speeds.add(workload.clone(), size, speed);
        }
    }
}

/// `16 cells, 3200 iterations, about 0.4 GPU hours`.
pub fn sentence(estimate: &Estimate, is_sweep: bool) -> String {
    let Estimate { frames, iterations, time } = estimate;
    let noun = match (is_sweep, *frames) {
        (true, 1) => "cell",
        (true, _) => "cells",
        (false, 1) => "frame",
        (false, _) => "frames",
    };
    let time = match time {
        None => "; hours unknown: pictures like these were not measured yet".to_owned(),
        Some(DeviceTime { seconds, device }) => {
            let kind = match device.as_str() {
                "cuda" => "GPU",
                "cpu" => "CPU",
                _ => "device",
            };
            format!(", about {} {kind} hours", rounded(seconds / HOUR))
        }
    };
    format!("{frames} {noun}, {iterations} iterations{time}")
}

/// Two digits that count, and no more than are known.
fn rounded(hours: f64) -> String {
    match hours {
        0.0..0.01 => "0.01".to_owned(),
        0.01..0.1 => format!("{hours:.2}"),
        0.1..10.0 => format!("{hours:.1}"),
        _ => format!("{hours:.0}"),
    }
}

pub fn as_json(estimate: &Estimate) -> Value {
    let time = estimate.time.as_ref();
    json!({
        "frames": estimate.frames,
        "iterations": estimate.iterations,
        "device_hours": time.map(|time| time.seconds / HOUR),
        "device": time.map(|time| &time.device),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\n", true),
            (" yes ", true),
            ("\n", false),
            ("", false),
            ("n", false),
            ("yellow\n", false),
        ] {
            assert_eq!(is_yes(&mut answer.as_bytes()).unwrap(), yes, "{answer:?}");
        }
    }

    #[test]
    fn an_estimate_is_read_as_a_sentence() {
        let time = |seconds, device: &str| Some(DeviceTime { seconds, device: device.into() });
        let estimate = |frames, time| Estimate { frames, iterations: 300, time };
        for (estimate, is_sweep, said) in [
            (estimate(1, time(1.0, "cuda")), true, "1 cell, 300 iterations, about 0.01 GPU hours"),
            (
                estimate(2, time(4500.0, "cpu")),
                false,
                "2 frames, 300 iterations, about 1.2 CPU hours",
            ),
            (
                estimate(2, time(360_000.0, "cpu and cuda")),
                true,
                "2 cells, 300 iterations, about 100 device hours",
            ),
            (
                estimate(2, None),
                true,
                "2 cells, 300 iterations; hours unknown: pictures like these were not measured yet",
            ),
        ] {
            assert_eq!(sentence(&estimate, is_sweep), said);
        }
    }
}
