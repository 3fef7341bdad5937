//! `vqfarm logs`.

use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;
use serde_json::json;
use vqfarm_proto::v1::LogsRequest;

use super::client::ConnectArgs;
use super::{Outcome, show};
use crate::complete;

/// Show what workers logged of a job's tasks, attempt by attempt
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::jobs))]
    job: String,

    /// Only of this task
    task: Option<u64>,

    /// Only of this layer [default: of all; with TASK the first]
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::layers))]
    layer: Option<String>,

    /// Print one JSON object a line: one an attempt
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn logs(args: LogsArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let request = LogsRequest {
        job: args.job.clone(),
        task: args.task,
        layer: args.layer.clone().unwrap_or_default(),
        ..LogsRequest::default()
    };
    let answer = farm.logs(request).await;
    let mut logs = answer.map_err(|s| args.connect.explain(s))?.into_inner();
    let mut found = false;
    while let Some(log) = logs.message().await.map_err(|s| args.connect.explain(s))? {
        if args.json {
            show::json_lines([json!(log)])?;
        } else {
            if found {
                show::line("")?;
            }
            show::line(format!("==> {} {}, attempt {} <==", log.layer, log.index, log.attempt))?;
            show::line(log.text.trim_end())?;
        }
        found = true;
    }
    if !found {
        anstream::eprintln!("there are no logs yet; a log is stored when its attempt ends");
    }
    Ok(ExitCode::SUCCESS)
}
