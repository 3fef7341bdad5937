//! `vqfarm submit`: a job file to the farm.

use std::collections::{BTreeSet, HashMap};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use vqfarm_core::cost::{DeviceTime, Estimate};
use vqfarm_core::id::{RequestId, UserName};
use vqfarm_core::job::FieldError;
use vqfarm_core::requires::Memory;
use vqfarm_proto::Refusal;
use vqfarm_proto::v1::{self, PutAssetsRequest, Reason, SubmitRequest, SubmitResponse};

use super::client::{ConnectArgs, Farm, is_passing};
use super::status::sentence;
use super::watch::watch_job;
use super::{Outcome, models, show, version};
use crate::estimate::{self, ConfirmArgs};
use crate::failure::Failure;
use crate::job::assets::Asset;
use crate::job::{self, JobArgs};
use crate::on_end;
use crate::style;

const EXAMPLES: &str = "\
Examples:
  Submit a grid and watch it:
    vqfarm submit examples/sweep.toml --watch

  In a script; the id is all that goes to standard output:
    id=$(vqfarm submit sweep.toml --set render.iterations=50)
    vqfarm wait $id && vqfarm fetch $id out/sweep

  See what would be submitted, and whether a worker could do it:
    vqfarm submit sweep.toml --dry-run

Exit status: 0 submitted, 1 failed, 2 bad usage or job file; with --watch also 1 when tasks of
the job failed and 3 when it was cancelled.";

/// Submit a job to the farm
///
/// First it says what the job will take, by what the farm's workers have measured of pictures
/// alike. A large job is asked about on a terminal and takes --yes elsewhere. Models that the farm
/// lacks are pushed then. When this has answered, the job is safe: it
/// survives the end of the coordinator and the loss of Redis.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SubmitArgs {
    #[command(flatten)]
    job: JobArgs,

    /// Higher goes first
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    priority: i32,

    /// Stay until the job is over
    #[arg(short, long)]
    watch: bool,

    #[arg(long, value_name = "COMMAND", requires = "watch", help = on_end::HELP,
          long_help = on_end::LONG_HELP)]
    on_end: Option<String>,

    /// Check everything, say what would be done, change nothing
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,

    /// A name for this submit: the same again is the same job
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    /// Whose job it is [default: the profile's user, or $USER]
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    #[command(flatten)]
    confirm: ConfirmArgs,

    /// Print one JSON object: the job, what it will take, and why some of it cannot run now, if so
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Bytes of files that travel in one message, beyond the first of them.
const BATCH: usize = 16 << 20;
/// How long a coordinator that broke off is asked again.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn submit(args: SubmitArgs) -> Outcome {
    let library = job::library(args.job.models.as_deref())?;
    let resolved = job::load(&args.job, &library)?;
    let request = request_id(args.request_id.as_deref())?;
    let user = user(args.user.as_deref(), &args.connect)?;
    let mut farm = args.connect.connect().await?;
    version::ask(&mut farm).await;
    let names: BTreeSet<String> = resolved.job.models().into_iter().map(|m| m.name).collect();
    let missing =
        models::missing(&mut farm, &args.connect, &library, names.into_iter().collect()).await?;
    let mut batches = batches(&resolved.assets);
    let last = batches.pop().unwrap_or_default();
    let mut message = SubmitRequest {
        job: serde_json::to_string(&resolved.job).context("cannot write the job as JSON")?,
        request_id: request.to_string(),
        priority: args.priority,
        user: user.to_string(),
        dry_run: true,
        offered: missing.iter().map(models::describe).collect(),
        ..SubmitRequest::default()
    };
    if args.dry_run {
        message.assets = last.clone();
    }
    let refuse = |fields| resolved.refuse(fields);
    // Nothing is stored of a job that would be refused, or that is larger than meant.
    let mut answer = send(farm.clone(), &args.connect, message.clone(), refuse).await?;
    let is_sweep = resolved.job.animation.is_none();
    let estimate = answer.estimate.take().map(estimated);
    if let Some(estimate) = &estimate {
        if !args.json {
            anstream::eprintln!("{}", estimate.sentence(is_sweep));
        }
        if !args.dry_run {
            args.confirm.confirm(estimate, is_sweep)?;
        }
    }
    if !args.dry_run {
        for entry in &missing {
            models::push_entry(&mut farm, &args.connect, entry).await?;
            anstream::eprintln!("{}: pushed to the farm", entry.name);
        }
        put_assets(farm.clone(), &args.connect, &request, batches).await?;
        let message = SubmitRequest { dry_run: false, offered: vec![], assets: last, ..message };
        answer = send(farm, &args.connect, message, refuse).await?;
    }
    let how = Telling { json: args.json, dry_run: args.dry_run, watch: args.watch };
    tell(how, &answer, estimate.as_ref())?;
    let id = answer.job.unwrap_or_default().id;
    if !args.watch {
        return Ok(ExitCode::SUCCESS);
    }
    watch_job(&args.connect, &id, args.json, args.on_end.as_deref()).await
}

fn estimated(estimate: v1::Estimate) -> Estimate {
    let v1::Estimate { frames, iterations, device_seconds, device, memory } = estimate;
    let time = device_seconds.map(|seconds| DeviceTime { seconds, device });
    let memory = (memory > 0).then(|| Memory::of_bytes(memory).ok()).flatten();
    Estimate { frames, iterations, time, memory }
}

