//! Work for a lane: lease tasks, adopt what is stored, fetch what is needed; stitching is
//! done on the way.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc as channel;
use tracing::Instrument;
use vqfarm_core::event::Event;
use vqfarm_core::id::RequestId;
use vqfarm_core::keys;
use vqfarm_core::plan::TaskSpec;
use vqfarm_core::sweep::Cell;
use vqfarm_queue::{Lease, LeaseAnswer};

use crate::attempt::Attempt;
use crate::cache::CacheError;
use crate::job::{JobFault, OpenJob};
use crate::lane::Task;
use crate::panic::said;
use crate::patience::Patience;
use crate::publish::{PublishError, Published, Stored, look};
use crate::run::Shift;
use crate::stitch::{self, StitchError};
use crate::stop::Stop;

/// The longest wait for work before asking again.
const IDLE: Duration = Duration::from_secs(30);
/// Tasks of a lease that are prepared at the same time.
const AT_ONCE: usize = 8;

/// What is to be done for a leased task.
enum Next {
    Render(Box<Task>),
    Stitch,
    /// Its frame is stored already.
    Adopt(Box<Published>),
}

/// Why a task cannot be begun.
struct Trouble {
    message: String,
    /// Whether another attempt may succeed.
    retryable: bool,
    /// Whether this worker had better rest, so that the task goes elsewhere.
    here: bool,
}

impl Shift {
    /// Leases for one lane, a batch each time it asks, until the worker stops.
    pub async fn feed(
        self: Arc<Self>,
        work: mpsc::Sender<Vec<Task>>,
        mut asked: channel::UnboundedReceiver<()>,
    ) {
        loop {
            // Leased ahead, a batch waits here, where it can be handed back at once.
            let mut batch = None;
            if self.worker.ahead {
                batch = self.next_tasks().await;
                if batch.is_none() {
                    break;
                }
            }
            let asked = tokio::select! {
                // A lane that is gone has panicked outside of a picture; the others go on.
                asked = asked.recv() => asked.is_some(),
                () = self.brake.reached(Stop::Finish) => false,
            };
            if !asked {
                self.hand_all_back(batch.unwrap_or_default()).await;
                break;
            }
            if batch.is_none() {
                batch = self.next_tasks().await;
            }
            let Some(tasks) = batch else { break };
            if let Err(mpsc::SendError(tasks)) = work.send(tasks) {
                self.hand_all_back(tasks).await;
            }
        }
    }

    async fn hand_all_back(&self, tasks: Vec<Task>) {
        for Task { attempt, job, .. } in tasks {
            let span = attempt.span.clone();
            self.hand_back(&attempt, Some(&job)).instrument(span).await;
        }
    }

    /// Waits for work and prepares it; `None` when there shall be no more.
    async fn next_tasks(&self) -> Option<Vec<Task>> {
        let mut patience = Patience::new("lease");
        let mut request = RequestId::generate();
        while self.brake.level() == Stop::No {
            self.rest.over(&self.brake).await;
            let begin = Instant::now();
            let answer = self.worker.queue.lease(&request, &self.info(), self.worker.batch).await;
            let answer = match answer {
                Ok(answer) => answer,
                // The same request again: had the answer got lost, so would the leases.
                Err(error) => {
                    patience.note(&error);
                    patience.wait(&error, &self.brake).await;
                    continue;
                }
            };
            patience.answered();
            patience = Patience::new("lease");
            request = RequestId::generate();
            match answer {
                LeaseAnswer::Work(lease) => {
                    self.worker.meters.leased(begin.elapsed());
                    let tasks = self.prepare(lease).await;
                    if !tasks.is_empty() {
                        return Some(tasks);
                    }
                }
                LeaseAnswer::Nothing { seen, due_in } => {
                    let wait = due_in.unwrap_or(IDLE).min(IDLE);
                    let waited = tokio::select! {
                        waited = self.worker.queue.wait_for_work(seen, wait) => waited,
                        () = self.brake.reached(Stop::Finish) => return None,
                    };
                    if let Err(error) = waited {
                        patience.wait(&error, &self.brake).await;
                    }
                }
                LeaseAnswer::Drain => {
                    tracing::info!("draining: no more work");
                    self.brake.raise(Stop::Finish);
                }
            }
        }
        None
    }

    async fn prepare(&self, lease: Lease) -> Vec<Task> {
        self.lasts.send_if_modified(|lasts| {
            let other = *lasts != lease.lasts;
            *lasts = lease.lasts;
            other
        });
        let attempts: Vec<_> = lease.tickets.into_iter().map(Attempt::new).collect();
        for attempt in &attempts {
            self.held.insert(attempt);
        }
        let prepared = stream::iter(attempts).map(|attempt| {
            let span = attempt.span.clone();
            async move {
                let preparing = AssertUnwindSafe(self.prepare_one(attempt.clone()));
                match preparing.catch_unwind().await {
                    Ok(task) => task,
                    Err(panic) => {
                        let message = format!("the worker panicked: {}", said(&*panic));
                        self.give_up(&attempt, None, message, true).await;
                        None
                    }
                }
            }
            .instrument(span)
        });
        prepared.buffered(AT_ONCE).filter_map(|task| async { task }).collect().await
    }

