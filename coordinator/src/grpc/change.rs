//! Calls that change something: all of them are made, and noted in the audit log, here; so are those
//! of whoever is not let in.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::OnceLock;

use jiff::Timestamp;
use tonic::{Request, Status};
use vqfarm_core::access::{Right, Token};
use vqfarm_core::id::{JobId, ModelName, UserName, WorkerId};
use vqfarm_proto::{Refusal, RefusalReason as Reason, v1};

use super::{Answer, Grpc};
use crate::audit_log::Entry;
use crate::error::{Error, Result};
use crate::tokens::Stranger;

/// Characters of what a caller wrote that are noted.
const NOTED: usize = 128;

/// The address that a call on the page's behalf came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What a call is about, as the caller names it.
#[derive(Default)]
pub struct About {
    job: Option<String>,
    worker: Option<String>,
    request: Option<String>,
}

/// A message that asks for a change.
pub trait Asks {
    fn about(&self) -> About;
}

/// A call that changes something, from its arrival to its end.
pub struct Change<'a> {
    grpc: &'a Grpc,
    action: &'static str,
    /// None where the farm has no tokens.
    caller: Caller,
    peer: Option<SocketAddr>,
    about: About,
    /// The job in full, once it is found.
    job: OnceLock<JobId>,
    /// The model's name, which comes after the call itself.
    model: OnceLock<String>,
    ended: OnceLock<()>,
}

impl Grpc {
    /// Takes a call that changes something; `action` is its name in the service.
    pub(super) fn change<T: Asks>(
        &self,
        action: &'static str,
        request: Request<T>,
    ) -> (Change<'_>, T) {
        let change = Change {
            grpc: self,
            action,
            caller: self.bearer(&request),
            peer: peer_of(&request),
            about: request.get_ref().about(),
            job: OnceLock::new(),
            model: OnceLock::new(),
            ended: OnceLock::new(),
        };
        (change, request.into_inner())
    }

    /// Takes note of a call that would have changed nothing and is refused to its bearer. Who shows no
    /// token has tried nothing.
    pub(super) fn note_refused<T>(
        &self,
        action: &'static str,
        request: &Request<T>,
        caller: &Caller,
        reason: Reason,
    ) {
        let Some(log) = &self.audit_log else { return };
        if matches!(caller, Err(Stranger::NoToken)) {
            return;
        }
        let entry = Entry { action, outcome: "refused", ..entry_of(caller, peer_of(request)) };
        log.refuse(&Entry { reason: Some(reason.name()), ..entry });
    }
}

/// Whose call it is, none where the farm has no tokens, or why nobody is let in.
pub(super) type Caller = Result<Option<Token>, Stranger>;

/// The address that a call came from, a browser's where the page calls.
fn peer_of<T>(request: &Request<T>) -> Option<SocketAddr> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    peer.or_else(|| request.remote_addr())
}

impl Change<'_> {
    /// Makes the change and notes what came of it.
    pub async fn make<T>(&self, call: impl Future<Output = Answer<T>>) -> Answer<T> {
        let answer = call.await;
        let _ = self.ended.set(());
        match &answer {
            Ok(_) => self.note("done", None),
            Err(status) => self.note("refused", Some(word(status))),
        }
        answer
    }

    /// Whose call it is; none where the farm has no tokens.
    ///
    /// # Errors
    /// The token is none of this farm's, or does not reach so far.
    pub fn must(&self, right: Right) -> Result<Option<&Token>> {
        match &self.caller {
            Ok(Some(token)) => super::must(token, right).map(|()| Some(token)),
            Ok(None) => Ok(None),
            Err(stranger) => Err(stranger.clone().into()),
        }
    }

    /// The job that somebody means, which must be theirs unless they are an operator.
    pub async fn own_job(&self, text: &str) -> Result<JobId> {
        let caller = self.must(Right::Submit)?;
        let farm = &self.grpc.farm;
        let id = farm.find(text).await?;
        let _ = self.job.set(id);
        if let Some(token) = caller.filter(|token| !token.role.may(Right::Operate)) {
            let owner = farm.queue.job(id).await?.user;
            must_be_own(token, id, &owner)?;
        }
        Ok(id)
    }

    /// Takes note of the job that a submit makes.
    pub fn is_about(&self, job: Option<&v1::Job>) {
        if let Some(id) = job.and_then(|job| job.id.parse().ok()) {
            let _ = self.job.set(id);
        }
    }

    /// Takes note of the model that is pushed.
    pub fn is_of(&self, model: &ModelName) {
        let _ = self.model.set(model.to_string());
    }

    /// The worker of this name, which must bear the caller's unless they are an operator.
    pub fn own_worker(&self, name: String) -> Result<WorkerId> {
        let caller = self.must(Right::Drain)?;
        let worker = WorkerId::new(name)?;
        match caller {
            Some(token) if !token.role.may(Right::Operate) && !token.names(&worker) => {
                let user = &token.user;
                let message = format!(
                    "worker {worker} is not one of {user}'s, which are called {user} or {user}-…; \
                     an operator may drain any"
                );
                Err(Error::refused(Reason::Forbidden, message))
            }
            _ => Ok(worker),
        }
    }

    fn note(&self, outcome: &str, reason: Option<&str>) {
        let Some(log) = &self.grpc.audit_log else { return };
        let job = self.job.get().map(JobId::to_string);
        let cut = |text: &Option<String>| {
            text.as_ref().map(|text| text.chars().take(NOTED).collect::<String>())
        };
        let (job, about) = (job.or_else(|| cut(&self.about.job)), &self.about);
        let (worker, request) = (cut(&about.worker), cut(&about.request));
        let entry = Entry {
            action: self.action,
            job: job.as_deref(),
            worker: worker.as_deref(),
            model: self.model.get().map(String::as_str),
            request: request.as_deref(),
            outcome,
            reason,
            ..entry_of(&self.caller, self.peer)
        };
        let to_its_bearer = [Reason::Unauthenticated, Reason::Forbidden].map(Reason::name);
        match reason {
            Some(reason) if to_its_bearer.contains(&reason) => log.refuse(&entry),
            _ => log.write(&entry),
        }
    }
}

