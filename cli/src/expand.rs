//! `vqfarm expand`: the cells of a job, before anything runs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, Value, json};
use vqfarm_core::job::cell_identity;
use vqfarm_core::plan::Plan;
use vqfarm_core::sweep::{Cell, Sweep, label};

use crate::estimate;
use crate::failure::Failure;
use crate::job::{self, JobArgs};
use crate::style;

const EXAMPLES: &str = "\
Examples:
  vqfarm expand examples/sweep.toml
  vqfarm expand --prompt \"a {red|blue} {sun|moon}\" --axis seed=1-4
  vqfarm expand JOB.toml --json | jq -r .prompt | sort | uniq -c";

/// List the cells of a job: their values on the axes and their prompts
///
/// A cell's identity is a hash of all that decides its picture: cells of one identity look alike,
/// whichever job they are of. What all of them will take goes to standard error, with --json too.
#[derive(Args)]
#[command(after_long_help = EXAMPLES)]
pub struct ExpandArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Only the first N cells
    #[arg(long, value_name = "N")]
    head: Option<u64>,
    /// Print one JSON object a cell: its number, identity, prompt, values on the axes, settings
    #[arg(long)]
    json: bool,
}

pub fn run(args: ExpandArgs) -> Result<ExitCode, Failure> {
    let library = job::library(args.job.models.as_deref())?;
    let resolved = job::load(&args.job, &library)?;
    if resolved.job.animation.is_some() {
        let message = "an animation has frames, no cells: vqfarm plan and vqfarm plot show them";
        return Err(Failure::Usage(message.into()));
    }
    let sweep = resolved.job.cells().context("the job's cells")?;
    let hashes = estimate::hashes(&resolved.job, &library);
    let plan = Plan::new(&resolved.job).context("the job has no plan")?;
    let estimate = estimate::of(&resolved.job, &plan, &library)?;
    let shown = args.head.map_or(sweep.len(), |head| head.min(sweep.len()));
    let cells = (0..shown).map(|index| sweep.cell(index));
    if args.json {
        let mut out = io::stdout().lock();
        for cell in cells {
            let cell = cell.context("a cell")?;
            writeln!(out, "{}", as_json(&cell, &hashes)).context("print")?;
        }
    } else {
        let mut out = anstream::stdout().lock();
        for cell in cells {
            print(&mut out, &cell.context("a cell")?).context("print")?;
        }
    }
    anstream::eprintln!("{}", summary(&sweep, shown));
    anstream::eprintln!("{}", estimate.sentence(true));
    Ok(ExitCode::SUCCESS)
}

fn as_json(cell: &Cell, hashes: &BTreeMap<String, String>) -> Value {
    let axes: Map<String, Value> = cell.values.iter().cloned().collect();
    json!({
        "cell": cell.index,
        "identity": cell_identity(&cell.render, hashes),
        "prompt": cell.render.prompt,
        "axes": axes,
        "settings": cell.render,
    })
}

fn print(out: &mut impl Write, cell: &Cell) -> io::Result<()> {
    let values: Vec<String> =
        cell.values.iter().map(|(name, value)| format!("{name} {}", label(value))).collect();
    let number = style::strong(&format!("{:>6}", cell.index));
    writeln!(out, "{number}  {}", values.join(" · "))?;
    writeln!(out, "        {}", cell.render.prompt)
}

/// `16 cells (scene 4, style 2, seed 2)`.
fn summary(sweep: &Sweep, shown: u64) -> String {
    let axes: Vec<String> = sweep.axes().map(|(name, len)| format!("{name} {len}")).collect();
    let axes = if axes.is_empty() { String::new() } else { format!(" ({})", axes.join(", ")) };
    let cells = sweep.len();
    let noun = if cells == 1 { "cell" } else { "cells" };
    let first = if shown < cells { format!("the first {shown} of ") } else { String::new() };
    format!("{first}{cells} {noun}{axes}")
}
