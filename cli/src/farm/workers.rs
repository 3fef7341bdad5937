//! `vqfarm workers`, `drain`, `undrain`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use vqfarm_proto::v1::{DrainRequest, ListWorkersRequest, Worker};

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::complete;

/// List the workers heard of in the last day, and what each is doing
#[derive(Debug, Args)]
pub struct WorkersArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// A worker to send away or to keep.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The worker, as `vqfarm workers` names it
    #[arg(add = ArgValueCompleter::new(complete::workers))]
    worker: String,

    /// Print one JSON object: the worker as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn workers(args: WorkersArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.list_workers(ListWorkersRequest {}).await;
    let mut workers = answer.map_err(|s| args.connect.explain(s))?.into_inner().workers;
    // Those that are gone last.
    workers.sort_by_key(|worker| worker.state().word() == "lost");
    if args.json {
        show::json_lines(workers.iter().map(show::worker_json))?;
        return Ok(ExitCode::SUCCESS);
    }
    if workers.is_empty() {
        anstream::eprintln!("no workers; start one: vqfarm-worker run");
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = show::Rows::new(&[
        "WORKER", "STATE", "#TASKS", "#MEMORY", "#IN USE", "~TAGS", "~LOADED", "SEEN",
    ]);
    for worker in &workers {
        let or_dash = |names: &[String]| {
            if names.is_empty() { "-".to_owned() } else { names.join(", ") }
        };
        rows.add([
            worker.id.clone(),
            worker.state().word().into(),
            worker.leased.to_string(),
            show::memory(worker.memory),
            worker.busy.map_or("-".into(), |share| format!("{:.0}%", share * 100.0)),
            or_dash(&worker.tags),
            or_dash(&worker.loaded),
            show::ago(worker.last_seen),
        ]);
    }
    rows.print()?;
    Ok(ExitCode::SUCCESS)
}

pub async fn drain(args: DrainArgs) -> Outcome {
    change(args, false, "drains: it finishes what it has and leaves").await
}

pub async fn undrain(args: DrainArgs) -> Outcome {
    change(args, true, "takes work again").await
}

async fn change(args: DrainArgs, undo: bool, what: &str) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let answer = farm.drain(DrainRequest { worker: args.worker.clone(), undo }).await;
    let worker: Worker =
        answer.map_err(|s| args.connect.explain(s))?.into_inner().worker.unwrap_or_default();
    if args.json {
        show::json_lines([show::worker_json(&worker)])?;
    } else {
        anstream::eprintln!("{} {what}", worker.id);
    }
    Ok(ExitCode::SUCCESS)
}
