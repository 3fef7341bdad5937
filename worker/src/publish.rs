//! From a picture to a stored frame that counts: encode, write create-only, commit.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinError, spawn_blocking};
use vqfarm_core::keys;
use vqfarm_queue::{Queue, QueueError};
use vqfarm_storage::frame::{self, FrameError, FrameInfo};
use vqfarm_storage::{CheckError, Found, Put, StoreError, check};

use crate::job::OpenJob;
use crate::lane::Task;
use crate::paint::Painted;

/// Writes that fail are tried again after these pauses.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

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
    #[error("the thread that encodes pictures died: {0}")]
    Thread(#[from] JoinError),
}

/// A stored frame.
pub struct Published {
    pub key: String,
    pub info: FrameInfo,
    /// Somebody else's frame lay there already; it is taken as it is.
    pub adopted: bool,
}

/// Stores the picture and commits its task.
///
/// # Errors
/// Storage failed three times; the lease is over.
pub async fn publish(
    queue: &dyn Queue,
    task: &Task,
    painted: Painted,
) -> Result<Published, PublishError> {
    let info = task.job.frame_info(&task.cell, painted.score);
    let key = keys::frame(task.cell.index);
    let (bytes, info) = spawn_blocking(move || {
        let bytes = frame::encode(&painted.picture, &info)?;
        Ok::<_, FrameError>((Bytes::from(bytes), info))
    })
    .await??;
    let stored = store(&task.job, &key, bytes).await?;
    queue.commit(&task.ticket).await?;
    Ok(match stored {
        None => Published { key, info, adopted: false },
        Some(theirs) => Published { key, info: theirs, adopted: true },
    })
}

/// Writes a frame; answers with what another frame of the job says that was there before.
async fn store(job: &OpenJob, key: &str, bytes: Bytes) -> Result<Option<FrameInfo>, PublishError> {
    let store = &job.store;
    loop {
        if with_patience(|| store.create(key, bytes.clone())).await? == Put::Stored {
            return Ok(None);
        }
        match check(store, key, &job.record.spec_hash).await? {
            Found::Frame(info) => return Ok(Some(*info)),
            Found::Nothing => (),
            Found::Damaged(reason) => {
                tracing::warn!(key, reason, "a damaged frame is replaced");
                store.delete(key).await?;
            }
            // Nothing of another job is ever deleted.
            Found::OtherJob => {
                let source = format!("{key} holds a frame of another job");
                return Err(FrameError::Foreign(source).into());
            }
        }
    }
}

/// Tries up to three times.
async fn with_patience<T, F>(operation: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for pause in PAUSES {
        match operation().await {
            Ok(done) => return Ok(done),
            Err(error) => {
                tracing::warn!(%error, "storage failed; trying again");
                tokio::time::sleep(pause).await;
            }
        }
    }
    operation().await
}
