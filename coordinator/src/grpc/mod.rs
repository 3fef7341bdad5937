//! `vqfarm.v1.Farm`: each call checked, handed to the [`Farm`], answered. Who may call what is
//! said here; the calls themselves are in the other files, by what they are about.

mod change;
mod deciding;
mod files;
mod jobs;
mod models;
mod operating;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use futures::future;
use futures::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use vqfarm_core::access::{Quota, Right, Role, Token};
use vqfarm_core::id::JobId;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as FarmService;
use vqfarm_queue::JobSnapshot;

use self::change::Caller;
pub use self::change::Peer;
use crate::audit_log::AuditLog;
use crate::error::{Error, Result as Outcome};
use crate::expiry::expiry;
use crate::farm::Farm;
use crate::tls::Tls;
use crate::tokens::Tokens;

/// Answers that may wait for a slow reader.
const BUFFER: usize = 8;

/// The service over gRPC.
#[derive(Clone)]
pub struct Grpc {
    pub farm: Arc<Farm>,
    /// Without them everybody may do everything.
    pub tokens: Option<Arc<Tokens>>,
    pub audit_log: Option<Arc<AuditLog>>,
    pub tls: Option<Arc<Tls>>,
    /// Turns true when the coordinator stops: long answers end then.
    pub stop: watch::Receiver<bool>,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Grpc {
    /// Whose call this is, if the farm has tokens.
    fn bearer<T>(&self, request: &Request<T>) -> Caller {
        let find = |tokens: &Arc<Tokens>| tokens.find(request.metadata(), Timestamp::now());
        self.tokens.as_ref().map(find).transpose()
    }

    /// The same for a call that changes nothing; one that is not let in is noted.
    fn caller<T>(&self, request: &Request<T>) -> Outcome<Option<Token>> {
        let caller = self.bearer(request);
        if caller.is_err() {
            self.note_refused("LogIn", request, &caller, Reason::Unauthenticated);
        }
        Ok(caller?)
    }

    /// The same for one that takes more than looking.
    fn caller_who_may<T>(
        &self,
        right: Right,
        action: &'static str,
        request: &Request<T>,
    ) -> Outcome<Option<Token>> {
        let caller = self.caller(request)?;
        let allowed = caller.as_ref().map_or(Ok(()), |token| must(token, right));
        if allowed.is_err() {
            self.note_refused(action, request, &Ok(caller.clone()), Reason::Forbidden);
        }
        allowed.map(|()| caller)
    }

    /// What a caller may have of the farm; operators, and farms without tokens, know no limits.
    fn quota(&self, caller: Option<&Token>) -> Option<Quota> {
        let limited = caller.filter(|token| !token.role.may(Right::Operate))?;
        self.tokens.as_ref().map(|tokens| tokens.quota(&limited.user))
    }

    /// What is asked, if its bearer may look at the farm.
    fn look<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.caller(&request)?;
        Ok(request.into_inner())
    }

