//! Models of this machine on their way to the farm.

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use vqfarm_proto::v1::put_model_request::Part;
use vqfarm_proto::v1::{FindModelsRequest, Model, PutModelRequest, PutModelResponse};
use vqfarm_weights::library::{Config, Entry, Library};

use super::client::{ConnectArgs, Farm};
use super::{Outcome, show};
use crate::complete;
use crate::failure::Failure;

/// Bytes of weights that travel in one message.
const CHUNK: usize = 1 << 20;

/// Copy a model of this machine to the farm
///
/// Jobs that are submitted from then on mean these weights by the name. `vqfarm submit` pushes
/// what the farm lacks by itself.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// A name from `vqfarm models list`
    #[arg(add = ArgValueCompleter::new(complete::models))]
    pub name: String,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn push(args: PushArgs, library: Library, json: bool) -> Outcome {
    let entry = library.open(&args.name)?;
    let mut farm = args.connect.connect().await?;
    let pushed = push_entry(&mut farm, &args.connect, &entry).await?;
    if json {
        let replaced = (!pushed.replaced.is_empty()).then_some(pushed.replaced);
        show::json_lines([json!({
            "name": entry.name.as_str(), "sha256": entry.sha256,
            "existed": pushed.existed, "replaced": replaced,
        })])?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = if pushed.existed { "the farm has these weights already" } else { "pushed" };
    anstream::eprintln!("{}: {what}", entry.name);
    if !pushed.replaced.is_empty() {
        anstream::eprintln!(
            "the name stood for {} before; jobs submitted until now keep that",
            &pushed.replaced[..12.min(pushed.replaced.len())]
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The library's models that the farm lacks, of those named.
pub async fn missing(
    farm: &mut Farm,
    connect: &ConnectArgs,
    library: &Library,
    names: Vec<String>,
) -> Result<Vec<Entry>, Failure> {
    let request = FindModelsRequest { names: names.clone() };
    let answer = farm.find_models(request).await.map_err(|s| connect.explain(s))?;
    let known = answer.into_inner().models;
    let mut missing = Vec::new();
    for name in names {
        let here = library.open(&name).ok();
        match (known.iter().find(|model| model.name == name), here) {
            (None, Some(entry)) => missing.push(entry),
            (Some(model), Some(entry)) if model.sha256 != entry.sha256 => {
                anstream::eprintln!(
                    "{}: the farm means other weights by {name:?} than this machine; to change \
                     that: vqfarm models push {name}",
                    crate::style::warning("warning")
                );
            }
            // The farm has it, or says itself that nobody does.
            _ => (),
        }
    }
    Ok(missing)
}

pub fn describe(entry: &Entry) -> Model {
    let kind = match entry.record.config {
        Config::Vqgan(_) => "generator",
        Config::Clip(_) => "perceptor",
    };
    let bytes = entry.path.metadata().map_or(entry.record.bytes, |meta| meta.len());
    let (name, sha256) = (entry.name.to_string(), entry.sha256.clone());
    // What cannot be written is as good as not known.
    let config = serde_json::to_string(&entry.record.config).unwrap_or_default();
    Model { name, sha256, kind: kind.into(), bytes, config }
}

/// Sends a model's weights.
pub async fn push_entry(
    farm: &mut Farm,
    connect: &ConnectArgs,
    entry: &Entry,
) -> Result<PutModelResponse, Failure> {
    let model = describe(entry);
    let mut file =
        File::open(&entry.path).with_context(|| format!("cannot read {}", entry.path.display()))?;
    let bar = ProgressBar::new(model.bytes);
    let style = "{msg} {bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).context("the progress bar's template")?);
    bar.set_message(format!("pushing {}", model.name));
    bar.enable_steady_tick(Duration::from_millis(500));
    let (to, parts) = mpsc::channel(4);
    let progress = bar.clone();
    let reading = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let send = |part| to.blocking_send(PutModelRequest { part: Some(part) }).is_ok();
        let mut listening = send(Part::Model(model));
        while listening {
            let mut data = Vec::with_capacity(CHUNK);
            let read = (&mut file).take(CHUNK as u64).read_to_end(&mut data)? as u64;
            if read == 0 {
                break;
            }
            progress.inc(read);
            // The coordinator stops listening when it has the weights already.
            listening = send(Part::Data(data));
        }
        Ok(())
    });
    let answer = farm.put_model(ReceiverStream::new(parts)).await;
    bar.finish_and_clear();
    let pushed = answer.map_err(|s| connect.explain(s))?.into_inner();
    reading
        .await
        .context("the thread that reads weights died")?
        .with_context(|| format!("cannot read {}", entry.path.display()))?;
    Ok(pushed)
}
