//! A job's files on their way to a user: frames and outputs, logs.

use std::ops::Range;

use futures::stream::{self, Stream, StreamExt};
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_storage::JobStore;

use crate::error::Result;
use crate::farm::{Farm, layer_number};

/// Files that are read ahead.
const AHEAD: usize = 4;

/// A whole file of a job, by its key.
pub struct File {
    pub key: String,
    pub bytes: bytes::Bytes,
}

/// What one attempt logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    pub layer: String,
    pub index: u64,
    pub attempt: u32,
    pub text: String,
}

impl Farm {
    /// The job's files as they are now: its record, the files it uses, frames but for those
    /// in `have`, outputs last.
    pub async fn files(
        &self,
        job: JobId,
        have: Vec<Range<u64>>,
    ) -> Result<impl Stream<Item = Result<File>> + Send + 'static> {
        let store = self.storage.job(job);
        let mut listed = vec![keys::JOB_RECORD.to_owned()];
        let names = store.names("assets").await?.into_iter();
        listed.extend(names.map(|name| format!("assets/{name}")));
        let frames = store.names(keys::FRAMES).await?;
        let wanted = frames
            .iter()
            .filter_map(|name| keys::frame_index(name))
            .filter(|index| !have.iter().any(|range| range.contains(index)));
        listed.extend(wanted.map(keys::frame));
        let names = store.names("out").await?.into_iter();
        listed.extend(names.map(|name| format!("out/{name}")));
        let read = move |key: String| {
            let store = store.clone();
            async move {
                // What has vanished since the listing is being made again.
                let bytes = store.get(&key).await?;
                Ok(bytes.map(|bytes| File { key, bytes }))
            }
        };
        let read = stream::iter(listed).map(read).buffered(AHEAD);
        Ok(read.filter_map(|file: Result<Option<File>>| async move { file.transpose() }))
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
                Ok(Log { layer, index, attempt, text })
            }
        };
        Ok(stream::iter(found).map(read).buffered(AHEAD))
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