/// A line about whoever calls, as far as that is known.
fn entry_of(caller: &Caller, peer: Option<SocketAddr>) -> Entry<'_> {
    let (token, id) = match caller {
        Ok(Some(token)) | Err(Stranger::Expired(token)) => (Some(token), Some(token.id())),
        Err(Stranger::Unknown(id)) => (None, id.as_deref()),
        Ok(None) | Err(Stranger::NoToken) => (None, None),
    };
    Entry {
        time: Timestamp::now(),
        user: token.map(|token| token.user.as_str()),
        role: token.map(|token| token.role.word()),
        token: id,
        peer: peer.map(|peer| peer.to_string()),
        ..Entry::default()
    }
}

impl Drop for Change<'_> {
    /// The caller went away before there was an answer; the change may have been made.
    fn drop(&mut self) {
        if self.ended.get().is_none() {
            self.note("cut_off", None);
        }
    }
}

/// Whether somebody may change a job of this owner.
///
/// # Errors
/// It is another user's.
pub fn must_be_own(token: &Token, job: JobId, owner: &UserName) -> Result<()> {
    if token.role.may(Right::Operate) || token.user == *owner {
        return Ok(());
    }
    let (job, user) = (job.short(), &token.user);
    let message = format!(
        "job {job} is {owner}'s; {user} may change jobs of their own, an operator those of all"
    );
    Err(Error::refused(Reason::Forbidden, message))
}

fn word(status: &Status) -> &'static str {
    Refusal::of(status).map_or("INTERNAL", |refusal| refusal.reason.name())
}

impl Asks for v1::JobRequest {
    fn about(&self) -> About {
        About { job: Some(self.job.clone()), ..About::default() }
    }
}

impl Asks for v1::RetryRequest {
    fn about(&self) -> About {
        About { job: Some(self.job.clone()), ..About::default() }
    }
}

impl Asks for v1::KeepRequest {
    fn about(&self) -> About {
        About { job: Some(self.job.clone()), ..About::default() }
    }
}

impl Asks for v1::SetPriorityRequest {
    fn about(&self) -> About {
        About { job: Some(self.job.clone()), ..About::default() }
    }
}

impl Asks for v1::AuditRequest {
    fn about(&self) -> About {
        About { job: Some(self.job.clone()).filter(|job| !job.is_empty()), ..About::default() }
    }
}

impl Asks for v1::SubmitRequest {
    fn about(&self) -> About {
        About { request: Some(self.request_id.clone()), ..About::default() }
    }
}

impl Asks for v1::PutAssetsRequest {
    fn about(&self) -> About {
        About { request: Some(self.request_id.clone()), ..About::default() }
    }
}

impl Asks for v1::DrainRequest {
    fn about(&self) -> About {
        About { worker: Some(self.worker.clone()), ..About::default() }
    }
}

impl Asks for v1::ReconcileRequest {
    fn about(&self) -> About {
        About::default()
    }
}

impl Asks for v1::CollectGarbageRequest {
    fn about(&self) -> About {
        About::default()
    }
}

/// The model's name comes in the first message, so it is noted by [`Change::is_of`].
impl Asks for tonic::Streaming<v1::PutModelRequest> {
    fn about(&self) -> About {
        About::default()
    }
}
