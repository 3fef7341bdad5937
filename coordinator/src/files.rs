//! A job's files on their way to a user: frames and outputs, logs.

use std::ops::Range;

use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use vqfarm_core::id::{JobId, TaskId, WorkerId};
use vqfarm_core::keys;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_storage::JobStore;

use crate::error::{Error, Result};
use crate::farm::{Farm, layer_number};

/// Files that are read ahead.
const AHEAD: usize = 4;
/// After so many attempts without a log no others are looked for.
const GAP: u32 = 2;

/// The most frames that are listed at a time.
const LISTED: u32 = 10_000;

/// A part of what a job has stored.
pub struct Listed {
    /// Numbers, ascending.
    pub frames: Vec<u64>,
    /// As `out/video.mp4`.
    pub outputs: Vec<String>,
    /// The job that has the frames.
    pub frames_of: JobId,
}

/// A whole file of a job, by its key.
pub struct File {
    pub key: String,
    pub bytes: bytes::Bytes,
}

/// What one attempt logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub job: JobId,
    pub layer: String,
    pub index: u64,
    pub attempt: u32,
    pub text: String,
}

impl Farm {
    /// The paths of all of a job's files as they are now: its record, the files it uses, frames
    /// but for those in `have`, outputs last.
    pub async fn all_files(&self, job: JobId, have: Vec<Range<u64>>) -> Result<Vec<String>> {
        let store = self.storage.job(job);
        let mut listed = vec![keys::JOB_RECORD.to_owned()];
        let names = store.names(keys::ASSETS).await?.into_iter();
        listed.extend(names.map(|name| format!("{}/{name}", keys::ASSETS)));
        let frames = store.names(keys::FRAMES).await?;
        let wanted = frames
            .iter()
            .filter_map(|name| keys::frame_index(name))
            .filter(|index| !have.iter().any(|range| range.contains(index)));
        listed.extend(wanted.map(keys::frame));
        let names = store.names(keys::OUTPUTS).await?.into_iter();
        listed.extend(names.map(|name| format!("{}/{name}", keys::OUTPUTS)));
        Ok(listed)
    }