    /// A long answer, which ends when its bearer may look no longer.
    fn while_admitted<T: Send + 'static>(
        &self,
        caller: Option<Token>,
        answers: Response<Answers<T>>,
    ) -> Response<Answers<T>> {
        let (Some(token), Some(tokens)) = (caller, self.tokens.clone()) else { return answers };
        let revoked = Arc::new(OnceLock::new());
        let noted = revoked.clone();
        let ended = async move {
            tokens.ended(&token).await;
            let _ = noted.set(());
        };
        let why = async move {
            let message = "your token lets you in no longer: it has expired or was revoked";
            let refused = Error::refused(Reason::Unauthenticated, message);
            revoked.get().map(|()| Err(refused.into()))
        };
        let last = stream::once(why).filter_map(future::ready);
        answers.map(|answers| -> Answers<T> { Box::pin(answers.take_until(ended).chain(last)) })
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
        let caller = self.caller(&request)?;
        let shown = request.peer_certs();
        let certificate = shown.as_deref().and_then(|chain| expiry(chain.first()?));
        let millis = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_millisecond);
        let role = caller.as_ref().map_or(Role::Operator, |token| token.role);
        Ok(Response::new(v1::WhoAmIResponse {
            user: caller.as_ref().map_or(String::new(), |token| token.user.to_string()),
            role: role.word().into(),
            version: env!("CARGO_PKG_VERSION").into(),
            token_expires: millis(caller.and_then(|token| token.expires)),
            certificate_expires: millis(certificate),
        }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        if request.get_ref().dry_run {
            let caller = self.caller_who_may(Right::Submit, "Submit", &request)?;
            return self.submit(caller.as_ref(), request.into_inner()).await;
        }
        let (change, asked) = self.change("Submit", request);
        let submitted = async {
            let answer = self.submit(change.must(Right::Submit)?, asked).await?;
            change.is_about(answer.get_ref().job.as_ref());
            Ok(answer)
        };
        change.make(submitted).await
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Answer<v1::ListJobsResponse> {
        self.list_jobs(self.look(request)?).await
    }

    async fn get_job(&self, request: Request<v1::JobRequest>) -> Answer<v1::GetJobResponse> {
        self.get_job(self.look(request)?).await
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        self.list_tasks(self.look(request)?).await
    }

    async fn task_map(&self, request: Request<v1::TaskMapRequest>) -> Answer<v1::TaskMapResponse> {
        self.task_map(self.look(request)?).await
    }

    async fn pause(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        let (change, asked) = self.change("Pause", request);
        change.make(self.pause(&change, asked)).await
    }

    async fn resume(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        let (change, asked) = self.change("Resume", request);
        change.make(self.resume(&change, asked)).await
    }

    async fn cancel(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        let (change, asked) = self.change("Cancel", request);
        change.make(self.cancel(&change, asked)).await
    }

    async fn keep(&self, request: Request<v1::KeepRequest>) -> Answer<v1::KeepResponse> {
        let (change, asked) = self.change("Keep", request);
        change.make(self.keep(&change, asked)).await
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Answer<v1::RetryResponse> {
        let (change, asked) = self.change("Retry", request);
        change.make(self.retry(&change, asked)).await
    }

    async fn set_priority(&self, request: Request<v1::SetPriorityRequest>) -> Answer<v1::Job> {
        let (change, asked) = self.change("SetPriority", request);
        change.make(self.set_priority(&change, asked)).await
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Answer<v1::ListWorkersResponse> {
        self.look(request)?;
        self.list_workers().await
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        let (change, asked) = self.change("Drain", request);
        change.make(self.drain(&change, asked)).await
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        let asked = self.look(request)?;
        self.status(asked.write).await
    }

    async fn why(&self, request: Request<v1::JobRequest>) -> Answer<v1::WhyResponse> {
        self.why(self.look(request)?).await
    }

    type LogsStream = Answers<v1::Log>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        let caller = self.caller(&request)?;
        let answers = self.logs(request.into_inner()).await?;
        Ok(self.while_admitted(caller, answers))
    }

    async fn newest_frame(
        &self,
        request: Request<v1::NewestFrameRequest>,
    ) -> Answer<v1::NewestFrameResponse> {
        self.newest_frame(self.look(request)?).await
    }

    async fn list_files(
        &self,
        request: Request<v1::ListFilesRequest>,
    ) -> Answer<v1::ListFilesResponse> {
        self.list_files(self.look(request)?).await
    }

    type FetchStream = Answers<v1::FetchResponse>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Answer<Self::FetchStream> {
        let caller = self.caller(&request)?;
        let answers = self.fetch(request.into_inner()).await?;
        Ok(self.while_admitted(caller, answers))
    }

    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::JobRequest>) -> Answer<Self::WatchStream> {
        let caller = self.caller(&request)?;
        let answers = self.watch(request.into_inner()).await?;
        Ok(self.while_admitted(caller, answers))
    }

    type ChangesStream = Answers<v1::ChangesResponse>;

    async fn changes(&self, request: Request<v1::ChangesRequest>) -> Answer<Self::ChangesStream> {
        let caller = self.caller(&request)?;
        Ok(self.while_admitted(caller, self.changes()))
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Answer<v1::AuditResponse> {
        if !request.get_ref().repair {
            return self.audit(self.look(request)?).await;
        }
        let (change, asked) = self.change("Audit", request);
        let repaired = async {
            change.must(Right::Operate)?;
            self.audit(asked).await
        };
        change.make(repaired).await
    }

    async fn reconcile(
        &self,
        request: Request<v1::ReconcileRequest>,
    ) -> Answer<v1::ReconcileResponse> {
        let (change, _) = self.change("Reconcile", request);
        let reconciled = async {
            change.must(Right::Operate)?;
            self.reconcile().await
        };
        change.make(reconciled).await
    }

    type CollectGarbageStream = Answers<v1::Garbage>;

    async fn collect_garbage(
        &self,
        request: Request<v1::CollectGarbageRequest>,
    ) -> Answer<Self::CollectGarbageStream> {
        if !request.get_ref().delete {
            self.caller_who_may(Right::Operate, "CollectGarbage", &request)?;
            return Ok(self.collect_garbage(request.into_inner()));
        }
        let (change, asked) = self.change("CollectGarbage", request);
        let begun = async {
            change.must(Right::Operate)?;
            Ok(self.collect_garbage(asked))
        };
        change.make(begun).await
    }

    async fn find_models(
        &self,
        request: Request<v1::FindModelsRequest>,
    ) -> Answer<v1::FindModelsResponse> {
        self.find_models(self.look(request)?).await
    }

    async fn put_assets(
        &self,
        request: Request<v1::PutAssetsRequest>,
    ) -> Answer<v1::PutAssetsResponse> {
        let (change, asked) = self.change("PutAssets", request);
        change.make(self.put_assets(&change, asked)).await
    }

    async fn put_model(
        &self,
        request: Request<Streaming<v1::PutModelRequest>>,
    ) -> Answer<v1::PutModelResponse> {
        let (change, asked) = self.change("PutModel", request);
        change.make(self.put_model(&change, asked)).await
    }
}

/// Whether a token's role reaches so far.
///
/// # Errors
/// It does not.
fn must(token: &Token, right: Right) -> Outcome<()> {
    if token.role.may(right) {
        return Ok(());
    }
    let (user, role, needed) = (&token.user, token.role, right.role());
    let message = format!("{user} is a {role} here; this takes the role of {needed}");
    Err(Error::refused(Reason::Forbidden, message))
}
