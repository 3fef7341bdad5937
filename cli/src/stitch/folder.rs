//! Stitching in a folder of this machine.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use vqfarm_core::event::Event;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;

use super::{OutputArgs, PreviewFile};
use crate::failure::Failure;
use crate::render::{print_json, say};
use crate::worker::{self, Outcome, Worker};

/// Makes a folder's outputs again, in the folder.
pub fn stitch(dir: &Path, output: &OutputArgs, json: bool) -> Result<ExitCode, Failure> {
    let job = output.apply(&record(dir)?)?;
    let worker = start(dir, &job, None)?;
    let hear = |event: &_| if json { print_json(event) } else { Ok(()) };
    match worker.finish(json, Event::summary, hear)? {
        Outcome::Done(summary) => {
            if !json {
                say(&summary)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Told(status) => Ok(status),
    }
}

/// Makes a file of the frames that are there; the folder stays as it is.
pub fn preview(
    dir: &Path,
    output: &OutputArgs,
    out: Option<&Path>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let job = output.apply(&record(dir)?)?;
    let file = PreviewFile::new(&job, out)?;
    let made = tempfile::tempdir().context("cannot make a temporary folder")?;
    let summary =
        match start(dir, &job, Some(made.path()))?.finish(false, Event::summary, |_| Ok(()))? {
            Outcome::Done(summary) => summary,
            Outcome::Told(status) => return Ok(status),
        };
    let files = file.publish(made.path())?;
    super::tell(&files, json, json!({ "frames": summary.frames, "cells": summary.cells }))?;
    anstream::eprintln!("{} of {} frames", summary.frames, summary.cells);
    Ok(ExitCode::SUCCESS)
}

/// The record of a folder that has frames.
fn record(dir: &Path) -> Result<JobRecord, Failure> {
    let path = dir.join(keys::JOB_RECORD);
    let wrong = |reason: String| Failure::Usage(format!("{}: {reason}", path.display()));
    let bytes = fs::read(&path).map_err(|error| {
        wrong(format!("{error}; name a folder of `vqfarm render`, or a job of the farm by its id"))
    })?;
    let record: JobRecord = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("not a job of vqfarm: {error}")))?;
    if let Some(source) = record.source {
        let job = source.job.short();
        return Err(wrong(format!(
            "the frames are not here, but with job {job}: vqfarm fetch {job} DIR"
        )));
    }
    Ok(record)
}

fn start(dir: &Path, job: &Job, preview: Option<&Path>) -> anyhow::Result<Worker> {
    let mut command = worker::command("stitch")?;
    command.arg("--dir").arg(dir);
    if let Some(preview) = preview {
        command.arg("--preview").arg(preview);
    }
    Worker::start(command, job)
}
