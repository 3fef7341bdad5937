//! From a picture to a stored frame that counts: encode, write create-only, commit.

use std::time::Instant;

use bytes::Bytes;
use tokio::task::{JoinError, spawn_blocking};
use tracing::{Instrument, trace_span};
use vqfarm_core::sweep::Cell;
use vqfarm_queue::QueueError;
use vqfarm_service::trace::TARGET as TRACE;
use vqfarm_storage::frame::{self, FrameError, FrameInfo};
use vqfarm_storage::{CheckError, Found, Put, StoreError, check};

use crate::cells::{Cells, Taken, sha256};
use crate::commit::Committer;
use crate::early_stop::saved_key;
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
    pub origin: Origin,
}

/// Where a stored frame comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was made here.
    Rendered {
        /// Of its file, in hexadecimal.
        sha256: String,
    },
    /// Somebody else's frame lay there already; it is taken as it is.
    Adopted,
    /// Its picture was made before, for another job.
    TakenOver,
}

impl Origin {
    /// In a word, for logs and meters.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rendered { .. } => "rendered",
            Self::Adopted => "adopted",
            Self::TakenOver => "taken over",
        }
    }
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
    cells: &Cells,
    task: &Task,
    painted: Painted,
) -> Result<Published, PublishError> {
    let stopped = task.part.until.as_ref().map(|until| until.iterations);
    let info = task.job.frame_info(task.index, &task.picture.settings, painted.score);
    let info = FrameInfo { stopped, ..info };
    if let Some(saved) = painted.saved.clone() {
        // First: whoever finds the picture finds what it goes on from, too.
        let uploading = trace_span!(target: TRACE, "upload state", bytes = saved.len());
        task.job.store.replace(&saved_key(&task.key), saved).instrument(uploading).await?;
    }
    let published = put(meters, &task.job, &task.key, info, painted).await?;
    if let (Some(identity), Origin::Rendered { sha256 }) = (task.identity(), &published.origin) {
        let noting = trace_span!(target: TRACE, "note cell");
        cells.note(&task.job, &task.key, &identity, sha256).instrument(noting).await;
    }
    committer.commit(task.attempt.ticket).await?;
    Ok(published)
}

/// Stores a picture that was made before, under `key`, as the job's own.
///
/// # Errors
/// Storage failed for longer than its patience.
pub async fn take_over(
    meters: &Meters,
    cells: &Cells,
    job: &OpenJob,
    cell: &Cell,
    found: FoundCell,
) -> Result<Published, PublishError> {
    let FoundCell { key, identity, taken, saved } = found;
    let (stopped, from) = (taken.stopped, taken.from.clone());
    let painted = taken.painted();
    let info = job.frame_info(cell.index, &cell.render, painted.score);
    let info = FrameInfo { stopped, ..info };
    if let Some(saved) = saved {
        job.store.replace(&saved_key(&key), saved).await?;
    }
    let stored = put(meters, job, &key, info, painted).await?;
    let Origin::Rendered { sha256 } = &stored.origin else { return Ok(stored) };
    if let (Some(from), None) = (&from, stopped) {
        cells.note_taken(job, cell.index, from).await;
    }
    // The newest job is the last to be removed.
    cells.note(job, &key, &identity, sha256).await;
    Ok(Published { origin: Origin::TakenOver, ..stored })
}

/// A picture that was made before, and what it shall be in the job.
pub struct FoundCell {
    pub key: String,
    pub identity: String,
    pub taken: Taken,
    /// Of a preview: what it goes on from.
    pub saved: Option<Bytes>,
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
    let encoding = trace_span!(target: TRACE, "encode");
    let (bytes, sha256, info) = spawn_blocking(move || {
        let _encoding = encoding.entered();
        let bytes = frame::encode(&painted.picture, &info)?;
        let sha256 = sha256(&bytes);
        Ok::<_, FrameError>((Bytes::from(bytes), sha256, info))
    })
    .await??;
    let (size, begin) = (bytes.len(), Instant::now());
    let uploading = trace_span!(target: TRACE, "upload", bytes = size);
    let stored = store(job, &key, bytes).instrument(uploading).await;
    meters.uploaded(size, begin.elapsed(), stored.is_ok());
    let stored = stored?;
    tracing::info!(key, bytes = size, adopted = stored.is_some(), "stored");
    Ok(match stored {
        None => Published { key, info, origin: Origin::Rendered { sha256 } },
        Some(theirs) => Published { key, info: theirs, origin: Origin::Adopted },
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