    /// A cell that a lane shall render; everything else is dealt with here.
    async fn prepare_one(&self, attempt: Arc<Attempt>) -> Option<Task> {
        tracing::info!(worker = %self.worker.info.id, "leased");
        let opened = tokio::select! {
            opened = self.worker.jobs.open(attempt.ticket.task.job) => opened,
            () = self.brake.reached(Stop::Finish) => {
                self.hand_back(&attempt, None).await;
                return None;
            }
        };
        let job = match opened {
            Ok(job) => job,
            Err(fault) => {
                self.bear(&attempt, None, Trouble::from(fault)).await;
                return None;
            }
        };
        let next = tokio::select! {
            next = self.look_into(&attempt, &job) => next,
            () = self.brake.reached(Stop::Finish) => {
                self.hand_back(&attempt, Some(&job)).await;
                return None;
            }
        };
        match next {
            Ok(Next::Render(task)) => return Some(*task),
            Ok(Next::Stitch) => self.stitch(&attempt, &job).await,
            Ok(Next::Adopt(frame)) => {
                tracing::info!(key = frame.key, "the frame is stored already");
                let committed = self.committer.commit(attempt.ticket).await;
                let adopted = committed.map(|_| *frame).map_err(PublishError::Queue);
                self.published(&attempt, &job, adopted, Duration::ZERO).await;
            }
            Err(trouble) => self.bear(&attempt, Some(&job), trouble).await,
        }
        None
    }

    async fn look_into(&self, attempt: &Arc<Attempt>, job: &Arc<OpenJob>) -> Result<Next, Trouble> {
        let task = attempt.ticket.task;
        let cell = match job.plan.task(task.layer, task.index) {
            Ok(TaskSpec::Render(cell)) => *cell,
            Ok(TaskSpec::Stitch) => return Ok(Next::Stitch),
            Err(fault) => return Err(JobFault::from(fault).into()),
        };
        let key = keys::frame(cell.index);
        if let Stored::Frame(info) = look(job, &key).await? {
            return Ok(Next::Adopt(Box::new(Published { key, info: *info, adopted: true })));
        }
        let (attempt, job) = (attempt.clone(), job.clone());
        Ok(Next::Render(Box::new(self.render(attempt, job, cell).await?)))
    }

    /// A cell with everything that a lane needs.
    async fn render(
        &self,
        attempt: Arc<Attempt>,
        job: Arc<OpenJob>,
        cell: Cell,
    ) -> Result<Task, Trouble> {
        let models = job.models(&cell);
        if let Some(cache) = &self.worker.cache {
            for model in models.models() {
                cache.ensure(model).await?;
            }
        }
        let picture = job.picture(&cell.render).await?;
        Ok(Task { attempt, job, cell, models, picture })
    }

    async fn bear(&self, attempt: &Attempt, job: Option<&OpenJob>, trouble: Trouble) {
        if trouble.here {
            self.rest.trouble();
        }
        self.give_up(attempt, job, trouble.message, trouble.retryable).await;
    }

    async fn stitch(&self, attempt: &Attempt, job: &Arc<OpenJob>) {
        let no_failures = HashMap::new();
        let stitched = tokio::select! {
            stitched = stitch::stitch(job, &no_failures) => stitched,
            () = self.brake.reached(Stop::Now) => return self.hand_back(attempt, Some(job)).await,
        };
        match stitched {
            Ok(_) => {
                let outcome = match self.committer.commit(attempt.ticket).await {
                    Ok(_) => "stitched",
                    Err(error) => {
                        tracing::info!(%error, "the overviews are there, but do not count");
                        "dropped"
                    }
                };
                self.end(attempt, Some(job), outcome).await;
            }
            Err(StitchError::Damaged(frames)) => {
                let message = format!("damaged frames are rendered again: {frames:?}");
                tracing::warn!(message);
                self.tell(Event::Warning { message });
                let queue = &*self.worker.queue;
                match stitch::render_again(queue, job, &attempt.ticket, frames).await {
                    Ok(()) => self.end(attempt, Some(job), "released").await,
                    Err(error) => self.give_up(attempt, Some(job), error.to_string(), true).await,
                }
            }
            Err(error) => self.give_up(attempt, Some(job), error.to_string(), true).await,
        }
    }
}

impl From<JobFault> for Trouble {
    fn from(fault: JobFault) -> Self {
        let here = matches!(&fault, JobFault::Store(error) if error.is_transient());
        let retryable = !matches!(fault, JobFault::Plan(_));
        Self { message: fault.to_string(), retryable, here }
    }
}

impl From<PublishError> for Trouble {
    fn from(error: PublishError) -> Self {
        Self {
            message: error.to_string(),
            retryable: error.is_retryable(),
            here: error.is_of_storage(),
        }
    }
}

impl From<CacheError> for Trouble {
    fn from(error: CacheError) -> Self {
        let retryable = !matches!(error, CacheError::NoHash(_));
        Self { message: error.to_string(), retryable, here: error.is_local() }
    }
}
