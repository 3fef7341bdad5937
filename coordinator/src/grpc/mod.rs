//! `vqfarm.v1.Farm`: each call checked, handed to the [`Farm`], answered. Who may call what is
//! said here; the calls themselves are in the other files, by what they are about.

mod deciding;
mod files;
mod jobs;
mod models;
mod operating;

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::Stream;
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use vqfarm_core::id::{JobId, UserName};
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as FarmService;
use vqfarm_queue::JobSnapshot;

use crate::error::Error;
use crate::farm::Farm;
use crate::tokens::{Role, Tokens};

/// Answers that may wait for a slow reader.
const BUFFER: usize = 8;

/// The service over gRPC.
#[derive(Clone)]
pub struct Grpc {
    pub farm: Arc<Farm>,
    /// Without them everybody may do everything.
    pub tokens: Option<Arc<Tokens>>,
    /// Turns true when the coordinator stops: long answers end then.
    pub stop: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Grpc {
    /// Whose call this is, if the farm has tokens.
    fn bearer<T>(&self, request: &Request<T>, role: Role) -> Result<Option<UserName>, Status> {
        match &self.tokens {
            Some(tokens) => Ok(Some(tokens.admit(request.metadata(), role, Timestamp::now())?)),
            None => Ok(None),
        }
    }

    /// What is asked, if this bearer may ask it.
    fn admit<T>(&self, request: Request<T>, role: Role) -> Result<T, Status> {
        self.bearer(&request, role)?;
        Ok(request.into_inner())
    }

    /// The job that the call is about.
    async fn job_of(&self, text: &str) -> Result<(JobId, JobSnapshot), Status> {
        let id = self.farm.find(text).await?;
        let job = self.farm.queue.job(id).await.map_err(Error::from)?;
        Ok((id, job))
    }
}

#[tonic::async_trait]
impl FarmService for Grpc {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Answer<v1::WhoAmIResponse> {
        let (user, role) = match &self.tokens {
            Some(tokens) => {
                let token = tokens.find(request.metadata(), Timestamp::now())?;
                (token.user.to_string(), token.role)
            }
            None => (String::new(), Role::Operator),
        };
        Ok(Response::new(v1::WhoAmIResponse { user, role: role.word().into() }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        let bearer = self.bearer(&request, Role::Submitter)?;
        self.submit(bearer, request.into_inner()).await
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Answer<v1::ListJobsResponse> {
        self.list_jobs(self.admit(request, Role::Viewer)?).await
    }

    async fn get_job(&self, request: Request<v1::JobRequest>) -> Answer<v1::GetJobResponse> {
        self.get_job(self.admit(request, Role::Viewer)?).await
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        self.list_tasks(self.admit(request, Role::Viewer)?).await
    }

    async fn task_map(&self, request: Request<v1::TaskMapRequest>) -> Answer<v1::TaskMapResponse> {
        self.task_map(self.admit(request, Role::Viewer)?).await
    }

    async fn pause(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.pause(self.admit(request, Role::Operator)?).await
    }

    async fn resume(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.resume(self.admit(request, Role::Operator)?).await
    }

    async fn cancel(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.cancel(self.admit(request, Role::Operator)?).await
    }

    async fn keep(&self, request: Request<v1::KeepRequest>) -> Answer<v1::KeepResponse> {
        self.keep(self.admit(request, Role::Operator)?).await
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Answer<v1::RetryResponse> {
        self.retry(self.admit(request, Role::Operator)?).await
    }

    async fn set_priority(&self, request: Request<v1::SetPriorityRequest>) -> Answer<v1::Job> {
        self.set_priority(self.admit(request, Role::Operator)?).await
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Answer<v1::ListWorkersResponse> {
        self.admit(request, Role::Viewer)?;
        self.list_workers().await
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        self.drain(self.admit(request, Role::Operator)?).await
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        self.admit(request, Role::Viewer)?;
        self.status().await
    }

    async fn why(&self, request: Request<v1::JobRequest>) -> Answer<v1::WhyResponse> {
        self.why(self.admit(request, Role::Viewer)?).await
    }

    type LogsStream = Answers<v1::Log>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        self.logs(self.admit(request, Role::Viewer)?).await
    }

    async fn newest_frame(
        &self,
        request: Request<v1::NewestFrameRequest>,
    ) -> Answer<v1::NewestFrameResponse> {
        self.newest_frame(self.admit(request, Role::Viewer)?).await
    }

    async fn list_files(
        &self,
        request: Request<v1::ListFilesRequest>,
    ) -> Answer<v1::ListFilesResponse> {
        self.list_files(self.admit(request, Role::Viewer)?).await
    }

    type FetchStream = Answers<v1::FetchResponse>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Answer<Self::FetchStream> {
        self.fetch(self.admit(request, Role::Viewer)?).await
    }

    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::JobRequest>) -> Answer<Self::WatchStream> {
        self.watch(self.admit(request, Role::Viewer)?).await
    }

    type ChangesStream = Answers<v1::ChangesResponse>;

    async fn changes(&self, request: Request<v1::ChangesRequest>) -> Answer<Self::ChangesStream> {
        self.admit(request, Role::Viewer)?;
        Ok(self.changes())
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Answer<v1::AuditResponse> {
        let role = if request.get_ref().repair { Role::Operator } else { Role::Viewer };
        self.audit(self.admit(request, role)?).await
    }

    async fn reconcile(
        &self,
        request: Request<v1::ReconcileRequest>,
    ) -> Answer<v1::ReconcileResponse> {
        self.admit(request, Role::Operator)?;
        self.reconcile().await
    }

    type CollectGarbageStream = Answers<v1::Garbage>;

    async fn collect_garbage(
        &self,
        request: Request<v1::CollectGarbageRequest>,
    ) -> Answer<Self::CollectGarbageStream> {
        Ok(self.collect_garbage(self.admit(request, Role::Operator)?))
    }

    async fn find_models(
        &self,
        request: Request<v1::FindModelsRequest>,
    ) -> Answer<v1::FindModelsResponse> {
        self.find_models(self.admit(request, Role::Viewer)?).await
    }

    async fn put_assets(
        &self,
        request: Request<v1::PutAssetsRequest>,
    ) -> Answer<v1::PutAssetsResponse> {
        self.put_assets(self.admit(request, Role::Submitter)?).await
    }

    async fn put_model(
        &self,
        request: Request<Streaming<v1::PutModelRequest>>,
    ) -> Answer<v1::PutModelResponse> {
        self.put_model(self.admit(request, Role::Submitter)?).await
    }
}
