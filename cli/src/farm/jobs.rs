//! `vqfarm jobs`, `job`, `tasks`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use serde_json::Value;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::v1::{Counts, Job, JobRequest, ListJobsRequest, ListTasksRequest, Task};

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::complete;

/// List the farm's jobs, those submitted last first
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// Only jobs that are not over
    #[arg(long)]
    live: bool,

    /// Only this user's
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Only those in this state
    #[arg(long, value_name = "STATE",
          value_parser = ["waiting", "running", "paused", "done", "failed", "cancelled"])]
    state: Option<String>,

    /// At most this many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    most: usize,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Show a job: its state, layers and where its files are
#[derive(Debug, Args)]
pub struct JobArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// Print one JSON object, with the resolved job as `record`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// List a job's tasks that are running, waiting for another attempt, or failed
#[derive(Debug, Args)]
pub struct TasksArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// Only those in this state
    #[arg(long, value_enum)]
    state: Option<TaskState>,

    /// At most this many; 0 for all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    most: usize,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TaskState {
    Leased,
    Delayed,
    Failed,
}

pub async fn jobs(args: JobsArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let most = if args.most == 0 { usize::MAX } else { args.most };
    let mut jobs: Vec<Job> = Vec::new();
    let mut page_token = String::new();
    let more = loop {
        let request = ListJobsRequest {
            live: args.live,
            user: args.user.clone().unwrap_or_default(),
            state: args.state.clone().unwrap_or_default(),
            // One more than is shown tells whether there are more.
            page_size: u32::try_from(most.saturating_sub(jobs.len()).saturating_add(1))
                .unwrap_or(0),
            page_token,
        };
        let answer =
            farm.list_jobs(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
        jobs.extend(answer.jobs);
        page_token = answer.next_page_token;
        if jobs.len() > most {
            jobs.truncate(most);
            break true;
        }
        if page_token.is_empty() {
            break false;
        }
    };
    if args.json {
        show::json_lines(jobs.iter().map(show::job_json))?;
        return Ok(ExitCode::SUCCESS);
    }
    if jobs.is_empty() {
        anstream::eprintln!("no jobs; submit one: vqfarm submit JOB.toml");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = show::Rows::new(&[
        "ID",
        "~NAME",
        "USER",
        "#PRIO",
        "STATE",
        "#DONE",
        "#FAILED",
        "SUBMITTED",
    ]);
    for job in &jobs {
        let total = job.total();
        rows.add([
            show::short(&job.id).into(),
            job.name.clone(),
            job.user.clone(),
            job.priority.to_string(),
            job.state().word().into(),
            show::progress(&total),
            total.failed.to_string(),
            show::ago(job.submitted),
        ]);
    }
    rows.print()?;
    if more {
        anstream::eprintln!("there are more; --most 0 lists all");
    }
    Ok(ExitCode::SUCCESS)
}

pub async fn job(args: JobArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = JobRequest { job: args.job.clone() };
    let answer = farm.get_job(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
    let job = answer.job.unwrap_or_default();
    if args.json {
        let mut value = show::job_json(&job);
        value["taken_over"] = answer.taken_over.into();
        value["storage"] = answer.storage.into();
        value["record"] = serde_json::from_str(&answer.record).unwrap_or(Value::Null);
        show::json_lines([value])?;
        return Ok(ExitCode::SUCCESS);
    }
    let submitted = show::time(job.submitted).unwrap_or_default();
    show::line(format!("id         {}", job.id))?;
    show::line(format!("name       {}", job.name))?;
    show::line(format!("user       {}", job.user))?;
    let record = serde_json::from_str::<JobRecord>(&answer.record).ok();
    if let Some(source) = record.and_then(|record| record.source) {
        let which = if source.partial { "those there of" } else { "all of" };
        show::line(format!("frames     {which} job {}", source.job.short()))?;
    }
    if answer.taken_over > 0 {
        let cells = show::count(answer.taken_over, "cell");
        show::line(format!("taken over {cells}, whose pictures other jobs had"))?;
    }
    show::line(format!("priority   {}", job.priority))?;
    show::line(format!("state      {}", job.state().word()))?;
    show::line(format!("submitted  {submitted} ({})", show::ago(job.submitted)))?;
    if let Some(finished) = show::time(job.finished) {
        show::line(format!("finished   {finished} ({})", show::ago(job.finished)))?;
    }
    show::line(format!("files      {}", answer.storage))?;
    show::line("")?;
    print_layers(&job)?;
    Ok(ExitCode::SUCCESS)
}

/// One row a layer; states that no task is in have no column.
fn print_layers(job: &Job) -> anyhow::Result<()> {
    type Count = fn(&Counts) -> u64;
    let states: [(&str, Count); 6] = [
        ("#RUNNING", |counts| counts.leased),
        ("#READY", |counts| counts.ready),
        ("#BLOCKED", |counts| counts.blocked),
        ("#DELAYED", |counts| counts.delayed),
        ("#FAILED", |counts| counts.failed),
        ("#CANCELLED", |counts| counts.cancelled),
    ];
    let total = job.total();
    let shown: Vec<_> = states.iter().filter(|(_, count)| count(&total) > 0).collect();
    let heads = shown.iter().map(|(head, _)| *head);
    let heads: Vec<&str> = ["LAYER", "#TASKS", "#DONE"].into_iter().chain(heads).collect();
    let mut rows = show::Rows::new(&[&heads[..], &["~NEEDS"]].concat());
    for layer in &job.layers {
        let counts = layer.counts.unwrap_or_default();
        let mut row = vec![layer.name.clone(), counts.tasks.to_string(), counts.done.to_string()];
        row.extend(shown.iter().map(|(_, count)| count(&counts).to_string()));
        row.push(layer.needs.as_ref().map(needs).unwrap_or_default());
        rows.add(row);
    }
    rows.print()
}

fn needs(needs: &vqfarm_proto::v1::Needs) -> String {
    let mut parts = Vec::new();
    if needs.memory > 0 {
        parts.push(show::memory(needs.memory));
    }
    parts.extend(needs.tags.iter().map(|tag| format!("#{tag}")));
    parts.extend(needs.models.iter().cloned());
    parts.join(", ")
}

pub async fn tasks(args: TasksArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let most = if args.most == 0 { usize::MAX } else { args.most };
    let state = match args.state {
        None => "",
        Some(TaskState::Leased) => "leased",
        Some(TaskState::Delayed) => "delayed",
        Some(TaskState::Failed) => "failed",
    };
    let mut tasks: Vec<Task> = Vec::new();
    let mut page_token = String::new();
    let more = loop {
        let request = ListTasksRequest {
            job: args.job.clone(),
            state: state.into(),
            page_size: u32::try_from(most.saturating_sub(tasks.len()).saturating_add(1))
                .unwrap_or(0),
            page_token,
        };
        let answer =
            farm.list_tasks(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
        tasks.extend(answer.tasks);
        page_token = answer.next_page_token;
        if tasks.len() > most {
            tasks.truncate(most);
            break true;
        }
        if page_token.is_empty() {
            break false;
        }
    };
    if args.json {
        show::json_lines(tasks.iter().map(show::task_json))?;
        return Ok(ExitCode::SUCCESS);
    }
    if tasks.is_empty() {
        let which = if state.is_empty() { "running, delayed or failed" } else { state };
        anstream::eprintln!("no task is {which}; vqfarm job {} has the counts", args.job);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows =
        show::Rows::new(&["LAYER", "#TASK", "STATE", "#ATTEMPT", "WORKER", "~LAST ERROR"]);
    for task in &tasks {
        let error = task.last_error.lines().next().unwrap_or_default();
        rows.add([
            task.layer.clone(),
            task.index.to_string(),
            task.state.clone(),
            task.attempt.to_string(),
            if task.worker.is_empty() { "-".into() } else { task.worker.clone() },
            if error.is_empty() { "-".into() } else { error.to_owned() },
        ]);
    }
    rows.print()?;
    if more {
        anstream::eprintln!("there are more; --most 0 lists all");
    }
    Ok(ExitCode::SUCCESS)
}
