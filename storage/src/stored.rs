//! What lies where a frame should be.

use tokio::task::{JoinError, spawn_blocking};
use vqfarm_core::keys;

use crate::frame::{self, FrameInfo};
use crate::{JobStore, StoreError};

/// What lies where a frame should be.
pub enum Found {
    Nothing,
    Frame(Box<FrameInfo>),
    Damaged(String),
    OtherJob,
}

/// Why nobody can tell what lies there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that decodes pictures died: {0}")]
    Thread(#[from] JoinError),
}

/// Looks at a stored frame: it must decode to the end and carry the job's spec hash.
///
/// # Errors
/// The store does not answer.
pub async fn check(store: &JobStore, key: &str, spec_hash: &str) -> Result<Found, CheckError> {
    let Some(bytes) = store.get(key).await? else { return Ok(Found::Nothing) };
    let decoded = spawn_blocking(move || frame::decode(&bytes)).await?;
    Ok(match decoded {
        Ok((info, _)) if info.spec != spec_hash => Found::OtherJob,
        // What layers hand on is named by numbers in the same way.
        Ok((info, _)) if key.rsplit('/').next().and_then(keys::frame_index) != Some(info.index) => {
            Found::Damaged(format!("it is frame {}", info.index))
        }
        Ok((info, _)) => Found::Frame(Box::new(info)),
        Err(error) => Found::Damaged(error.to_string()),
    })
}