    /// Those of these files that are there.
    pub fn files(
        &self,
        job: JobId,
        paths: Vec<String>,
    ) -> impl Stream<Item = Result<File>> + Send + 'static {
        let store = self.storage.job(job);
        let read = move |key: String| {
            let store = store.clone();
            async move {
                // What has vanished since the listing is being made again.
                let bytes = store.get(&key).await?;
                Ok(bytes.map(|bytes| File { key, bytes }))
            }
        };
        let read = stream::iter(paths).map(read).buffered(AHEAD);
        read.filter_map(|file: Result<Option<File>>| async move { file.transpose() })
    }

    /// Which of the frames from `first` on a job has, and which outputs.
    ///
    /// # Errors
    /// More than [`LISTED`] frames are asked about; there is no such job.
    pub async fn list_files(&self, job: JobId, first: u64, frames: u32) -> Result<Listed> {
        if frames > LISTED {
            let message = format!("up to {LISTED} frames are listed at a time, not {frames}");
            return Err(Error::refused(Reason::BadRequest, message));
        }
        let frames_of = self.frames_owner(job).await?;
        let outputs = self.storage.job(job).names(keys::OUTPUTS).await?;
        let wanted = first..first.saturating_add(frames.into());
        let mut found = Vec::new();
        if let Some(last) = wanted.clone().last() {
            let store = self.storage.job(frames_of);
            let names = match keys::frame(first).len() == keys::frame(last).len() {
                true => store.names_between(&keys::frame(first), &keys::frame(last)).await?,
                // Names of other lengths are not in the order of their numbers.
                false => store.names(keys::FRAMES).await?,
            };
            found.extend(names.iter().filter_map(|name| keys::frame_index(name)));
            found.retain(|index| wanted.contains(index));
            found.sort_unstable();
        }
        let outputs = outputs.into_iter().map(|name| format!("{}/{name}", keys::OUTPUTS));
        Ok(Listed { frames: found, outputs: outputs.collect(), frames_of })
    }

    /// What was logged of one task, or of all tasks of a layer, or of all layers, attempt by
    /// attempt.
    pub async fn logs(
        &self,
        job: JobId,
        layer: &str,
        task: Option<u64>,
    ) -> Result<impl Stream<Item = Result<Log>> + Send + 'static> {
        let snapshot = self.queue.job(job).await?;
        let layers: Vec<String> = match (layer, task) {
            ("", None) => snapshot.layers.into_iter().map(|layer| layer.name).collect(),
            _ => {
                let number = usize::from(layer_number(&snapshot, layer)?);
                vec![snapshot.layers[number].name.clone()]
            }
        };
        let store = self.storage.job(job);
        let mut found = Vec::new();
        for layer in layers {
            let mut logs = logs_of(&store, &layer).await?;
            logs.retain(|(index, _)| task.is_none_or(|task| task == *index));
            found.extend(logs.into_iter().map(|(index, attempt)| (layer.clone(), index, attempt)));
        }
        let read = move |(layer, index, attempt): (String, u64, u32)| {
            let store = store.clone();
            async move {
                let bytes = store.get(&keys::log(&layer, index, attempt)).await?;
                let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
                Ok(Log { job, layer, index, attempt, text })
            }
        };
        Ok(stream::iter(found).map(read).buffered(AHEAD))
    }

    /// What was logged of the last attempts at the `last` tasks that ended last, the latest at
    /// the end: of a job, of a worker, or of a job on a worker. Of a job of which nothing was
    /// heard yet, the tasks with the highest numbers.
    pub async fn last_logs(
        &self,
        job: Option<JobId>,
        worker: Option<&WorkerId>,
        last: usize,
    ) -> Result<Vec<Log>> {
        let tasks = match (job, worker) {
            (job, Some(worker)) => {
                let mut tasks = self.recent.of_worker(worker);
                tasks.retain(|task| job.is_none_or(|job| task.job == job));
                tasks
            }
            (Some(job), None) => match self.recent.of_job(job) {
                heard if heard.is_empty() => return self.highest_logs(job, last).await,
                heard => heard,
            },
            (None, None) => Vec::new(),
        };
        let read = |task: TaskId| async move {
            let plan = self.plan(task.job).await?;
            let layer = plan.as_ref().and_then(|plan| plan.layers.get(usize::from(task.layer)));
            let Some(layer) = layer else { return Ok(None) };
            self.last_log(task.job, &layer.name, layer.number_of(task.index)).await
        };
        let logs = stream::iter(tasks.into_iter().take(last)).map(read).buffered(AHEAD);
        let mut logs: Vec<Log> = logs.try_filter_map(async |log| Ok(log)).try_collect().await?;
        logs.reverse();
        Ok(logs)
    }

    /// The log of the last attempt that has one, of the task that is known by a number.
    async fn last_log(&self, job: JobId, layer: &str, index: u64) -> Result<Option<Log>> {
        let store = self.storage.job(job);
        let mut found = None;
        // An attempt of a worker that was killed leaves none.
        let mut missing = 0;
        for attempt in 1.. {
            let Some(bytes) = store.get(&keys::log(layer, index, attempt)).await? else {
                missing += 1;
                if missing == GAP {
                    break;
                }
                continue;
            };
            missing = 0;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            found = Some(Log { job, layer: layer.to_owned(), index, attempt, text });
        }
        Ok(found)
    }

    async fn highest_logs(&self, job: JobId, last: usize) -> Result<Vec<Log>> {
        let mut highest = Vec::new();
        for layer in self.queue.job(job).await?.layers {
            let logs = logs_of(&self.storage.job(job), &layer.name).await?;
            let mut tasks: Vec<u64> = logs.into_iter().map(|(index, _)| index).collect();
            tasks.dedup();
            highest.extend(tasks.into_iter().map(|index| (layer.name.clone(), index)));
        }
        let read =
            |(layer, index): (String, u64)| async move { self.last_log(job, &layer, index).await };
        let first = highest.len().saturating_sub(last);
        let logs = stream::iter(highest.split_off(first)).map(read).buffered(AHEAD);
        logs.try_filter_map(async |log| Ok(log)).try_collect().await
    }
}

/// Task and attempt of each log of a layer, in their order.
async fn logs_of(store: &JobStore, layer: &str) -> Result<Vec<(u64, u32)>> {
    let number = |name: &String| {
        let (index, attempt) = name.strip_suffix(".log")?.split_once('.')?;
        Some((index.parse().ok()?, attempt.parse().ok()?))
    };
    let names = store.names(&format!("logs/{layer}")).await?;
    let mut logs: Vec<(u64, u32)> = names.iter().filter_map(number).collect();
    logs.sort_unstable();
    Ok(logs)
}