/// Files in portions that fit into a message each, the job's own beside the last of them.
fn batches(assets: &[Asset]) -> Vec<HashMap<String, Vec<u8>>> {
    let mut batches: Vec<HashMap<String, Vec<u8>>> = Vec::new();
    let mut room = 0;
    for asset in assets {
        if batches.is_empty() || asset.bytes.len() > room {
            batches.push(HashMap::new());
            room = BATCH;
        }
        room = room.saturating_sub(asset.bytes.len());
        batches.last_mut().and_then(|batch| batch.insert(asset.key.clone(), asset.bytes.clone()));
    }
    batches
}

/// Sends files ahead of their job.
async fn put_assets(
    farm: Farm,
    connect: &ConnectArgs,
    request: &RequestId,
    batches: Vec<HashMap<String, Vec<u8>>>,
) -> Result<(), Failure> {
    let all = batches.len();
    for (sent, assets) in batches.into_iter().enumerate() {
        let message = PutAssetsRequest { request_id: request.to_string(), assets };
        let put = async |farm: &mut Farm| farm.put_assets(message.clone()).await;
        // A file that is there already is the same one.
        patiently(farm.clone(), connect, put, |_| Ok(())).await?;
        anstream::eprintln!("files: {} of {all} portions sent ahead", sent + 1);
    }
    Ok(())
}

/// Submits; asks again under the same request id while the coordinator is away. Mistakes in
/// fields are first handed to `refuse`, which may know where they stand.
pub async fn send(
    farm: Farm,
    connect: &ConnectArgs,
    message: SubmitRequest,
    refuse: impl Fn(Vec<FieldError>) -> Result<(), Failure>,
) -> Result<SubmitResponse, Failure> {
    let submit = async |farm: &mut Farm| farm.submit(message.clone()).await;
    patiently(farm, connect, submit, refuse).await
}

/// Calls the farm, and again while the coordinator is away: the call must be one that can be
/// repeated.
async fn patiently<T>(
    mut farm: Farm,
    connect: &ConnectArgs,
    call: impl AsyncFn(&mut Farm) -> Result<tonic::Response<T>, tonic::Status>,
    refuse: impl Fn(Vec<FieldError>) -> Result<(), Failure>,
) -> Result<T, Failure> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(200);
    loop {
        let status = match call(&mut farm).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        if let Some(refusal) = Refusal::of(&status)
            && !refusal.fields.is_empty()
        {
            // Shown where they stand in the job file.
            refuse(refusal.fields)?;
        }
        if !is_passing(&status) || began.elapsed() > PATIENCE {
            return Err(connect.explain(status));
        }
        if pause == Duration::from_millis(200) {
            let refusal = Refusal::of(&status).map(|refusal| refusal.message);
            let why = refusal.unwrap_or_else(|| "the coordinator does not answer".into());
            anstream::eprintln!("{why}; trying again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        if let Ok(again) = connect.connect().await {
            farm = again;
        }
    }
}

/// How a submit is told of.
#[derive(Clone, Copy, Debug)]
pub struct Telling {
    pub json: bool,
    pub dry_run: bool,
    /// The job is watched from now on.
    pub watch: bool,
}

/// The id goes to standard output, everything else to standard error.
pub fn tell(
    how: Telling,
    answer: &SubmitResponse,
    estimate: Option<&Estimate>,
) -> anyhow::Result<()> {
    let job = answer.job.clone().unwrap_or_default();
    if how.json {
        // While it is watched, the job's own lines follow.
        return show::json_lines([json!({
            "job": show::job_json(&job), "existed": answer.existed, "dry_run": how.dry_run,
            "reasons": answer.reasons, "estimate": estimate.map(estimate::as_json),
        })]);
    }
    let tasks = show::count(job.total().tasks, "task");
    let layers: Vec<String> = job
        .layers
        .iter()
        .map(|layer| format!("{} {}", layer.counts.unwrap_or_default().tasks, layer.name))
        .collect();
    let (name, layers) = (&job.name, layers.join(", "));
    if how.dry_run {
        anstream::eprintln!("{name} would be {tasks} ({layers}); nothing was submitted");
    } else {
        let id = show::short(&job.id);
        let done = if answer.existed { "was submitted before" } else { "is submitted" };
        anstream::eprintln!("{name} {done}: {tasks} ({layers}), as {id}");
        if !how.watch {
            show::line(&job.id)?;
            anstream::eprintln!("watch it: vqfarm watch {id}");
        }
    }
    obstacles(answer);
    Ok(())
}

/// Says what must be done before such a job runs.
pub fn obstacles(answer: &SubmitResponse) {
    for reason in answer.reasons.iter().filter(|reason| is_obstacle(reason)) {
        anstream::eprintln!("{}: {}", style::warning("note"), sentence(reason));
    }
}

/// Whether somebody must do something before such tasks run.
fn is_obstacle(reason: &Reason) -> bool {
    ["no_workers", "tags", "memory", "fit", "draining", "queue"].contains(&reason.kind.as_str())
}

pub fn request_id(given: Option<&str>) -> Result<RequestId, Failure> {
    match given {
        None => Ok(RequestId::generate()),
        Some(text) => {
            RequestId::new(text).map_err(|error| Failure::Usage(format!("--request-id: {error}")))
        }
    }
}

pub fn user(given: Option<&str>, connect: &ConnectArgs) -> Result<UserName, Failure> {
    match given.or(connect.way()?.user.as_deref()) {
        Some(text) => {
            UserName::new(text).map_err(|error| Failure::Usage(format!("--user: {error}")))
        }
        None => {
            let name = std::env::var("USER").ok().and_then(|name| UserName::new(name).ok());
            let local = || UserName::new("local").context("a plain word is a user name");
            Ok(name.map_or_else(local, Ok)?)
        }
    }
}
