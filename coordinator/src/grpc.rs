//! `vqfarm.v1.Farm`: each call checked, handed to the [`Farm`], answered.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use vqfarm_core::id::{JobId, ModelName, RequestId, UserName, WorkerId};
use vqfarm_core::keys;
use vqfarm_proto::v1::farm_server::Farm as FarmService;
use vqfarm_proto::v1::{fetch_response, put_model_request};
use vqfarm_proto::{RefusalReason as Reason, v1};
use vqfarm_queue::{JobSnapshot, Jobs, TaskKind, Tasks};
use vqfarm_service::shutdown;

use crate::convert;
use crate::error::Error;
use crate::farm::{Farm, to_json};
use crate::recent;
use crate::submit::{Submit, Submitted};
use crate::tokens::{Role, Tokens};
use crate::watching;

/// Bytes of a file that travel in one message.
const CHUNK: usize = 256 << 10;
/// Answers that may wait for a slow reader.
const BUFFER: usize = 8;
/// Jobs or tasks on a page when the caller does not say, and at most.
const PAGE: u32 = 1000;

/// The service over gRPC.
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
    fn admit<T>(&self, request: &Request<T>, role: Role) -> Result<Option<UserName>, Status> {
        match &self.tokens {
            Some(tokens) => Ok(Some(tokens.admit(request.metadata(), role, Timestamp::now())?)),
            None => Ok(None),
        }
    }

    /// The job that the call is about.
    async fn job_of(&self, text: &str) -> Result<(JobId, JobSnapshot), Status> {
        let id = self.farm.find(text).await?;
        let job = self.farm.queue.job(id).await.map_err(Error::from)?;
        Ok((id, job))
    }

    /// The logs of the tasks that ended last.
    async fn last_logs(&self, asked: v1::LogsRequest) -> Answer<Answers<v1::Log>> {
        if asked.task.is_some() || !asked.layer.is_empty() {
            let message = "`last` goes with neither a task nor a layer";
            return Err(Error::refused(Reason::BadRequest, message).into());
        }
        let worker = match asked.worker.as_str() {
            "" => None,
            _ => Some(WorkerId::new(asked.worker).map_err(Error::from)?),
        };
        let job = match asked.job.as_str() {
            "" if worker.is_some() => None,
            text => Some(self.farm.find(text).await?),
        };
        let last = usize::try_from(asked.last).unwrap_or(usize::MAX).min(recent::KEPT);
        let logs = self.farm.last_logs(job, worker.as_ref(), last).await?;
        let logs = stream::iter(logs).map(|log| Ok(convert::log(log)));
        Ok(Response::new(Box::pin(logs)))
    }
}

