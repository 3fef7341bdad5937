//! `vqfarm plan`: what a job costs, and how it scales.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use vqfarm_core::cost::{Cost, Estimate, cost, makespan};
use vqfarm_core::plan::{Content, Plan};

use crate::estimate;
use crate::failure::Failure;
use crate::job::{self, JobArgs};
use crate::style;

/// Show a job's layers and tasks, its iterations in all and on the critical path, and the time
/// that workers need for it
///
/// Composing, storing and stitching count as nothing beside the iterations. Hours are by what
/// renders on this machine have measured of pictures alike; what a farm's workers have,
/// `vqfarm submit --dry-run` says.
#[derive(Args)]
pub struct PlanArgs {
    #[command(flatten)]
    job: JobArgs,
    /// How many workers that are alike
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    workers: u64,
    /// Iterations a second of one worker, in place of what was measured
    #[arg(long, value_name = "N")]
    pace: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: PlanArgs) -> Result<ExitCode, Failure> {
    if args.pace.is_some_and(|pace| !(pace.is_finite() && pace > 0.0)) {
        return Err(Failure::Usage("--pace: write iterations a second, more than 0".into()));
    }
    let library = job::library(args.job.models.as_deref())?;
    let job = job::load(&args.job, &library)?.job;
    let plan = Plan::new(&job).context("the job has no plan")?;
    let cost = cost(&plan).context("the job's cost")?;
    let time = makespan(&plan, args.workers).context("the job's time")?;
    let estimate = estimate::of(&job, &plan, &library)?;
    let measured = estimate.time.as_ref().filter(|_| estimate.iterations > 0);
    let pace = args.pace.or(measured.map(|time| estimate.iterations as f64 / time.seconds));
    let seconds = pace.map(|pace| time as f64 / pace);
    if args.json {
        print_json(&args, &plan, &cost, (time, seconds), &estimate).context("print")?;
    } else {
        print(&args, &plan, &cost, (time, seconds), &estimate).context("print")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print_json(
    args: &PlanArgs,
    plan: &Plan,
    cost: &Cost,
    (time, seconds): (u64, Option<f64>),
    estimate: &Estimate,
) -> io::Result<()> {
    let layers: Vec<_> = cost
        .layers
        .iter()
        .zip(&plan.layers)
        .map(|(cost, layer)| {
            json!({
                "name": cost.name,
                "tasks": cost.tasks,
                "dependency": layer.dependency,
                "iterations": cost.iterations,
            })
        })
        .collect();
    let answer = json!({
        "frames": plan.frames(),
        "layers": layers,
        "total_iterations": cost.total_iterations,
        "critical_path_iterations": cost.critical_path_iterations,
        "workers": args.workers,
        "iterations_until_done": time,
        "seconds": seconds,
        "estimate": estimate::as_json(estimate),
    });
    writeln!(io::stdout(), "{answer}")
}

fn print(
    args: &PlanArgs,
    plan: &Plan,
    cost: &Cost,
    (time, seconds): (u64, Option<f64>),
    estimate: &Estimate,
) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let head = format!("{:<16} {:>10} {:<12} {:>14}", "layer", "tasks", "runs", "iterations");
    writeln!(out, "{}", style::strong(&head))?;
    for (cost, layer) in cost.layers.iter().zip(&plan.layers) {
        use vqfarm_core::plan::Dependency::{All, Chain, Independent, Neighbours};
        let runs = match layer.dependency {
            Independent => "at once",
            Chain => "one by one",
            Neighbours => "by neighbours",
            All => "after all",
        };
        writeln!(out, "{:<16} {:>10} {runs:<13} {:>13}", cost.name, cost.tasks, cost.iterations)?;
    }
    writeln!(out, "\nframes          {:>12}", plan.frames())?;
    writeln!(out, "iterations      {:>12}", cost.total_iterations)?;
    writeln!(out, "critical path   {:>12}", cost.critical_path_iterations)?;
    let workers =
        if args.workers == 1 { "1 worker".into() } else { format!("{} workers", args.workers) };
    let speedup = cost.total_iterations as f64 / time.max(1) as f64;
    writeln!(out, "{workers:<15} {time:>12}  {speedup:.1} times as fast as one")?;
    match seconds {
        Some(seconds) => writeln!(out, "time            {seconds:>10.0} s")?,
        None => writeln!(out, "time            --pace N gives seconds")?,
    }
    let is_sweep = matches!(plan.content, Content::Sweep(_));
    writeln!(out, "\n{}", estimate.sentence(is_sweep))
}
