//! What a farm need not keep: old jobs, files of jobs that never were, weights and records that
//! nobody needs.
//!
//! Everything is judged anew each time, so that what was interrupted goes on with the next call.
//! [`survey`] says what is there and which jobs may go, [`jobs`] deletes jobs, [`rest`] what is
//! beside them.

mod jobs;
mod rest;
mod survey;

use std::time::Duration;

use futures::future::ready;
use futures::stream::{Stream, TryStreamExt};
use tokio::sync::mpsc;
use vqfarm_queue::QueueError;
use vqfarm_storage::{JobStore, Listed, StoreError};

use crate::error::Result;
use crate::farm::Farm;

/// Objects that are deleted at the same time.
const AT_ONCE: usize = 16;
/// What is younger than this may be of something that has only just begun.
const YOUNG: Duration = Duration::from_secs(24 * 3600);

/// What may go.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Jobs that ended longer ago.
    pub older_than: Duration,
    /// Of jobs that are done or cancelled, only what their pictures were made of.
    pub keep_results: bool,
    /// Delete what is found.
    pub delete: bool,
}

/// Objects that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Garbage {
    pub kind: Kind,
    /// A job's id or the hash of weights.
    pub id: String,
    /// A job's name.
    pub name: String,
    pub reason: String,
    pub objects: u64,
    pub bytes: u64,
    pub deleted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A job, all of it.
    Job,
    /// What layers of a job handed to one another, and logs.
    Work,
    /// Files without a job.
    Orphan,
    /// Weights.
    Model,
    /// Records of where pictures are stored, which are not there any more.
    Cells,
}

impl Kind {
    pub fn word(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Work => "work",
            Self::Orphan => "orphan",
            Self::Model => "model",
            Self::Cells => "cells",
        }
    }
}

/// How many objects, and how large they are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Size {
    objects: u64,
    bytes: u64,
}

impl Farm {
    /// Tells of everything that may go, and deletes it first if the policy says so. Ends early when
    /// nobody listens any more.
    ///
    /// # Errors
    /// Queue or storage do not answer, or the queue is closed. What was deleted stays so; the same
    /// call goes on.
    pub async fn collect_garbage(
        &self,
        policy: &Policy,
        to: &mpsc::Sender<Result<Garbage>>,
    ) -> Result<()> {
        if self.queue.epoch().await?.is_none() {
            // Jobs that are not back yet would look like none.
            return Err(QueueError::Closed.into());
        }
        let survey = self.survey(policy).await?;
        for job in &survey.going {
            let found = match policy.keep_results && !job.begun {
                true => self.collect_work(job, policy).await?,
                false => self.collect_job(job, &survey, policy).await?,
            };
            if !tell(to, found).await {
                return Ok(());
            }
        }
        for orphan in &survey.orphans {
            let found = self.collect_orphan(*orphan, policy).await?;
            if !tell(to, found).await {
                return Ok(());
            }
        }
        let models = self.collect_models(&survey, policy).await?;
        let cells = self.collect_cells(&survey, policy).await?;
        tell(to, models.into_iter().chain(cells)).await;
        Ok(())
    }
}

/// Whether anybody listens.
async fn tell(
    to: &mpsc::Sender<Result<Garbage>>,
    found: impl IntoIterator<Item = Garbage>,
) -> bool {
    for garbage in found {
        if to.send(Ok(garbage)).await.is_err() {
            return false;
        }
    }
    !to.is_closed()
}

/// Adds objects up, and deletes them if so asked.
async fn sweep(
    store: &JobStore,
    objects: impl Stream<Item = Result<Listed, StoreError>>,
    delete: bool,
) -> Result<Size> {
    let each = objects.map_ok(|listed| async move {
        if delete {
            store.delete(&listed.key).await?;
        }
        Ok(listed)
    });
    let add = |size: Size, listed: Listed| {
        let (objects, bytes) = (size.objects + 1, size.bytes + listed.bytes);
        ready(Ok(Size { objects, bytes }))
    };
    Ok(each.try_buffer_unordered(AT_ONCE).try_fold(Size::default(), add).await?)
}
