//! Cells by what decides their pictures: one that is stored already, for whichever job, is taken
//! over and not rendered again.
//!
//! A farm has a small record for each identity, which says where such a picture is stored. It is a
//! hint and nothing more: what it leads to is looked at before it is taken, and where there is
//! nothing, the picture is made. Each job keeps a frame of its own, so no job needs another one
//! once it is done.

use bytes::Bytes;
use image::RgbImage;
use sha2::{Digest, Sha256};
use tokio::task::{JoinError, spawn_blocking};
use vqfarm_core::keys;
use vqfarm_core::record::CellRecord;
use vqfarm_storage::frame::{self, FrameInfo};
use vqfarm_storage::{JobStore, Storage, StoreError};

use crate::early_stop::saved_key;
use crate::job::OpenJob;
use crate::paint::Painted;

/// Where pictures that were made before are looked for.
pub enum Cells {
    /// In all jobs of a farm.
    Farm(Storage),
    /// Among those that a folder keeps of the job that it held before.
    Folder(JobStore),
}

/// Why nobody can tell whether there is such a picture.
#[derive(Debug, thiserror::Error)]
enum FindError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the thread that decodes pictures died: {0}")]
    Thread(#[from] JoinError),
}

impl Cells {
    /// The picture that is known by an identity, if a whole one is stored, and where.
    pub async fn find(&self, identity: &str) -> Option<Taken> {
        match self.try_find(identity).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot look for a picture that was made before");
                None
            }
        }
    }

    async fn try_find(&self, identity: &str) -> Result<Option<Taken>, FindError> {
        let (bytes, from) = match self {
            Self::Folder(store) => (store.get(&keys::kept_cell(identity)).await?, None),
            Self::Farm(storage) => {
                let Some(json) = storage.get(&keys::cell(identity)).await? else { return Ok(None) };
                let Ok(record) = serde_json::from_slice::<CellRecord>(&json) else {
                    tracing::warn!(identity, "the record of a cell cannot be read");
                    return Ok(None);
                };
                let bytes = storage.job(record.job).get(&record.key).await?;
                (bytes.filter(|bytes| sha256(bytes) == record.sha256), Some(record))
            }
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let decoded = spawn_blocking(move || frame::decode(&bytes)).await?;
        let fits = |info: &FrameInfo| identity_of(info).as_deref() == Some(identity);
        Ok(match decoded {
            Ok((info, picture)) if fits(&info) => {
                let (score, stopped) = (info.score, info.stopped);
                Some(Taken { picture, score, stopped, from })
            }
            _ => {
                tracing::warn!(identity, "what is stored of a cell is damaged or another one");
                None
            }
        })
    }

    /// What a picture goes on from that was found as a preview, if it is stored beside it.
    pub async fn find_saved(&self, identity: &str, taken: &Taken) -> Option<Bytes> {
        let found = match (self, &taken.from) {
            (Self::Folder(store), _) => store.get(&saved_key(&keys::kept_cell(identity))).await,
            (Self::Farm(storage), Some(from)) => {
                storage.job(from.job).get(&saved_key(&from.key)).await
            }
            (Self::Farm(_), None) => return None,
        };
        found.ok().flatten()
    }

    /// Takes note of a picture that was stored, so that others find it. What cannot be noted is not:
    /// somebody makes the picture once more.
    pub async fn note(&self, job: &OpenJob, key: &str, identity: &str, sha256: &str) {
        let Self::Farm(storage) = self else { return };
        let record = CellRecord { job: job.id(), key: key.to_owned(), sha256: sha256.to_owned() };
        write(storage.root(), &keys::cell(identity), &record).await;
    }

    /// Takes note of where a job's frame was taken from.
    pub async fn note_taken(&self, job: &OpenJob, index: u64, from: &CellRecord) {
        write(&job.store, &keys::taken(index), from).await;
    }
}

async fn write(store: &JobStore, key: &str, record: &CellRecord) {
    let stored = match serde_json::to_vec(record) {
        Ok(json) => store.replace(key, json.into()).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = stored {
        tracing::warn!(key, error, "the record of a cell was not stored");
    }
}

/// A picture that was made before.
pub struct Taken {
    picture: RgbImage,
    score: Option<f32>,
    /// Of a preview: after how many iterations.
    pub stopped: Option<u32>,
    /// On a farm: where it is stored.
    pub from: Option<CellRecord>,
}

impl Taken {
    /// As if it had been made just now.
    pub fn painted(self) -> Painted {
        Painted::new(self.picture, self.score)
    }
}

/// The identity of a stored cell; none of what follows from other frames or is of another version.
pub fn identity_of(info: &FrameInfo) -> Option<String> {
    let is_cell = !info.film && info.version == env!("CARGO_PKG_VERSION");
    is_cell.then(|| info.identity())
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}
