//! What a job will take, before anything of it runs, and whether that is meant.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use vqfarm_core::cost::{self, Estimate};
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_core::requires::Memory;
use vqfarm_core::speed::{Speeds, Workload};
use vqfarm_weights::library::Library;
use vqfarm_weights::memory::{Batch, Networks};

use crate::confirm;
use crate::failure::Failure;

const HOUR: f64 = 3600.0;

/// When a large job is asked about.
#[derive(Debug, Args)]
pub struct ConfirmArgs {
    /// Do not ask before a large job
    #[arg(short, long)]
    yes: bool,

    /// A sweep of more cells is large
    #[arg(long, value_name = "N", default_value_t = cost::LARGE_CELLS, env = "VQFARM_LARGE_CELLS")]
    large_cells: u64,

    /// A job of more estimated hours of devices is large
    #[arg(long, value_name = "H", default_value_t = cost::LARGE_HOURS, env = "VQFARM_LARGE_HOURS",
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
        let large = estimate.is_large(is_sweep, self.large_cells, self.large_hours);
        if self.yes || !large {
            return Ok(());
        }
        if !confirm::can_ask() {
            return Err(Failure::Usage(format!(
                "a large job: {}; nothing was submitted; --yes goes on, --large-cells and \
                 --large-hours set what is large",
                estimate.sentence(is_sweep)
            )));
        }
        match confirm::agreed("a large job; go on?")? {
            true => Ok(()),
            false => Err(Failure::Usage("not confirmed; nothing was submitted".into())),
        }
    }
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
    let estimate = cost::estimate(plan, &hashes, &speeds).context("the job's cost")?;
    Ok(Estimate { memory: memory(job, plan, library).context("the job's memory")?, ..estimate })
}

/// What a device must have to make any of the pictures; none where a model is not on this machine.
fn memory(job: &Job, plan: &Plan, library: &Library) -> anyhow::Result<Option<Memory>> {
    let config = |name: String| Some((name.clone(), library.open(&name).ok()?.record.config));
    let configs = job.models().into_iter().filter_map(|model| config(model.name)).collect();
    let least = |render: &RenderSettings| {
        let networks = Networks::named(&render.generator, &render.perceptors, &configs)?;
        let bf16 = render.precision == Precision::Bf16;
        Some(networks.least(&Batch::single(render.size, render.cutouts.count, bf16)))
    };
    let each: Option<Vec<u64>> = cost::samples(plan)?.iter().map(least).collect();
    Ok(each.and_then(|each| Memory::of_bytes(each.into_iter().max()?).ok()))
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

pub fn as_json(estimate: &Estimate) -> Value {
    let time = estimate.time.as_ref();
    json!({
        "frames": estimate.frames,
        "iterations": estimate.iterations,
        "device_hours": time.map(|time| time.seconds / HOUR),
        "device": time.map(|time| &time.device),
        "memory": estimate.memory.map(Memory::bytes),
    })
}
