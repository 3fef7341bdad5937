//! Which jobs have ended, and who has not been told of it yet.
//!
//! The queue's events say it at once; its jobs say it again after a restart and now and then, for
//! events that were missed. Storage says who was told.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use vqfarm_core::clock::Timestamp;
use vqfarm_core::ending::Ending;
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_queue::{Event, JobSnapshot, JobState, Jobs};

use super::telling::{Listener, Teller};
use crate::ending::ending;
use crate::error::Result;

/// How often all jobs are looked at.
const LOOK: Duration = Duration::from_secs(60);
/// Jobs that are looked up at the same time.
const AT_ONCE: usize = 8;

/// A job's end.
pub struct End {
    pub job: JobId,
    /// Grows when its tasks are tried again: a job that ends after that ends anew.
    pub retries: u32,
    pub state: Ending,
    pub ended: Timestamp,
    pub body: String,
    pub variables: Vec<(&'static str, String)>,
}

impl End {
    /// Tells it from other ends of the job, also over the loss of the queue's memory.
    pub fn name(&self) -> String {
        format!("{}-{}", self.retries, self.state.word())
    }
}

/// Finds ends and has them told, for ever.
pub struct Watch {
    teller: Arc<Teller>,
    /// With the moment since when each is told.
    listeners: Vec<(Listener, Timestamp)>,
    /// The ends that were looked up, by their jobs.
    known: HashMap<JobId, (JobState, Option<Timestamp>)>,
    /// Tellings under way.
    under_way: HashSet<Telling>,
    tellings: JoinSet<Telling>,
}

/// Job, end, target.
type Telling = (JobId, String, String);

impl Watch {
    pub fn new(teller: Arc<Teller>, listeners: Vec<(Listener, Timestamp)>) -> Self {
        Self {
            teller,
            listeners,
            known: HashMap::new(),
            under_way: HashSet::new(),
            tellings: JoinSet::new(),
        }
    }

    pub async fn run(mut self) -> Infallible {
        let mut heard = self.teller.farm.queue.events();
        let mut ticks = interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let looked = tokio::select! {
                Some(told) = self.tellings.join_next() => {
                    match told {
                        Ok(telling) => drop(self.under_way.remove(&telling)),
                        Err(error) => tracing::error!(%error, "a telling has died"),
                    }
                    continue;
                }
                _ = ticks.tick() => self.look_at_all().await,
                event = heard.recv() => match event {
                    Ok(Event::Job { job, state }) if state.is_final() => self.look_at(job).await,
                    // One that was put back, or has nothing to do, may be over already.
                    Ok(Event::Submitted(job)) => self.look_at(job).await,
                    Ok(Event::Opened(_) | Event::Gap) | Err(RecvError::Lagged(_)) => {
                        self.look_at_all().await
                    }
                    Ok(_) => continue,
                    // The queue is shutting down.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "cannot look for jobs that have ended");
            }
        }
    }

    async fn look_at_all(&mut self) -> Result<()> {
        let jobs = self.teller.farm.queue.jobs(Jobs::All).await?;
        let all: HashSet<JobId> = jobs.iter().map(|job| job.job).collect();
        self.known.retain(|job, _| all.contains(job));
        self.look_up(jobs).await
    }

    async fn look_at(&mut self, job: JobId) -> Result<()> {
        let job = self.teller.farm.queue.job(job).await?;
        self.look_up(vec![job]).await
    }

    /// Begins to tell of those that nobody was told of.
    async fn look_up(&mut self, jobs: Vec<JobSnapshot>) -> Result<()> {
        let new: Vec<JobSnapshot> = jobs.into_iter().filter(|job| self.is_new(job)).collect();
        let (teller, listeners) = (&self.teller, &self.listeners);
        let find = async |job: JobSnapshot| {
            let found = untold(teller, listeners, &job).await;
            (job, found)
        };
        let mut found = stream::iter(new).map(find).buffered(AT_ONCE).collect::<Vec<_>>().await;
        let mut failed = None;
        for (job, found) in found.drain(..) {
            match found {
                Ok(None) => (),
                Ok(Some((end, untold))) => self.begin(&Arc::new(end), untold),
                // It is looked at again with all others.
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            }
            self.known.insert(job.job, (job.state, job.finished));
        }
        failed.map_or(Ok(()), Err)
    }

    fn is_new(&self, job: &JobSnapshot) -> bool {
        let told = (job.state, job.finished);
        job.state.is_final() && self.known.get(&job.job) != Some(&told)
    }

    fn begin(&mut self, end: &Arc<End>, untold: Vec<Listener>) {
        for listener in untold {
            let telling = (end.job, end.name(), listener.target.key.clone());
            if self.under_way.insert(telling.clone()) {
                let (teller, end) = (self.teller.clone(), end.clone());
                self.tellings.spawn(async move {
                    teller.tell(&end, &listener).await;
                    telling
                });
            }
        }
    }
}

/// The job's end and those who want to hear of it and have not yet; `None` where there are none.
async fn untold(
    teller: &Teller,
    listeners: &[(Listener, Timestamp)],
    job: &JobSnapshot,
) -> Result<Option<(End, Vec<Listener>)>> {
    let farm = &teller.farm;
    let Some(state) = ending(job.state) else { return Ok(None) };
    let too_late = |ended| teller.retry.is_over(ended, farm.now());
    let mut wanting: Vec<&(Listener, Timestamp)> =
        listeners.iter().filter(|(listener, _)| listener.target.wants(job, state)).collect();
    if wanting.is_empty() || job.finished.is_some_and(too_late) {
        return Ok(None);
    }
    let retries = farm.control(job.job).await?.retries;
    // One that was tried again in the meantime ends anew, and is told of then.
    let now = farm.queue.job(job.job).await?;
    if (now.state, now.finished) != (job.state, job.finished) {
        return Ok(None);
    }
    let names = farm.storage.job(job.job).names(keys::NOTIFIED).await?;
    let ended = farm.ended_at(job).await?;
    let (body, variables) = (String::new(), Vec::new());
    let mut end = End { job: job.job, retries, state, ended, body, variables };
    wanting.retain(|(listener, since)| {
        ended >= *since && !teller.ledger(&end, &listener.target).is_settled(&names)
    });
    if wanting.is_empty() || too_late(ended) {
        return Ok(None);
    }
    let Some(told) = farm.job_end(job).await? else { return Ok(None) };
    end.body = told.to_json();
    end.variables = told.variables();
    Ok(Some((end, wanting.into_iter().map(|(listener, _)| listener.clone()).collect())))
}
