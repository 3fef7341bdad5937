//! `vqfarm pause`, `resume`, `cancel`, `retry`, `keep`, `priority`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use vqfarm_proto::v1::{Job, JobRequest, KeepRequest, RetryRequest, SetPriorityRequest};

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::complete;
use crate::numbers::{Numbers, numbers};

/// A job to do something to.
#[derive(Debug, Args)]
pub struct JobAction {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::live_jobs))]
    job: String,

    /// Print one JSON object: the job as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

const RETRY: &str = "\
Examples:
  Try all failed tasks once more, each with a fresh set of attempts:
    vqfarm retry last --failed

  Render some cells again, also if they are done:
    vqfarm retry 1a2b3c4d --tasks 3,7-9";

/// Give tasks a fresh set of attempts
#[derive(Debug, Args)]
#[command(after_long_help = RETRY)]
pub struct RetryArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// All tasks that failed for good (what is done without --tasks)
    #[arg(long, conflicts_with = "tasks")]
    failed: bool,

    /// These tasks, failed or done, as in 3,7-9
    #[arg(long, value_name = "TASKS", value_parser = numbers)]
    tasks: Option<Numbers>,

    /// The layer of --tasks [default: the first]
    #[arg(long, value_name = "NAME", requires = "tasks",
          add = ArgValueCompleter::new(complete::layers))]
    layer: Option<String>,

    /// Print one JSON object: how many, and the job as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

const KEEP: &str = "\
Examples:
  Look at the previews, then render the ones you like to their end:
    vqfarm fetch last previews
    vqfarm keep last 3,7,12-14";

/// Render some cells to their end, of a sweep that stops cells early
///
/// They go on from where they stopped. Cells that are named before the previews are ranked take the
/// place of the best; later they are added to them, also when the job is done.
#[derive(Debug, Args)]
#[command(after_long_help = KEEP)]
pub struct KeepArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// The cells, as in 3,7,12-14
    #[arg(value_name = "CELLS", value_parser = numbers)]
    cells: Numbers,

    /// Print one JSON object: how many go on now, and the job as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Change how urgent a job is
#[derive(Debug, Args)]
pub struct PriorityArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::live_jobs))]
    job: String,

    /// Higher goes first; jobs are submitted with 0
    #[arg(allow_negative_numbers = true)]
    priority: i32,

    /// Print one JSON object: the job as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn pause(args: JobAction) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.pause(JobRequest { job: args.job.clone() }).await;
    let job = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    tell(&job, args.json, "paused: running tasks are finished, no others begun")
}

pub async fn resume(args: JobAction) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.resume(JobRequest { job: args.job.clone() }).await;
    let job = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    tell(&job, args.json, "resumed")
}

pub async fn cancel(args: JobAction) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.cancel(JobRequest { job: args.job.clone() }).await;
    let job = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    tell(&job, args.json, "cancelled: what is done stays, nothing else will be")
}

pub async fn priority(args: PriorityArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = SetPriorityRequest { job: args.job.clone(), priority: args.priority };
    let answer = farm.set_priority(request).await;
    let job = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    tell(&job, args.json, &format!("has priority {}", job.priority))
}

pub async fn retry(args: RetryArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = RetryRequest {
        job: args.job.clone(),
        tasks: args.tasks.clone().map_or_else(Vec::new, |numbers| numbers.0),
        layer: args.layer.clone().unwrap_or_default(),
    };
    let answer = farm.retry(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
    let job = answer.job.unwrap_or_default();
    if args.json {
        let value = serde_json::json!({ "retried": answer.retried, "job": show::job_json(&job) });
        show::json_lines([value])?;
    } else if answer.retried == 0 {
        anstream::eprintln!("nothing to try again: no task failed");
    } else {
        let what = show::count(answer.retried, "task");
        tell(&job, false, &format!("tries {what} again"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn keep(args: KeepArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = KeepRequest { job: args.job.clone(), cells: args.cells.0.clone() };
    let answer = farm.keep(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
    let job = answer.job.unwrap_or_default();
    if args.json {
        let value = serde_json::json!({
            "kept": args.cells.0.len(), "continued": answer.continued, "job": show::job_json(&job),
        });
        show::json_lines([value])?;
        return Ok(ExitCode::SUCCESS);
    }
    let cells = show::count(args.cells.0.len() as u64, "cell");
    tell(&job, false, &format!("keeps {cells}; {} that were stopped go on now", answer.continued))
}

fn tell(job: &Job, json: bool, what: &str) -> Outcome {
    if json {
        show::json_lines([show::job_json(job)])?;
    } else {
        anstream::eprintln!("{} ({}) {what}", job.name, show::short(&job.id));
    }
    Ok(ExitCode::SUCCESS)
}
