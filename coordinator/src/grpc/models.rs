//! Models and files that come before a job.

use bytes::Bytes;
use futures::stream::StreamExt;
use tonic::{Response, Streaming};
use vqfarm_core::id::{ModelName, RequestId};
use vqfarm_proto::v1::put_model_request;
use vqfarm_proto::{RefusalReason as Reason, v1};

use super::{Answer, Grpc};
use crate::convert;
use crate::error::Error;

impl Grpc {
    pub(super) async fn find_models(
        &self,
        asked: v1::FindModelsRequest,
    ) -> Answer<v1::FindModelsResponse> {
        let mut models = Vec::new();
        for name in asked.names {
            let name = ModelName::new(name).map_err(Error::from)?;
            models.extend(self.farm.model(&name).await?.map(convert::model));
        }
        Ok(Response::new(v1::FindModelsResponse { models }))
    }

    pub(super) async fn put_assets(
        &self,
        asked: v1::PutAssetsRequest,
    ) -> Answer<v1::PutAssetsResponse> {
        let request = RequestId::new(asked.request_id).map_err(Error::from)?;
        let assets = asked.assets.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
        self.farm.put_assets(&request, assets.collect()).await?;
        Ok(Response::new(v1::PutAssetsResponse {}))
    }

    pub(super) async fn put_model(
        &self,
        mut parts: Streaming<v1::PutModelRequest>,
    ) -> Answer<v1::PutModelResponse> {
        let bad = |message: String| Error::refused(Reason::BadRequest, message);
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(put_model_request::Part::Model(model)) = first else {
            return Err(bad("the first message must say what model comes".into()).into());
        };
        let record = convert::model_record(model)?;
        let data = parts.map(move |message| match message {
            Ok(v1::PutModelRequest { part: Some(put_model_request::Part::Data(data)) }) => {
                Ok(Bytes::from(data))
            }
            Ok(_) => Err(bad("only bytes may follow".into())),
            Err(status) => {
                Err(Error::refused(Reason::Unavailable, format!("the upload broke off: {status}")))
            }
        });
        let pushed = self.farm.put_model(record, data).await?;
        Ok(Response::new(v1::PutModelResponse {
            existed: pushed.existed,
            replaced: pushed.replaced.unwrap_or_default(),
        }))
    }
}
