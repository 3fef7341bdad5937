//! The farm's models: weights by hash, names that stand for them.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use vqfarm_core::id::ModelName;
use vqfarm_core::keys;
use vqfarm_core::record::ModelRecord;
use vqfarm_proto::RefusalReason as Reason;

use crate::error::{Error, Result};
use crate::farm::{Farm, to_json};

/// What became of a model that was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The weights were there already.
    pub existed: bool,
    /// The hash that the name stood for before, when that was another.
    pub replaced: Option<String>,
}

impl Farm {
    /// What a name stands for.
    pub async fn model(&self, name: &ModelName) -> Result<Option<ModelRecord>> {
        let key = keys::model_name(name);
        let Some(bytes) = self.storage.get(&key).await? else { return Ok(None) };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| Error::Unreadable { key, reason: error.to_string() })
    }

    /// Stores weights and lets their name stand for them. Jobs that were submitted before keep
    /// the weights that the name stood for then.
    ///
    /// # Errors
    /// The bytes do not have the stated hash or size, `data` ends in an error, storage fails.
    pub async fn put_model(
        &self,
        model: ModelRecord,
        mut data: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<Pushed> {
        let is_hash = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        if model.sha256.len() != 64 || !model.sha256.bytes().all(is_hash) {
            let message = format!("{:?} is not a SHA-256", model.sha256);
            return Err(Error::refused(Reason::BadRequest, message));
        }
        let upload = self.storage.upload_model(&model.sha256).await?;
        let existed = upload.is_none();
        if let Some(mut upload) = upload {
            let mut size = 0;
            let sent = async {
                while let Some(bytes) = data.next().await {
                    let bytes = bytes?;
                    size += bytes.len() as u64;
                    if size > model.bytes {
                        break;
                    }
                    upload.write(bytes).await?;
                }
                if size == model.bytes {
                    return Ok(());
                }
                let message = format!("{} bytes of weights were to come, not {size}", model.bytes);
                Err(Error::refused(Reason::BadRequest, message))
            };
            if let Err(error) = sent.await {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "parts of an upload that broke off are left behind");
                }
                return Err(error);
            }
            upload.finish().await?;
        }
        let before = self.model(&model.name).await?;
        let replaced = before.map(|model| model.sha256).filter(|hash| *hash != model.sha256);
        let json = to_json(&model)?;
        self.storage.replace(&keys::model_name(&model.name), json.into()).await?;
        tracing::info!(name = %model.name, sha256 = model.sha256, existed, "a model was pushed");
        Ok(Pushed { existed, replaced })
    }
}
