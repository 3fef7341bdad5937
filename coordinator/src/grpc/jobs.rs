//! Submitting jobs and looking at them.

use std::time::Instant;

use bytes::Bytes;
use futures::stream::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use tracing::field::Empty;
use tracing::{Instrument, trace_span};
use vqfarm_core::access::Token;
use vqfarm_core::id::{JobId, RequestId, UserName};
use vqfarm_core::keys;
use vqfarm_proto::{RefusalReason as Reason, v1};
use vqfarm_queue::{Jobs, TaskKind, Tasks};
use vqfarm_service::shutdown;
use vqfarm_service::telemetry::{self, TARGET as TELEMETRY};

use super::{Answer, Answers, BUFFER, Grpc};
use crate::convert;
use crate::error::Error;
use crate::farm::to_json;
use crate::status;
use crate::submit::{Submit, Submitted};
use crate::watching;

/// Jobs or tasks on a page when the caller does not say, and at most.
const PAGE: u32 = 1000;

impl Grpc {
    pub(super) async fn submit(
        &self,
        caller: Option<&Token>,
        asked: v1::SubmitRequest,
    ) -> Answer<v1::SubmitResponse> {
        let began = Instant::now();
        let quota = self.quota(caller);
        let user = match caller {
            Some(token) => token.user.clone(),
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
        let planning = trace_span!(
            target: TELEMETRY,
            "plan",
            user = %user,
            dry_run,
            job = %self.farm.job_of(&request),
            tasks = Empty,
        );
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
                quota,
            })
            .instrument(planning.clone())
            .await;
        let word = match (&outcome, dry_run) {
            (Err(_), _) => "refused",
            (Ok(_), true) => "dry_run",
            (Ok(Submitted { existed: true, .. }), false) => "again",
            (Ok(_), false) => "taken",
        };
        metrics::counter!("vqfarm_submits_total", "outcome" => word).increment(1);
        metrics::histogram!("vqfarm_submit_seconds").record(began.elapsed().as_secs_f64());
        match &outcome {
            Ok(submitted) => _ = planning.record("tasks", submitted.job.total().tasks),
            Err(_) => telemetry::fail(&planning),
        }
        let trace_id = telemetry::trace_id(&planning);
        drop(planning);
        let Submitted { job, existed, estimate } = outcome?;
        if !dry_run && !existed {
            let tasks = job.total().tasks;
            tracing::info!(job = %job.job, name = %job.name, user = %job.user, tasks, trace_id,
                "submitted");
        }
        let reasons = self.farm.why(&job).await?;
        Ok(Response::new(v1::SubmitResponse {
            job: Some(convert::job(&job)),
            existed,
            reasons: reasons.into_iter().map(convert::reason).collect(),
            estimate: estimate.map(convert::estimate),
        }))
    }

    pub(super) async fn list_jobs(
        &self,
        asked: v1::ListJobsRequest,
    ) -> Answer<v1::ListJobsResponse> {
        let size = page_size(asked.page_size);
        let first = asked.page_token.is_empty();
        let state = match asked.state.as_str() {
            "" => None,
            word => Some(status::state(word).ok_or_else(|| {
                Error::refused(Reason::BadRequest, format!("{word:?} is no state of a job"))
            })?),
        };
        // A first page of all users' jobs does not need all jobs.
        let which = match (asked.live, first && asked.user.is_empty(), state) {
            (true, _, _) => Jobs::Live,
            (false, true, None) => Jobs::Newest(size + 1),
            (false, true, Some(state)) => Jobs::InState(state, size + 1),
            (false, false, _) => Jobs::All,
        };
        let mut jobs = self.farm.queue.jobs(which).await.map_err(Error::from)?;
        jobs.sort_by_key(|job| std::cmp::Reverse((job.submitted, job.job)));
        jobs.retain(|job| asked.user.is_empty() || job.user.as_str() == asked.user);
        jobs.retain(|job| state.is_none_or(|state| job.state == state));
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

    pub(super) async fn get_job(&self, asked: v1::JobRequest) -> Answer<v1::GetJobResponse> {
        let (id, job) = self.job_of(&asked.job).await?;
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

    pub(super) async fn list_tasks(
        &self,
        asked: v1::ListTasksRequest,
    ) -> Answer<v1::ListTasksResponse> {
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

    pub(super) async fn task_map(&self, asked: v1::TaskMapRequest) -> Answer<v1::TaskMapResponse> {
        let id = self.farm.find(&asked.job).await?;
        let map = self.farm.task_map(id, &asked.layer, asked.parts).await?;
        let parts = map.parts.into_iter().map(convert::part).collect();
        Ok(Response::new(v1::TaskMapResponse { layer: map.layer, parts }))
    }

    pub(super) async fn why(&self, asked: v1::JobRequest) -> Answer<v1::WhyResponse> {
        let (_, job) = self.job_of(&asked.job).await?;
        let reasons = self.farm.why(&job).await?;
        Ok(Response::new(v1::WhyResponse {
            job: Some(convert::job(&job)),
            reasons: reasons.into_iter().map(convert::reason).collect(),
        }))
    }

    pub(super) async fn watch(&self, asked: v1::JobRequest) -> Answer<Answers<v1::WatchResponse>> {
        let id = self.farm.find(&asked.job).await?;
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
}

fn page_size(asked: u32) -> u32 {
    if asked == 0 { PAGE } else { asked.min(PAGE) }
}

fn parse_token<T>(token: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
    read(token).ok_or_else(|| {
        Error::refused(Reason::BadRequest, format!("{token:?} is not a page of this listing"))
    })
}
