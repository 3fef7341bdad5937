//! From a picture to a stored frame that counts: encode, write create-only, commit.

use std::time::Instant;

use bytes::Bytes;
use tokio::task::{JoinError, spawn_blocking};
use vqfarm_queue::QueueError;
use vqfarm_storage::frame::{self, FrameError, FrameInfo};
use vqfarm_storage::{CheckError, Found, Put, StoreError, check};

use crate::commit::Committer;
use crate::job::OpenJob;
use crate::lane::Task;
use crate::meters::Meters;
use crate::paint::Painted;

/// Why a picture did not become a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Nobody can render over it, and nothing of another job is ever deleted.
    #[error("{0} holds a frame of another job")]
    OtherJob(String),
    #[error("the thread that encodes pictures died: {0}")]
    Thread(#[from] JoinError),
}

impl PublishError {
    /// Whether another attempt may succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::OtherJob(_))
    }

    /// Whether storage was slow, away or in trouble, so that the next task will hardly fare
    /// better.
    pub fn is_of_storage(&self) -> bool {
        match self {
            Self::Store(error) | Self::Check(CheckError::Store(error)) => error.is_transient(),
            _ => false,
        }
    }
}

/// A stored frame.
pub struct Published {
    pub key: String,
    pub info: FrameInfo,
    /// Somebody else's frame lay there already; it is taken as it is.
    pub adopted: bool,
}

/// What lay where a task's frame should be, before anything was rendered.
pub enum Stored {
    /// The frame is there; it is taken as it is.
    Frame(Box<FrameInfo>),
    Nothing,
}

/// Looks for a task's frame. A damaged one is thrown away.
///
/// # Errors
/// Storage does not answer, or a frame of another job lies there.
pub async fn look(job: &OpenJob, key: &str) -> Result<Stored, PublishError> {
    match check(&job.store, key, &job.record.spec_hash).await? {
        Found::Frame(info) => Ok(Stored::Frame(info)),
        Found::Nothing => Ok(Stored::Nothing),
        Found::Damaged(reason) => {
            tracing::warn!(key, reason, "a damaged frame is replaced");
            job.store.delete(key).await?;
            Ok(Stored::Nothing)
        }
        Found::OtherJob => Err(PublishError::OtherJob(key.to_owned())),
    }
}

/// Stores the picture and commits its task.
///
/// # Errors
/// Storage failed for longer than its patience; the lease is over.
pub async fn publish(
    committer: &Committer,
    meters: &Meters,
    task: &Task,
    painted: Painted,
) -> Result<Published, PublishError> {
    let info = task.job.frame_info(task.index, &task.picture.settings, painted.score);
    let published = put(meters, &task.job, &task.key, info, painted).await?;
    committer.commit(task.attempt.ticket).await?;
    Ok(published)
}

/// Stores a picture at a key, as a frame is, or finds that it is stored already.
///
/// # Errors
/// Storage failed for longer than its patience.
pub async fn put(
    meters: &Meters,
    job: &OpenJob,
    key: &str,
    info: FrameInfo,
    painted: Painted,
) -> Result<Published, PublishError> {
    let key = key.to_owned();
    let (bytes, info) = spawn_blocking(move || {
        let bytes = frame::encode(&painted.picture, &info)?;
        Ok::<_, FrameError>((Bytes::from(bytes), info))
    })
    .await??;
    let (size, begin) = (bytes.len(), Instant::now());
    let stored = store(job, &key, bytes).await;
    meters.uploaded(size, begin.elapsed(), stored.is_ok());
    let stored = stored?;
    tracing::info!(key, bytes = size, adopted = stored.is_some(), "stored");
    Ok(match stored {
        None => Published { key, info, adopted: false },
        Some(theirs) => Published { key, info: theirs, adopted: true },
    })
}

/// Writes a frame; answers with what another frame of the job says that was there before.
async fn store(job: &OpenJob, key: &str, bytes: Bytes) -> Result<Option<FrameInfo>, PublishError> {
    loop {
        if job.store.create(key, bytes.clone()).await? == Put::Stored {
            return Ok(None);
        }
        if let Stored::Frame(info) = look(job, key).await? {
            return Ok(Some(*info));
        }
    }
}
