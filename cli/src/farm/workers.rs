//! `vqfarm workers`, `drain`, `undrain`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use vqfarm_proto::v1::{DrainRequest, ListWorkersRequest, Worker};

use super::client::{ConnectArgs, Farm};
use super::{Outcome, show};
use crate::complete;
use crate::failure::Failure;

/// List the workers heard of in the last day, and what each is doing
#[derive(Debug, Args)]
pub struct WorkersArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

const DRAIN: &str = "\
Examples:
  Let one worker go:
    vqfarm drain studio-3

  After an upgrade, let those go that are of earlier releases:
    vqfarm drain --older-than-version 0.2.0";

/// Let a worker finish what it has and leave
#[derive(Debug, Args)]
#[command(after_long_help = DRAIN)]
pub struct DrainArgs {
    /// The worker, as `vqfarm workers` names it
    #[arg(add = ArgValueCompleter::new(complete::workers),
          required_unless_present = "older_than_version")]
    worker: Option<String>,

    /// All workers of earlier releases, those that do not say theirs included
    #[arg(long, value_name = "VERSION", conflicts_with = "worker", value_parser = Release::parse)]
    older_than_version: Option<Release>,

    /// Print one JSON object a line: each worker as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Let a draining worker take work again
#[derive(Debug, Args)]
pub struct UndrainArgs {
    /// The worker, as `vqfarm workers` names it
    #[arg(add = ArgValueCompleter::new(complete::workers))]
    worker: String,

    /// Print one JSON object: the worker as it is then
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// `1.2.3` as numbers that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Release([u64; 3]);

impl Release {
    fn parse(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split('.').map(str::parse).collect();
        let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
        numbers.map(Self).ok_or_else(|| "write a version in full, as in 0.2.0".into())
    }
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
        "WORKER", "STATE", "#TASKS", "#MEMORY", "#IN USE", "~TAGS", "~LOADED", "VERSION", "SEEN",
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
            if worker.version.is_empty() { "-".into() } else { worker.version.clone() },
            show::ago(worker.last_seen),
        ]);
    }
    rows.print()?;
    Ok(ExitCode::SUCCESS)
}

pub async fn drain(args: DrainArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let explain = |status| args.connect.explain(status);
    let workers = match (args.worker, args.older_than_version) {
        (Some(worker), _) => vec![worker],
        (None, wanted) => {
            let answer = farm.list_workers(ListWorkersRequest {}).await.map_err(explain)?;
            older(answer.into_inner().workers, wanted)
        }
    };
    if workers.is_empty() {
        anstream::eprintln!("no worker is of an earlier release");
    }
    for worker in workers {
        let what = "drains: it finishes what it has and leaves";
        change(&mut farm, &args.connect, worker, false, args.json, what).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those that are there and of earlier releases.
fn older(workers: Vec<Worker>, wanted: Option<Release>) -> Vec<String> {
    let is_older = |worker: &Worker| Release::parse(&worker.version).ok() < wanted;
    let there = |worker: &Worker| !matches!(worker.state().word(), "lost" | "draining");
    let older = workers.into_iter().filter(|worker| there(worker) && is_older(worker));
    older.map(|worker| worker.id).collect()
}

pub async fn undrain(args: UndrainArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let UndrainArgs { worker, json, connect } = args;
    change(&mut farm, &connect, worker, true, json, "takes work again").await?;
    Ok(ExitCode::SUCCESS)
}

async fn change(
    farm: &mut Farm,
    connect: &ConnectArgs,
    worker: String,
    undo: bool,
    json: bool,
    what: &str,
) -> Result<(), Failure> {
    let answer = farm.drain(DrainRequest { worker, undo }).await;
    let worker = answer.map_err(|s| connect.explain(s))?.into_inner().worker.unwrap_or_default();
    if json {
        show::json_lines([show::worker_json(&worker)])?;
    } else {
        anstream::eprintln!("{} {what}", worker.id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vqfarm_proto::v1::WorkerState;

    use super::*;

    #[test]
    fn workers_of_earlier_releases_are_found() {
        let worker = |id: &str, version: &str, state: WorkerState| Worker {
            id: id.into(),
            version: version.into(),
            state: state.into(),
            ..Worker::default()
        };
        let workers = vec![
            worker("silent", "", WorkerState::Busy),
            worker("old", "0.9.12", WorkerState::Idle),
            worker("going", "0.9.12", WorkerState::Draining),
            worker("gone", "0.1.0", WorkerState::Lost),
            worker("same", "0.10.0", WorkerState::Busy),
            worker("new", "1.0.0", WorkerState::Idle),
        ];
        assert_eq!(older(workers, Release::parse("0.10.0").ok()), ["silent", "old"]);
        for bad in ["", "1", "1.2", "1.2.3.4", "1.2.x", "v1.2.3"] {
            assert!(Release::parse(bad).is_err(), "{bad}");
        }
    }
}