#[tonic::async_trait]
impl FarmService for Grpc {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Answer<v1::SubmitResponse> {
        let began = Instant::now();
        let bearer = self.admit(&request, Role::Submitter)?;
        let asked = request.into_inner();
        let user = match bearer {
            Some(user) => user,
            None => UserName::new(asked.user).map_err(Error::from)?,
        };
        let request = match asked.request_id.as_str() {
            "" => RequestId::generate(),
            text => RequestId::new(text).map_err(Error::from)?,
        };
        let dry_run = asked.dry_run;
        let offered = asked.offered.into_iter().map(convert::model_record);
        let offered = offered.collect::<Result<Vec<_>, Error>>()?;
        let source = convert::source(&asked.frames_of, asked.partial)?;
        let outcome = self
            .farm
            .submit(Submit {
                job: asked.job,
                assets: asked.assets.into_iter().map(|(k, v)| (k, Bytes::from(v))).collect(),
                request,
                priority: asked.priority,
                user,
                dry_run,
                offered,
                source,
            })
            .await;
        let word = match (&outcome, dry_run) {
            (Err(_), _) => "refused",
            (Ok(_), true) => "dry_run",
            (Ok(Submitted { existed: true, .. }), false) => "again",
            (Ok(_), false) => "taken",
        };
        metrics::counter!("vqfarm_submits_total", "outcome" => word).increment(1);
        metrics::histogram!("vqfarm_submit_seconds").record(began.elapsed().as_secs_f64());
        let Submitted { job, existed, estimate } = outcome?;
        if !dry_run && !existed {
            let tasks = job.total().tasks;
            tracing::info!(job = %job.job, name = %job.name, user = %job.user, tasks, "submitted");
        }
        let reasons = self.farm.why(&job).await?;
        Ok(Response::new(v1::SubmitResponse {
            job: Some(convert::job(&job)),
            existed,
            reasons: reasons.into_iter().map(convert::reason).collect(),
            estimate: estimate.map(convert::estimate),
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Answer<v1::ListJobsResponse> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        let size = page_size(asked.page_size);
        let first = asked.page_token.is_empty();
        // A first page without a filter does not need all jobs.
        let which = match (asked.live, first && asked.user.is_empty()) {
            (true, _) => Jobs::Live,
            (false, true) => Jobs::Newest(size + 1),
            (false, false) => Jobs::All,
        };
        let mut jobs = self.farm.queue.jobs(which).await.map_err(Error::from)?;
        jobs.sort_by_key(|job| std::cmp::Reverse((job.submitted, job.job)));
        jobs.retain(|job| asked.user.is_empty() || job.user.as_str() == asked.user);
        if !first {
            let after = parse_token(&asked.page_token, |token| {
                let (at, job) = token.split_once('.')?;
                Some((at.parse::<i64>().ok()?, job.parse::<JobId>().ok()?))
            })?;
            jobs.retain(|job| (job.submitted.0, job.job) < after);
        }
        let more = jobs.len() > size as usize;
        jobs.truncate(size as usize);
        let last = jobs.last().filter(|_| more);
        Ok(Response::new(v1::ListJobsResponse {
            next_page_token: last
                .map_or_else(String::new, |job| format!("{}.{}", job.submitted.0, job.job)),
            jobs: jobs.iter().map(convert::job).collect(),
        }))
    }

    async fn get_job(&self, request: Request<v1::JobRequest>) -> Answer<v1::GetJobResponse> {
        self.admit(&request, Role::Viewer)?;
        let (id, job) = self.job_of(&request.into_inner().job).await?;
        let record = match self.farm.record(id).await? {
            Some(record) => String::from_utf8(to_json(&record)?).unwrap_or_default(),
            None => String::new(),
        };
        let storage =
            format!("{}/{}", self.farm.storage.url().trim_end_matches('/'), keys::job_root(id));
        let names = self.farm.storage.job(id).names(keys::TAKEN).await.map_err(Error::from)?;
        let taken_over = names.len() as u64;
        let job = Some(convert::job(&job));
        Ok(Response::new(v1::GetJobResponse { job, record, storage, taken_over }))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Answer<v1::ListTasksResponse> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        let (id, job) = self.job_of(&asked.job).await?;
        let plan = self.farm.plan(id).await?;
        let only = match asked.state.as_str() {
            "" => None,
            "leased" => Some(TaskKind::Leased),
            "delayed" => Some(TaskKind::Delayed),
            "failed" => Some(TaskKind::Failed),
            other => {
                let message = format!(
                    "{other:?} is no state that tasks are listed by; known are leased, delayed \
                     and failed"
                );
                return Err(Error::refused(Reason::BadRequest, message).into());
            }
        };
        let after = match asked.page_token.as_str() {
            "" => None,
            token => Some(parse_token(token, |token| {
                let (layer, index) = token.split_once('.')?;
                Some((layer.parse().ok()?, index.parse().ok()?))
            })?),
        };
        let size = page_size(asked.page_size);
        let which = Tasks { after, most: size + 1, only };
        let mut tasks = self.farm.queue.tasks(id, &which).await.map_err(Error::from)?;
        let more = tasks.len() > size as usize;
        tasks.truncate(size as usize);
        let last = tasks.last().filter(|_| more).map(|task| task.task);
        Ok(Response::new(v1::ListTasksResponse {
            next_page_token: last
                .map_or_else(String::new, |task| format!("{}.{}", task.layer, task.index)),
            tasks: tasks
                .into_iter()
                .map(|task| convert::task(&job, plan.as_deref(), task))
                .collect(),
        }))
    }

    async fn task_map(&self, request: Request<v1::TaskMapRequest>) -> Answer<v1::TaskMapResponse> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        let id = self.farm.find(&asked.job).await?;
        let map = self.farm.task_map(id, &asked.layer, asked.parts).await?;
        let parts = map.parts.into_iter().map(convert::part).collect();
        Ok(Response::new(v1::TaskMapResponse { layer: map.layer, parts }))
    }

    async fn pause(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.admit(&request, Role::Operator)?;
        let id = self.farm.find(&request.into_inner().job).await?;
        Ok(Response::new(convert::job(&self.farm.pause(id).await?)))
    }

    async fn resume(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.admit(&request, Role::Operator)?;
        let id = self.farm.find(&request.into_inner().job).await?;
        Ok(Response::new(convert::job(&self.farm.resume(id).await?)))
    }

    async fn cancel(&self, request: Request<v1::JobRequest>) -> Answer<v1::Job> {
        self.admit(&request, Role::Operator)?;
        let id = self.farm.find(&request.into_inner().job).await?;
        Ok(Response::new(convert::job(&self.farm.cancel(id).await?)))
    }

    async fn keep(&self, request: Request<v1::KeepRequest>) -> Answer<v1::KeepResponse> {
        self.admit(&request, Role::Operator)?;
        let asked = request.into_inner();
        let id = self.farm.find(&asked.job).await?;
        let (continued, job) = self.farm.keep(id, &asked.cells).await?;
        Ok(Response::new(v1::KeepResponse { continued, job: Some(convert::job(&job)) }))
    }

    async fn retry(&self, request: Request<v1::RetryRequest>) -> Answer<v1::RetryResponse> {
        self.admit(&request, Role::Operator)?;
        let asked = request.into_inner();
        let id = self.farm.find(&asked.job).await?;
        let (retried, job) = self.farm.retry(id, &asked.layer, asked.tasks).await?;
        Ok(Response::new(v1::RetryResponse { retried, job: Some(convert::job(&job)) }))
    }

    async fn set_priority(&self, request: Request<v1::SetPriorityRequest>) -> Answer<v1::Job> {
        self.admit(&request, Role::Operator)?;
        let asked = request.into_inner();
        let id = self.farm.find(&asked.job).await?;
        Ok(Response::new(convert::job(&self.farm.set_priority(id, asked.priority).await?)))
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Answer<v1::ListWorkersResponse> {
        self.admit(&request, Role::Viewer)?;
        let workers = self.farm.queue.workers().await.map_err(Error::from)?;
        let convert = |w: &_| convert::worker(w, self.farm.activity(w));
        Ok(Response::new(v1::ListWorkersResponse {
            workers: workers.iter().map(convert).collect(),
        }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Answer<v1::DrainResponse> {
        self.admit(&request, Role::Operator)?;
        let asked = request.into_inner();
        let worker = WorkerId::new(asked.worker).map_err(Error::from)?;
        let worker = self.farm.drain(&worker, !asked.undo).await?;
        let worker = Some(convert::worker(&worker, self.farm.activity(&worker)));
        Ok(Response::new(v1::DrainResponse { worker }))
    }

    async fn status(&self, request: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        self.admit(&request, Role::Viewer)?;
        let status = self.farm.status().await?;
        let (oldest, reasons) = status.oldest.unzip();
        let owned = |map: std::collections::BTreeMap<&str, u64>| -> HashMap<String, u64> {
            map.into_iter().map(|(state, count)| (state.to_owned(), count)).collect()
        };
        let failure = |failure: crate::status::Failures| v1::Failure {
            message: failure.message,
            tasks: failure.tasks,
            job: failure.job.to_string(),
        };
        Ok(Response::new(v1::StatusResponse {
            word: status.word.into(),
            tasks: Some(convert::counts(&status.tasks)),
            jobs: owned(status.jobs),
            workers: owned(status.workers),
            memory: status.memory,
            tasks_a_minute: status.tasks_a_minute,
            seconds_left: status.seconds_left.unwrap_or(0),
            oldest_waiting: oldest.as_ref().map(convert::job),
            oldest_reasons: reasons.unwrap_or_default().into_iter().map(convert::reason).collect(),
            failures: status.failures.into_iter().map(failure).collect(),
            health: status.health.into_iter().map(convert::health).collect(),
            farm: self.farm.name.to_string(),
            version: env!("CARGO_PKG_VERSION").into(),
            now: self.farm.now().0,
            frames_an_hour: status.frames_an_hour,
            groups: status.groups.into_iter().map(convert::group).collect(),
        }))
    }

    async fn why(&self, request: Request<v1::JobRequest>) -> Answer<v1::WhyResponse> {
        self.admit(&request, Role::Viewer)?;
        let (_, job) = self.job_of(&request.into_inner().job).await?;
        let reasons = self.farm.why(&job).await?;
        Ok(Response::new(v1::WhyResponse {
            job: Some(convert::job(&job)),
            reasons: reasons.into_iter().map(convert::reason).collect(),
        }))
    }

    type LogsStream = Answers<v1::Log>;

    async fn logs(&self, request: Request<v1::LogsRequest>) -> Answer<Self::LogsStream> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        if asked.last > 0 {
            return self.last_logs(asked).await;
        }
        if !asked.worker.is_empty() {
            let message = "say of how many tasks the logs of a worker are wanted: `last`";
            return Err(Error::refused(Reason::BadRequest, message).into());
        }
        let id = self.farm.find(&asked.job).await?;
        let logs = self.farm.logs(id, &asked.layer, asked.task).await?;
        let logs = logs.map(|log| log.map(convert::log).map_err(Status::from));
        Ok(Response::new(Box::pin(logs)))
    }

    async fn newest_frame(
        &self,
        request: Request<v1::NewestFrameRequest>,
    ) -> Answer<v1::NewestFrameResponse> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        let id = self.farm.find(&asked.job).await?;
        let Some((owner, frame)) = self.farm.newest_frame(id).await? else {
            return Ok(Response::new(v1::NewestFrameResponse::default()));
        };
        let path = keys::frame(frame);
        let png = if path == asked.have {
            None
        } else {
            self.farm.storage.job(owner).get(&path).await.map_err(Error::from)?
        };
        let png = png.unwrap_or_default().into();
        Ok(Response::new(v1::NewestFrameResponse { path, png }))
    }

    type FetchStream = Answers<v1::FetchResponse>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Answer<Self::FetchStream> {
        self.admit(&request, Role::Viewer)?;
        let asked = request.into_inner();
        // The state of before the listing: the files are then at least as new.
        let (id, job) = self.job_of(&asked.job).await?;
        let have = asked.have.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let mut files = Box::pin(self.farm.files(id, have).await?);
        let (to, answers) = mpsc::channel(BUFFER);
        tokio::spawn(async move {
            let mut sent = 0;
            let part = |part| Ok(v1::FetchResponse { part: Some(part) });
            while let Some(file) = files.next().await {
                let file = match file {
                    Ok(file) => file,
                    Err(error) => {
                        let _ = to.send(Err(error.into())).await;
                        return;
                    }
                };
                sent += 1;
                let size = file.bytes.len() as u64;
                let header = v1::FileHeader { path: file.key, size };
                let header = stream::iter([fetch_response::Part::File(header)]);
                let chunks = stream::iter(file.bytes.chunks(CHUNK))
                    .map(|chunk| fetch_response::Part::Data(chunk.to_vec()));
                let mut parts = header.chain(chunks);
                while let Some(next) = parts.next().await {
                    if to.send(part(next)).await.is_err() {
                        return;
                    }
                }
            }
            let end = v1::FetchEnd { job: Some(convert::job(&job)), files: sent };
            let _ = to.send(part(fetch_response::Part::End(end))).await;
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    type WatchStream = Answers<v1::WatchResponse>;

    async fn watch(&self, request: Request<v1::JobRequest>) -> Answer<Self::WatchStream> {
        self.admit(&request, Role::Viewer)?;
        let id = self.farm.find(&request.into_inner().job).await?;
        let (to, changes) = mpsc::channel(BUFFER);
        let watching = watching::watch(self.farm.clone(), id, to.clone());
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watching => (),
                // Who still watches asks another coordinator.
                () = shutdown::requested(&mut stop) => {
                    let message = "the coordinator stops; ask again in a moment";
                    let _ = to.send(Err(Error::refused(Reason::Unavailable, message))).await;
                }
            }
        });
        let changes = ReceiverStream::new(changes).map(|change| {
            let change = change.map_err(Status::from)?;
            let job = Some(convert::job(&change.job));
            let end = change.end.map_or_else(String::new, |end| end.to_json());
            Ok(v1::WatchResponse { job, events: change.events, end })
        });
        Ok(Response::new(Box::pin(changes)))
    }

    async fn audit(&self, request: Request<v1::AuditRequest>) -> Answer<v1::AuditResponse> {
        let repair = request.get_ref().repair;
        self.admit(&request, if repair { Role::Operator } else { Role::Viewer })?;
        let asked = request.into_inner();
        let job = match asked.job.as_str() {
            "" => None,
            text => Some(self.farm.find(text).await?),
        };
        let audit = self.farm.audit(job, repair).await?;
        Ok(Response::new(v1::AuditResponse {
            jobs: audit.jobs,
            frames: audit.frames,
            problems: audit.problems.into_iter().map(convert::problem).collect(),
        }))
    }

    async fn reconcile(
        &self,
        request: Request<v1::ReconcileRequest>,
    ) -> Answer<v1::ReconcileResponse> {
        self.admit(&request, Role::Operator)?;
        let done = self.farm.reconcile().await?;
        Ok(Response::new(v1::ReconcileResponse {
            jobs: done.jobs,
            restored: done.restored,
            frames: done.frames,
            notes: done.notes,
        }))
    }

    async fn find_models(
        &self,
        request: Request<v1::FindModelsRequest>,
    ) -> Answer<v1::FindModelsResponse> {
        self.admit(&request, Role::Viewer)?;
        let mut models = Vec::new();
        for name in request.into_inner().names {
            let name = ModelName::new(name).map_err(Error::from)?;
            models.extend(self.farm.model(&name).await?.map(convert::model));
        }
        Ok(Response::new(v1::FindModelsResponse { models }))
    }

    async fn put_assets(
        &self,
        request: Request<v1::PutAssetsRequest>,
    ) -> Answer<v1::PutAssetsResponse> {
        self.admit(&request, Role::Submitter)?;
        let asked = request.into_inner();
        let request = RequestId::new(asked.request_id).map_err(Error::from)?;
        let assets = asked.assets.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes)));
        self.farm.put_assets(&request, assets.collect()).await?;
        Ok(Response::new(v1::PutAssetsResponse {}))
    }

    async fn put_model(
        &self,
        request: Request<Streaming<v1::PutModelRequest>>,
    ) -> Answer<v1::PutModelResponse> {
        self.admit(&request, Role::Submitter)?;
        let mut parts = request.into_inner();
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

fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE } else { asked.min(PAGE) }
}

fn parse_token<T>(token: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    read(token).ok_or_else(|| {
        Error::refused(Reason::BadRequest, format!("{token:?} is not a page of this listing"))
    })
}
