//! What users do to their jobs, and operators to all jobs and workers.

use tonic::Response;
use vqfarm_core::access::Right;
use vqfarm_proto::v1;

use super::change::Change;
use super::{Answer, Grpc};
use crate::convert;
use crate::quotas;

impl Grpc {
    pub(super) async fn pause(
        &self,
        change: &Change<'_>,
        asked: v1::JobRequest,
    ) -> Answer<v1::Job> {
        let id = change.own_job(&asked.job).await?;
        Ok(Response::new(convert::job(&self.farm.pause(id).await?)))
    }

    pub(super) async fn resume(
        &self,
        change: &Change<'_>,
        asked: v1::JobRequest,
    ) -> Answer<v1::Job> {
        let id = change.own_job(&asked.job).await?;
        Ok(Response::new(convert::job(&self.farm.resume(id).await?)))
    }

    pub(super) async fn cancel(
        &self,
        change: &Change<'_>,
        asked: v1::JobRequest,
    ) -> Answer<v1::Job> {
        let id = change.own_job(&asked.job).await?;
        Ok(Response::new(convert::job(&self.farm.cancel(id).await?)))
    }

    pub(super) async fn keep(
        &self,
        change: &Change<'_>,
        asked: v1::KeepRequest,
    ) -> Answer<v1::KeepResponse> {
        let id = change.own_job(&asked.job).await?;
        let (continued, job) = self.farm.keep(id, &asked.cells).await?;
        Ok(Response::new(v1::KeepResponse { continued, job: Some(convert::job(&job)) }))
    }

    pub(super) async fn retry(
        &self,
        change: &Change<'_>,
        asked: v1::RetryRequest,
    ) -> Answer<v1::RetryResponse> {
        let id = change.own_job(&asked.job).await?;
        let (retried, job) = self.farm.retry(id, &asked.layer, asked.tasks).await?;
        Ok(Response::new(v1::RetryResponse { retried, job: Some(convert::job(&job)) }))
    }

    pub(super) async fn set_priority(
        &self,
        change: &Change<'_>,
        asked: v1::SetPriorityRequest,
    ) -> Answer<v1::Job> {
        let id = change.own_job(&asked.job).await?;
        if let Some(quota) = self.quota(change.must(Right::Submit)?) {
            quotas::check_priority(&quota, asked.priority)?;
        }
        Ok(Response::new(convert::job(&self.farm.set_priority(id, asked.priority).await?)))
    }

    pub(super) async fn drain(
        &self,
        change: &Change<'_>,
        asked: v1::DrainRequest,
    ) -> Answer<v1::DrainResponse> {
        let worker = change.own_worker(asked.worker)?;
        let worker = self.farm.drain(&worker, !asked.undo).await?;
        let worker = Some(convert::worker(&worker, self.farm.activity(&worker)));
        Ok(Response::new(v1::DrainResponse { worker }))
    }
}
