//! `vqfarm audit`, `reconcile`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;
use vqfarm_proto::v1::{AuditRequest, ReconcileRequest};

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::complete;
use crate::style;

/// Check what the farm promises: every task is accounted for, every done frame is whole
///
/// Reads every stored frame to its end. Exit status: 0 nothing is wrong or all of it was
/// repaired, 1 something is wrong.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The job: its id, a part of it from either end, or `last` [default: all jobs]
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: Option<String>,

    /// Have missing and damaged frames rendered, and missing outputs stitched again
    #[arg(long)]
    repair: bool,

    /// Print one JSON object a line: the problems, then the summary
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Put jobs back into the queue that are in storage and not in the queue
///
/// The coordinators do this by themselves when Redis has lost its memory.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn audit(args: AuditArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = AuditRequest { job: args.job.clone().unwrap_or_default(), repair: args.repair };
    let answer = farm.audit(request).await.map_err(|s| args.connect.explain(s))?.into_inner();
    let unrepaired = answer.problems.iter().filter(|problem| !problem.repaired).count();
    if args.json {
        show::json_lines(answer.problems.iter().map(|problem| json!(problem)))?;
        show::json_lines([json!({
            "jobs": answer.jobs, "frames": answer.frames, "problems": answer.problems.len(),
            "unrepaired": unrepaired,
        })])?;
    } else {
        for problem in &answer.problems {
            let job = if problem.job.is_empty() { "-" } else { show::short(&problem.job) };
            let repaired = if problem.repaired { "; it will be rendered again" } else { "" };
            show::line(format!("{job:<8}  {:<6}  {}{repaired}", problem.kind, problem.text))?;
        }
        let looked = format!(
            "{} and {} looked at",
            show::count(answer.jobs, "job"),
            show::count(answer.frames, "whole frame")
        );
        match answer.problems.len() as u64 {
            0 => anstream::eprintln!("{looked}: nothing is wrong"),
            n => anstream::eprintln!("{looked}: {}", style::error(&show::count(n, "problem"))),
        }
    }
    Ok(if unrepaired == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub async fn reconcile(args: ReconcileArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.reconcile(ReconcileRequest {}).await;
    let done = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    if args.json {
        show::json_lines([json!(done)])?;
        return Ok(ExitCode::SUCCESS);
    }
    for note in &done.notes {
        anstream::eprintln!("{}: {note}", style::warning("warning"));
    }
    let (jobs, restored) = (show::count(done.jobs, "job"), show::count(done.restored, "job"));
    let frames = show::count(done.frames, "stored frame");
    anstream::eprintln!("{jobs} in storage; {restored} put back into the queue, with {frames}");
    Ok(ExitCode::SUCCESS)
}
