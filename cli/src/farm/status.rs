//! `vqfarm status`, `why`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use vqfarm_proto::v1::{JobRequest, Reason, StatusRequest, StatusResponse};

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::style;

/// Show the farm at a glance
///
/// The first word says how it is: idle, working, waiting (there is work and nobody does it) or
/// unwell (queue or storage need an operator).
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Say why a job's tasks wait, and what would free them
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The job: its id, a part of it from either end, or `last`
    job: String,

    /// Print one JSON object a line: one a group of tasks
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn status(args: StatusArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.status(StatusRequest {}).await;
    let status = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    if args.json {
        show::json_lines([json!({
            "status": status.word,
            "farm": status.farm,
            "version": status.version,
            "tasks": status.tasks,
            "jobs": sorted(&status.jobs),
            "workers": sorted(&status.workers),
            "memory": status.memory,
            "tasks_a_minute": status.tasks_a_minute,
            "seconds_left": (status.seconds_left > 0).then_some(status.seconds_left),
            "oldest_waiting": status.oldest_waiting.as_ref().map(show::job_json),
            "oldest_reasons": status.oldest_reasons,
            "failures": status.failures,
            "health": status.health,
        })])?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&status)?;
    Ok(ExitCode::SUCCESS)
}

fn print(status: &StatusResponse) -> anyhow::Result<()> {
    let word = match status.word.as_str() {
        "unwell" => style::error("unwell"),
        "waiting" => style::warning("waiting"),
        word => word.to_owned(),
    };
    show::line(format!("farm      {} is {word}", status.farm))?;
    show::line(format!("jobs      {}", counted(&status.jobs)))?;
    let tasks = status.tasks.unwrap_or_default();
    let states = [
        (tasks.leased, "running"),
        (tasks.ready, "ready"),
        (tasks.blocked, "blocked"),
        (tasks.delayed, "delayed"),
        (tasks.done, "done"),
        (tasks.failed, "failed"),
    ];
    let said: Vec<String> = states
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{count} {state}"))
        .collect();
    show::line(format!("tasks     {}", or_none(said.join(", "))))?;
    let memory = match status.memory {
        0 => String::new(),
        bytes if status.workers.is_empty() || bytes > 1 << 53 => String::new(),
        bytes => format!(", {} of memory", show::memory(bytes)),
    };
    show::line(format!("workers   {}{memory}", counted(&status.workers)))?;
    if status.tasks_a_minute > 0.0 {
        let left = match status.seconds_left {
            0 => String::new(),
            seconds => format!(", {} left", show::span(Duration::from_secs(seconds))),
        };
        show::line(format!("pace      {:.1} tasks a minute{left}", status.tasks_a_minute))?;
    }
    if let Some(job) = &status.oldest_waiting {
        let (name, id) = (&job.name, show::short(&job.id));
        show::line(format!("waiting   {name} ({id}), submitted {}", show::ago(job.submitted)))?;
        for reason in &status.oldest_reasons {
            show::line(format!("          {}", sentence(reason)))?;
        }
    }
    for (n, failure) in status.failures.iter().enumerate() {
        let head = if n == 0 { "failures" } else { "" };
        let job = show::short(&failure.job);
        show::line(format!("{head:<10}{} × {} ({job})", failure.tasks, failure.message))?;
    }
    for health in &status.health {
        let text = if health.well { health.text.clone() } else { style::error(&health.text) };
        show::line(format!("{:<10}{text}", health.part))?;
        for warning in &health.warnings {
            show::line(format!("          {}: {warning}", style::warning("warning")))?;
        }
    }
    Ok(())
}

fn sorted(counts: &std::collections::HashMap<String, u64>) -> BTreeMap<&String, &u64> {
    counts.iter().collect()
}

/// `3 running, 1 done`, in the order of a life.
fn counted(counts: &std::collections::HashMap<String, u64>) -> String {
    let order = [
        "running",
        "waiting",
        "paused",
        "failed",
        "done",
        "cancelled",
        "busy",
        "idle",
        "draining",
        "lost",
    ];
    let said: Vec<String> =
        order.iter().filter_map(|state| Some(format!("{} {state}", counts.get(*state)?))).collect();
    or_none(said.join(", "))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".into() } else { text }
}

pub async fn why(args: WhyArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.why(JobRequest { job: args.job.clone() }).await;
    let answer = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    if args.json {
        show::json_lines(answer.reasons.iter().map(|reason| json!(reason)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let job = answer.job.unwrap_or_default();
    if answer.reasons.is_empty() {
        anstream::eprintln!("nothing waits: {}", show::outcome(&job));
        return Ok(ExitCode::SUCCESS);
    }
    for reason in &answer.reasons {
        let layer = if reason.layer.is_empty() { "job" } else { &reason.layer };
        show::line(format!("{layer:<8}  {}", sentence(reason)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a group of tasks waits for, and what to do.
pub fn sentence(reason: &Reason) -> String {
    match reason.remedy.as_str() {
        "" => reason.text.clone(),
        remedy => format!("{} → {remedy}", reason.text),
    }
}
