//! `vqfarm status`, `why`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::{Value, json};
use vqfarm_core::requires::Memory;
use vqfarm_proto::telling::in_order;
use vqfarm_proto::v1::{JobRequest, Reason, StatusRequest, StatusResponse, WorkerGroup};

use super::client::ConnectArgs;
use super::{Outcome, show, version};
use crate::complete;
use crate::style;

/// Show the farm at a glance
///
/// The first word says how it is: idle, working, waiting (there is work and nobody does it) or
/// unwell (queue or storage need an operator). Then jobs and tasks by state, workers with the
/// share of time that their devices compute, frames an hour of the last minute and the time
/// left, the job that waits longest and why, failed tasks by cause, and how Redis and storage are.
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
    #[arg(add = ArgValueCompleter::new(complete::live_jobs))]
    job: String,

    /// Print one JSON object a line: one a group of tasks
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn status(args: StatusArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.status(StatusRequest::default()).await;
    let status = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    version::tell(&status.version);
    if args.json {
        show::json_lines([json!({
            "status": status.word,
            "farm": status.farm,
            "version": status.version,
            "now": show::time(status.now),
            "tasks": status.tasks,
            "jobs": sorted(&status.jobs),
            "workers": sorted(&status.workers),
            "memory": status.memory,
            "worker_groups": status.groups.iter().map(group_json).collect::<Vec<_>>(),
            "tasks_a_minute": status.tasks_a_minute,
            "frames_an_hour": status.frames_an_hour,
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

/// One line a subject, the one word first; longer ones are wrapped.
fn print(status: &StatusResponse) -> anyhow::Result<()> {
    let word = format!("{:<LABEL$}", status.word);
    let word = match status.word.as_str() {
        "unwell" => style::error(&word),
        "waiting" => style::warning(&word),
        _ => style::strong(&word),
    };
    show::line(format!("{word}farm {}, version {}", status.farm, status.version))?;
    // A queue that does not answer has nothing to tell.
    if status.health.iter().all(|health| health.part != "queue" || health.well) {
        say("jobs", &counted(&status.jobs))?;
        say("tasks", &tasks(status))?;
        say("workers", &workers(status))?;
        if let Some(frames) = frames(status) {
            say("frames", &frames)?;
        }
        waiting(status)?;
        failures(status)?;
    }
    for health in &status.health {
        let well = if health.well { "ok" } else { "unwell" };
        let lines = show::wrapped(&format!("{well}: {}", health.text), LABEL);
        for (n, line) in lines.iter().enumerate() {
            let label = if n == 0 { health.part.as_str() } else { "" };
            let line = if health.well { line.clone() } else { style::error(line) };
            show::line(format!("{label:<LABEL$}{line}"))?;
        }
        for warning in &health.warnings {
            say("", &format!("warning: {warning}"))?;
        }
    }
    Ok(())
}

/// Columns of what a line is about.
const LABEL: usize = 10;

/// A subject and what is said of it.
fn say(label: &str, text: &str) -> anyhow::Result<()> {
    for (n, line) in show::wrapped(text, LABEL).iter().enumerate() {
        let label = if n == 0 { label } else { "" };
        show::line(format!("{label:<LABEL$}{line}"))?;
    }
    Ok(())
}

fn tasks(status: &StatusResponse) -> String {
    let tasks = status.tasks.unwrap_or_default();
    let states = [
        (tasks.leased, "running"),
        (tasks.ready, "ready"),
        (tasks.blocked, "blocked"),
        (tasks.delayed, "delayed"),
        (tasks.done, "done"),
        (tasks.failed, "failed"),
    ];
    let said = states.iter().filter(|(count, _)| *count > 0);
    or_none(said.map(|(count, state)| format!("{count} {state}")).collect::<Vec<_>>().join(", "))
}

/// `3 busy (48 GiB, 91% busy), 1 idle (16 GiB)`.
fn workers(status: &StatusResponse) -> String {
    if status.groups.is_empty() {
        // A coordinator that does not tell of groups.
        return counted(&status.workers);
    }
    let group = |group: &WorkerGroup| {
        let mut notes = Vec::new();
        if group.memory > 0 && Memory::of_bytes(group.memory).is_ok() {
            notes.push(show::memory(group.memory));
        }
        notes.extend(group.busy.map(|share| format!("{:.0}% in use", share * 100.0)));
        let notes =
            if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
        format!("{} {}{notes}", group.workers, group.state().word())
    };
    status.groups.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// How fast it goes, and how long it will take; none where nothing is going on.
fn frames(status: &StatusResponse) -> Option<String> {
    let pace = match status.frames_an_hour {
        pace if pace >= 10.0 => format!("{} an hour", show::grouped(pace.round() as u64)),
        pace if pace > 0.0 => format!("{pace:.1} an hour"),
        _ if status.tasks_a_minute > 0.0 => {
            format!("none, but {:.1} tasks a minute", status.tasks_a_minute)
        }
        _ => return None,
    };
    let left = match status.seconds_left {
        0 => String::new(),
        seconds => format!(", {} left", show::span(Duration::from_secs(seconds))),
    };
    Some(pace + &left)
}

fn waiting(status: &StatusResponse) -> anyhow::Result<()> {
    let Some(job) = &status.oldest_waiting else { return Ok(()) };
    let (name, id, ago) = (&job.name, show::short(&job.id), show::ago(job.submitted));
    say("waiting", &format!("{name} ({id}), submitted {ago}"))?;
    for reason in &status.oldest_reasons {
        say("", &reason.text)?;
        if !reason.remedy.is_empty() {
            say("", &format!("→ {}", reason.remedy))?;
        }
    }
    Ok(())
}

fn failures(status: &StatusResponse) -> anyhow::Result<()> {
    for (n, failure) in status.failures.iter().enumerate() {
        let job = show::short(&failure.job);
        let text = format!("{} × {} ({job})", failure.tasks, show::cut(&failure.message, CAUSE));
        say(if n == 0 { "failures" } else { "" }, &text)?;
    }
    Ok(())
}

/// The most characters of a failure's message.
const CAUSE: usize = 120;

fn group_json(group: &WorkerGroup) -> Value {
    json!({
        "state": group.state().word(),
        "workers": group.workers,
        "memory": group.memory,
        "busy": group.busy,
    })
}

fn sorted(counts: &std::collections::HashMap<String, u64>) -> BTreeMap<&String, &u64> {
    counts.iter().collect()
}

/// `3 running, 1 done`, in the order of a life.
fn counted(counts: &std::collections::HashMap<String, u64>) -> String {
    let said: Vec<String> =
        in_order(counts).map(|(state, count)| format!("{count} {state}")).collect();
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
