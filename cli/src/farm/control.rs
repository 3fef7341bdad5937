//! `vqfarm pause`, `resume`, `cancel`, `retry`, `priority`.

use std::process::ExitCode;

use clap::Args;
use vqfarm_proto::v1::{Job, JobRequest, RetryRequest, SetPriorityRequest};

use super::client::ConnectArgs;
use super::{Outcome, show};

/// A job to do something to.
#[derive(Debug, Args)]
pub struct JobAction {
    /// The job: its id, a part of it from either end, or `last`
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
    job: String,

    /// All tasks that failed for good (what is done without --tasks)
    #[arg(long, conflicts_with = "tasks")]
    failed: bool,

    /// These tasks, failed or done, as in 3,7-9
    #[arg(long, value_name = "TASKS", value_parser = numbers)]
    tasks: Option<Numbers>,

    /// The layer of --tasks [default: the first]
    #[arg(long, value_name = "NAME", requires = "tasks")]
    layer: Option<String>,

    /// Print one JSON object: how many, and the job as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Change how urgent a job is
#[derive(Debug, Args)]
pub struct PriorityArgs {
    /// The job: its id, a part of it from either end, or `last`
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

fn tell(job: &Job, json: bool, what: &str) -> Outcome {
    if json {
        show::json_lines([show::job_json(job)])?;
    } else {
        anstream::eprintln!("{} ({}) {what}", job.name, show::short(&job.id));
    }
    Ok(ExitCode::SUCCESS)
}

/// Numbers as `3,7-9` has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(Vec<u64>);

/// More tasks than this are not named one by one in a call.
const MOST: u64 = 100_000;

fn numbers(text: &str) -> Result<Numbers, String> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim().parse::<u64>().map_err(|_| format!("{part:?} is not a number or range"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("{part:?} runs backwards"));
        }
        if last - first >= MOST - (all.len() as u64).min(MOST) {
            return Err(format!("more than {MOST} tasks"));
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Ok(Numbers(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_tasks_are_read_as_people_write_them() {
        assert_eq!(numbers("3,7-9").unwrap().0, [3, 7, 8, 9]);
        assert_eq!(numbers("9, 7-8,7").unwrap().0, [7, 8, 9]);
        for bad in ["", "x", "3,", "9-7", "-1", "0-99999999999", "0-99999,7"] {
            assert!(numbers(bad).is_err(), "{bad}");
        }
    }
}
