//! Stitching on the farm: a job of its own over the frames of another one.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::v1::{
    Job as FarmJob, JobRequest, JobState, ListTasksRequest, SubmitRequest, SubmitResponse,
};

use super::client::{ConnectArgs, Farm};
use super::fetch::receive;
use super::submit::{Telling, obstacles, request_id, send, tell, user};
use super::watch::{follow, watch_job};
use super::{Outcome, show};
use crate::failure::Failure;
use crate::stitch::{self, OutputArgs, PreviewFile, SubmitArgs};

/// What is to be stitched, and how.
pub struct Stitching<'a> {
    pub job: &'a str,
    pub output: &'a OutputArgs,
    pub submit: &'a SubmitArgs,
    pub request: Option<&'a str>,
    pub connect: &'a ConnectArgs,
}

struct Wanted {
    /// The job that has the frames.
    source: FarmJob,
    /// Its spec, with the outputs that are wanted.
    job: Job,
}

pub async fn stitch(stitching: Stitching<'_>, watch: bool, json: bool) -> Outcome {
    let mut farm = stitching.connect.connect().await?;
    let wanted = stitching.look_up(&mut farm).await?;
    let answer = stitching.submit(farm, &wanted, false).await?;
    tell(Telling { json, dry_run: false, watch }, &answer, None)?;
    let id = answer.job.unwrap_or_default().id;
    if watch { watch_job(stitching.connect, &id, json, None).await } else { Ok(ExitCode::SUCCESS) }
}

pub async fn preview(stitching: Stitching<'_>, out: Option<&Path>, json: bool) -> Outcome {
    let connect = stitching.connect;
    let mut farm = connect.connect().await?;
    let wanted = stitching.look_up(&mut farm).await?;
    let file = PreviewFile::new(&wanted.job, out)?;
    let answer = stitching.submit(farm.clone(), &wanted, true).await?;
    obstacles(&answer);
    let id = answer.job.unwrap_or_default().id;
    let over = follow(connect, &id, |_| Ok(())).await?;
    // The coordinator may have been another one meanwhile.
    let mut farm = connect.connect().await?;
    match over.state() {
        JobState::Done => (),
        JobState::Failed => return Err(failure(&mut farm, connect, id).await?),
        state => {
            anstream::eprintln!("{}", show::outcome(&over));
            return Ok(ExitCode::from(show::exit_status(state).unwrap_or(1)));
        }
    }
    let made = tempfile::tempdir().context("cannot make a temporary folder")?;
    receive(&mut farm, connect, id.clone(), made.path()).await?;
    let (shown, all) = frames_shown(&made.path().join(keys::SCORES))?;
    let files = file.publish(made.path())?;
    stitch::tell(&files, json, json!({ "job": id, "frames": shown, "cells": all }))?;
    anstream::eprintln!("{shown} of {all} frames");
    Ok(ExitCode::SUCCESS)
}

/// How many frames a stitching shows, and of how many, as its table of scores says: those with a
/// file.
fn frames_shown(scores: &Path) -> anyhow::Result<(usize, usize)> {
    let unreadable = || format!("cannot read {}", scores.display());
    let mut table = csv::Reader::from_path(scores).with_context(unreadable)?;
    let head = table.headers().with_context(unreadable)?;
    let file = head.iter().position(|column| column == "file");
    let (mut shown, mut all) = (0, 0);
    for row in table.records() {
        let row = row.with_context(unreadable)?;
        all += 1;
        shown += usize::from(file.and_then(|at| row.get(at)).is_some_and(|name| !name.is_empty()));
    }
    Ok((shown, all))
}

/// What the one task failed of.
async fn failure(farm: &mut Farm, connect: &ConnectArgs, job: String) -> Result<Failure, Failure> {
    let request = ListTasksRequest { job, state: "failed".into(), ..Default::default() };
    let tasks = farm.list_tasks(request).await.map_err(|s| connect.explain(s))?.into_inner();
    let error = tasks.tasks.into_iter().next().map(|task| task.last_error);
    Ok(Failure::Other(anyhow!("{}", error.unwrap_or_else(|| "the stitching failed".into()))))
}

impl Stitching<'_> {
    async fn look_up(&self, farm: &mut Farm) -> Result<Wanted, Failure> {
        let (mut source, record) = self.get(farm, self.job.to_owned()).await?;
        let job = self.output.apply(&record)?;
        if let Some(its) = record.source {
            (source, _) = self.get(farm, its.job.to_string()).await?;
        }
        Ok(Wanted { source, job })
    }

    async fn get(&self, farm: &mut Farm, job: String) -> Result<(FarmJob, JobRecord), Failure> {
        let answer = farm.get_job(JobRequest { job }).await;
        let answer = answer.map_err(|s| self.connect.explain(s))?.into_inner();
        let job = answer.job.unwrap_or_default();
        let record = serde_json::from_str(&answer.record).with_context(|| {
            format!("job {}: its job.json cannot be read", show::short(&job.id))
        })?;
        Ok((job, record))
    }

    /// Of a preview, `partial` is set.
    async fn submit(
        &self,
        farm: Farm,
        wanted: &Wanted,
        partial: bool,
    ) -> Result<SubmitResponse, Failure> {
        // It takes no time beside the job that it is of, so it need not wait for that one's tasks.
        let usual = wanted.source.priority.saturating_add(1);
        let message = SubmitRequest {
            job: serde_json::to_string(&wanted.job).context("cannot write the job as JSON")?,
            request_id: request_id(self.request)?.to_string(),
            priority: self.submit.priority.unwrap_or(usual),
            user: user(self.submit.user.as_deref(), self.connect)?.to_string(),
            frames_of: wanted.source.id.clone(),
            partial,
            ..SubmitRequest::default()
        };
        send(farm, self.connect, message, |_| Ok(())).await
    }
}
