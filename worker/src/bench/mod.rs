//! How fast this machine renders, and in how much memory: the published models' sizes with made-up
//! weights.

mod measure;
mod rate;
mod sizes;
mod table;

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use vqfarm_core::render::Precision;
use vqfarm_engine::session::Options;

use crate::farm::amount;
use measure::{Outcome, measure};
use sizes::Models;
#[cfg(test)]
pub(crate) use sizes::published;

/// Measure iterations a second, memory and what the device is used for
///
/// Networks of real sizes with made-up weights, which need no download: speed does not depend on
/// what the weights say. Each combination of --size, --batch and --precision is measured in a
/// process of its own, so that its peak memory is its own; one that does not fit is told of, and
/// the next one tried.
///
/// Utilisation is the share of the device's speed at a large product of matrices, which is
/// measured too.
///
/// Examples:
///   vqfarm-worker bench
///   vqfarm-worker bench --device cuda --batch 1,2,4,8,16 --precision bf16
///   vqfarm-worker bench --size 512,1024 --iterations 1 --memory 8GiB --json
#[derive(Clone, Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct BenchArgs {
    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,

    /// Sides of the square pictures in pixels, as in 256,512
    #[arg(long, value_name = "PIXELS", default_value = "256", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(16..=4096))]
    size: Vec<u32>,

    /// Pictures that are computed together, as in 1,2,4,8; a CPU computes one after another
    #[arg(long, value_name = "N", default_value = "1", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    batch: Vec<u32>,

    /// float32, tf32 or bf16; what a CPU does not know it computes in float32
    #[arg(long, value_name = "KIND", default_value = "float32", value_delimiter = ',',
          value_parser = precision)]
    precision: Vec<Precision>,

    /// Cutouts an iteration
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    cutouts: u32,

    /// Iterations before those that are measured: the first ones allocate memory and choose
    /// algorithms
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1000))]
    warm_up: u32,

    /// Iterations that are measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    iterations: u32,

    /// Iterations of a picture, of which images an hour are reckoned
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    job_iterations: u32,

    /// How frugal with memory: as a worker would be, or one of the two ends
    #[arg(long, value_name = "WAY", default_value = "auto")]
    thrift: ThriftArg,

    /// Compute as if the device had only so much memory, as 8GiB
    #[arg(long, value_name = "AMOUNT", value_parser = amount)]
    memory: Option<u64>,

    /// Switches of how the loop runs, as in graphs=off,halves=on: ahead, composed, draws, graphs,
    /// fused, halves; those left out are as a worker has them
    #[arg(long, value_name = "SWITCHES", default_value = "", hide_default_value = true,
          value_parser = switches)]
    session: String,

    /// The networks' sizes
    #[arg(long, value_name = "SIZES", default_value = "published")]
    models: Models,

    /// Print one JSON object a line for each combination
    #[arg(long)]
    json: bool,

    /// Measure the one combination here, and print it as JSON.
    #[arg(long, hide = true)]
    here: bool,
}

/// How frugal to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ThriftArg {
    /// The quickest way that is estimated to fit
    Auto,
    /// All at once
    Quick,
    /// With the least memory
    Frugal,
}

/// What is measured at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub size: u32,
    pub batch: u32,
    pub precision: Precision,
}

fn switches(text: &str) -> Result<String, String> {
    text.parse::<Options>().map(|_| text.to_owned())
}

fn precision(text: &str) -> Result<Precision, String> {
    serde_json::from_value(text.into()).map_err(|_| "choose float32, tf32 or bf16".into())
}

/// Measures and prints.
///
/// # Errors
/// There is no such device, or libtorch fails otherwise than for want of memory.
pub fn run(args: &BenchArgs) -> Result<()> {
    if args.here {
        let [subject] = subjects(args).try_into().ok().context("one combination at a time")?;
        println!("{}", serde_json::to_string(&measure(args, subject)?)?);
        return Ok(());
    }
    if !args.json {
        println!("{}", table::HEADER);
    }
    let mut measured = Vec::new();
    for subject in subjects(args) {
        let outcome = in_a_process(args, subject)?;
        match args.json {
            true => println!("{}", serde_json::to_string(&outcome)?),
            false => println!("{}", table::row(&outcome)),
        }
        measured.push(outcome);
    }
    if !args.json {
        measured.iter().filter_map(table::details).for_each(|lines| println!("{lines}"));
    }
    Ok(())
}

fn subjects(args: &BenchArgs) -> Vec<Subject> {
    let mut subjects = Vec::new();
    for &precision in &args.precision {
        for &size in &args.size {
            for &batch in &args.batch {
                subjects.push(Subject { size, batch, precision });
            }
        }
    }
    subjects
}

/// What a fresh process measures, so that neither memory nor its want is left over from others.
fn in_a_process(args: &BenchArgs, subject: Subject) -> Result<Outcome> {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut command = Command::new(env::current_exe().context("cannot start myself again")?);
    command.args(["bench", "--here", "--device", &args.device]);
    command.args(["--size", &subject.size.to_string(), "--batch", &subject.batch.to_string()]);
    command.args(["--precision", &word(serde_json::to_value(subject.precision)?)]);
    command.args(["--cutouts", &args.cutouts.to_string()]);
    command.args(["--iterations", &args.iterations.to_string()]);
    command.args(["--warm-up", &args.warm_up.to_string()]);
    command.args(["--session", &args.session]);
    command.args(["--job-iterations", &args.job_iterations.to_string()]);
    for (flag, value) in [
        ("--thrift", args.thrift.to_possible_value()),
        ("--models", args.models.to_possible_value()),
    ] {
        if let Some(value) = value {
            command.args([flag, value.get_name()]);
        }
    }
    if let Some(memory) = args.memory {
        command.args(["--memory", &(memory as f64 / f64::from(1 << 30)).to_string()]);
    }
    let ran = command.stderr(Stdio::inherit()).output().context("cannot start myself again")?;
    if is_killed(ran.status) {
        // The system ends processes when its memory is gone.
        return Ok(Outcome::OutOfMemory { subject, out_of_memory: true });
    }
    if !ran.status.success() {
        bail!("a measurement failed: {}", ran.status);
    }
    serde_json::from_slice(&ran.stdout).context("a measurement gave no JSON")
}

fn is_killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(libc::SIGKILL)
}
