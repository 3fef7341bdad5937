//! Models and files that come before a job.

use bytes::Bytes;
use futures::stream::StreamExt;
use tonic::{Response, Streaming};
use vqfarm_core::access::{Right, Token};
use vqfarm_core::id::{ModelName, RequestId};
use vqfarm_core::record::ModelRecord;
use vqfarm_proto::v1::put_model_request;
use vqfarm_proto::{RefusalReason as Reason, v1};

use super::change::{Change, must_be_own};
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
        change: &Change<'_>,
        asked: v1::PutAssetsRequest,
    ) -> Answer<v1::PutAssetsResponse> {
        let caller = change.must(Right::Submit)?;
        let request = RequestId::new(asked.request_id).map_err(Error::from)?;
        if let Some(token) = caller {
            let job = self.farm.job_of(&request);
            if let Some(record) = self.farm.record(job).await? {
                must_be_own(token, job, &record.user)?;
            }
            let bytes = asked.assets.values().map(|bytes| bytes.len() as u64).sum();
            self.take_upload(token, bytes).await?;
        }
        let assets = asked.assets.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
        self.farm.put_assets(&request, assets.collect()).await?;
        Ok(Response::new(v1::PutAssetsResponse {}))
    }

    pub(super) async fn put_model(
        &self,
        change: &Change<'_>,
        mut parts: Streaming<v1::PutModelRequest>,
    ) -> Answer<v1::PutModelResponse> {
        let caller = change.must(Right::Submit)?;
        let bad = |message: String| Error::refused(Reason::BadRequest, message);
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(put_model_request::Part::Model(model)) = first else {
            return Err(bad("the first message must say what model comes".into()).into());
        };
        let record = convert::model_record(model)?;
        change.is_of(&record.name);
        if let Some(token) = caller {
            self.must_be_new(token, &record).await?;
            self.take_upload(token, record.bytes).await?;
        }
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

    /// A name that others use stands for what it stood for, unless an operator says otherwise.
    async fn must_be_new(&self, token: &Token, model: &ModelRecord) -> Result<(), Error> {
        let known = self.farm.model(&model.name).await?;
        if token.role.may(Right::Operate) || known.is_none_or(|is| is.sha256 == model.sha256) {
            return Ok(());
        }
        let message = format!(
            "`{}` stands for other weights here, and only an operator may change that; push \
             yours under another name",
            model.name
        );
        Err(Error::refused(Reason::Forbidden, message))
    }

    async fn take_upload(&self, token: &Token, bytes: u64) -> Result<(), Error> {
        let Some(quota) = self.quota(Some(token)) else { return Ok(()) };
        let mut account = self.farm.quotas.of(&token.user).await;
        account.upload(&quota, bytes, self.farm.clock.now())
    }
}
