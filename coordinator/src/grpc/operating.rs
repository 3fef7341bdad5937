//! The farm as a whole.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use vqfarm_proto::v1;
use vqfarm_service::shutdown;

use super::{Answer, Answers, BUFFER, Grpc};
use crate::convert;
use crate::error::Error;
use crate::gc;

/// How often a change is told of, at most.
const PACE: Duration = Duration::from_secs(1);
/// How long nothing is told of, at most.
const QUIET: Duration = Duration::from_secs(30);

impl Grpc {
    pub(super) async fn status(&self, write: bool) -> Answer<v1::StatusResponse> {
        let status = self.farm.status(write).await?;
        let certificate = self.tls.as_ref().and_then(|tls| tls.expires());
        let (oldest, reasons) = status.oldest.unzip();
        let owned = |map: BTreeMap<&str, u64>| -> HashMap<String, u64> {
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
            certificate_expires: certificate.map_or(0, Timestamp::as_millisecond),
        }))
    }

    pub(super) async fn list_workers(&self) -> Answer<v1::ListWorkersResponse> {
        let workers = self.farm.queue.workers().await.map_err(Error::from)?;
        let convert = |w: &_| convert::worker(w, self.farm.activity(w));
        Ok(Response::new(v1::ListWorkersResponse {
            workers: workers.iter().map(convert).collect(),
        }))
    }

    pub(super) async fn audit(&self, asked: v1::AuditRequest) -> Answer<v1::AuditResponse> {
        let job = match asked.job.as_str() {
            "" => None,
            text => Some(self.farm.find(text).await?),
        };
        let audit = self.farm.audit(job, asked.repair).await?;
        Ok(Response::new(v1::AuditResponse {
            jobs: audit.jobs,
            frames: audit.frames,
            problems: audit.problems.into_iter().map(convert::problem).collect(),
        }))
    }

    pub(super) async fn reconcile(&self) -> Answer<v1::ReconcileResponse> {
        let done = self.farm.reconcile().await?;
        Ok(Response::new(v1::ReconcileResponse {
            jobs: done.jobs,
            restored: done.restored,
            frames: done.frames,
            notes: done.notes,
        }))
    }

    /// Goes on for as long as somebody listens.
    pub(super) fn collect_garbage(
        &self,
        asked: v1::CollectGarbageRequest,
    ) -> Response<Answers<v1::Garbage>> {
        let (to, found) = mpsc::channel(BUFFER);
        let policy = gc::Policy {
            older_than: Duration::from_secs(asked.older_than),
            keep_results: asked.keep_results,
            delete: asked.delete,
        };
        let farm = self.farm.clone();
        let mut stop = self.stop.clone();
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = farm.collect_garbage(&policy, &to) => ended,
                () = shutdown::requested(&mut stop) => return,
            };
            if let Err(error) = ended {
                // Where nobody listens any more, nobody is told.
                let _ = to.send(Err(error)).await;
            }
        });
        let found = ReceiverStream::new(found);
        let found = found.map(|found| found.map(convert::garbage).map_err(Status::from));
        Response::new(Box::pin(found))
    }

    /// Speaks when something has happened, at most once in [`PACE`], and now and then although
    /// nothing has, since time alone makes a worker lost.
    pub(super) fn changes(&self) -> Response<Answers<v1::ChangesResponse>> {
        let (to, changes) = mpsc::channel(1);
        let mut heard = self.farm.queue.events();
        let mut stop = self.stop.clone();
        let telling = async move {
            while to.send(Ok(v1::ChangesResponse {})).await.is_ok() {
                let pause = Instant::now() + PACE;
                tokio::select! {
                    event = timeout(QUIET, heard.recv()) => match event {
                        Ok(Err(RecvError::Closed)) => return,
                        _ => sleep_until(pause).await,
                    },
                    () = to.closed() => return,
                }
                // What came close behind is told of together with it.
                while heard.try_recv().is_ok() {}
            }
        };
        tokio::spawn(async move {
            tokio::select! {
                () = telling => (),
                () = shutdown::requested(&mut stop) => (),
            }
        });
        Response::new(Box::pin(ReceiverStream::new(changes)))
    }
}
