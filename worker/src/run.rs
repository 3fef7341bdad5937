//! The worker's life: lanes that render, feeders that lease for them, frames that are
//! published, leases that are kept alive; until told to stop.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, trace_span};
use vqfarm_core::event::Event;
use vqfarm_core::keys;
use vqfarm_queue::{Failed, Failure as Attempted, Queue, QueueError, WorkerInfo};
use vqfarm_service::telemetry;
use vqfarm_service::trace::TARGET as TRACE;

use crate::attempt::{Attempt, Held};
use crate::batch_size::BatchSize;
use crate::cache::ModelCache;
use crate::cells::Cells;
use crate::commit::Committer;
use crate::cores::Cores;
use crate::job::OpenJob;
use crate::jobs::Jobs;
use crate::lane::{Asker, Failure, Finished, FinishedCell, Lane, LaneParts, Lead};
use crate::log::AttemptLogs;
use crate::meters::Meters;
use crate::models::Shelf;
use crate::panic::said;
use crate::patience::{Patience, Rest};
use crate::publish::{Origin, PublishError, Published, publish};
use crate::room::Room;
use crate::speeds::Speeds;
use crate::stop::{Brake, Stop};

/// How long a lease lasts until the queue says otherwise.
const LEASE: Duration = Duration::from_secs(30);
/// Heartbeats in the time of a lease: two may be lost.
const BEATS: u32 = 3;
/// The pause after a heartbeat that got no answer.
const AGAIN: Duration = Duration::from_secs(1);
/// Over at least this long the share of busy time is measured.
const MEASURE: Duration = Duration::from_secs(10);
/// Pictures that may wait to be stored: their bytes, and how many, unless two batches of every
/// lane are more.
const WAITING: (usize, usize) = (256 << 20, 64);
/// Frames that are stored at the same time.
const UPLOADS: usize = 16;

/// What a worker is made of.
pub struct Worker {
    pub queue: Arc<dyn Queue>,
    /// What it has; the loaded models are added.
    pub info: WorkerInfo,
    /// One for each lane; lanes of one device share a shelf.
    pub shelves: Vec<Arc<Shelf>>,
    /// Shared by the lanes, on a CPU where pictures of any size may come.
    pub cores: Option<Arc<Cores>>,
    /// How many cells are leased together.
    pub batch: Arc<BatchSize>,
    /// Lease the next batch as soon as one is begun: right for a GPU, which must not wait. On a
    /// CPU the last cells would queue up behind a busy lane; so it is done shortly before the end.
    pub ahead: bool,
    /// How long before the end that is at least; otherwise it follows from how long leasing takes.
    pub least_lead: Duration,
    pub jobs: Jobs,
    /// Where pictures are looked for that were made before.
    pub cells: Cells,
    /// Where a farm's models come from.
    pub cache: Option<Arc<ModelCache>>,
    /// What is logged of attempts, to be stored beside their frames.
    pub logs: Option<AttemptLogs>,
    pub meters: Arc<Meters>,
    pub speeds: Arc<Speeds>,
    pub events: mpsc::UnboundedSender<Told>,
}

/// What a worker tells.
pub enum Told {
    Event(Box<Event>),
    /// A frame could not be stored; the next ones will hardly fare better.
    Storage(String),
}

/// A worker at work.
pub(crate) struct Shift {
    pub worker: Worker,
    pub brake: Brake,
    pub held: Held,
    pub committer: Committer,
    /// How long a lease lasts.
    pub lasts: watch::Sender<Duration>,
    pub rest: Rest,
    pub lead: Arc<Lead>,
}

impl Worker {
    /// Works until it is told to stop or to drain, hands back what it does not finish, and
    /// returns when what it finished is stored and committed.
    ///
    /// # Errors
    /// The system gives no threads.
    pub async fn run(self, brake: Brake) -> io::Result<()> {
        let lanes = self.shelves.len();
        let (bytes, pictures) = WAITING;
        let room = Room::new(bytes, pictures.max(2 * lanes * self.batch.most() as usize));
        let (finished, results) = mpsc::unbounded_channel();
        let (events, told) = mpsc::unbounded_channel();
        let lead = Arc::new(Lead::new(self.least_lead));
        let shift = Arc::new(Shift {
            committer: Committer::start(self.queue.clone(), brake.clone()),
            worker: self,
            brake,
            held: Held::default(),
            lasts: watch::Sender::new(LEASE),
            rest: Rest::default(),
            lead,
        });
        let mut threads = Vec::with_capacity(lanes);
        let mut feeders = JoinSet::new();
        for (number, shelf) in shift.worker.shelves.iter().enumerate() {
            let (ready, asked) = mpsc::unbounded_channel();
            let Lane { work, thread } = Lane::start(LaneParts {
                number,
                shelf: shelf.clone(),
                cores: shift.worker.cores.clone(),
                meters: shift.worker.meters.clone(),
                speeds: shift.worker.speeds.clone(),
                batch: shift.worker.batch.clone(),
                brake: shift.brake.clone(),
                asker: Asker::new(ready),
                lead: shift.lead.clone(),
                events: events.clone(),
                finished: finished.clone(),
                room: room.clone(),
            })?;
            threads.push(thread);
            feeders.spawn(shift.clone().feed(work, asked));
        }
        drop((events, finished));

        let telling = tokio::spawn(shift.clone().tell_all(told));
        let publishing = tokio::spawn(shift.clone().publish_all(results, UPLOADS + lanes));
        let beating = tokio::spawn(shift.clone().heartbeats());
        // A feeder ends when the worker stops; with it the lane, after what it has.
        while let Some(ended) = feeders.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a lane gets no more work");
            }
        }
        for thread in threads {
            // A panicked lane has nothing left to say.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        // The lanes' ends of the channels are gone, so these end with the last frame.
        let _ = publishing.await;
        shift.worker.speeds.store_all().await;
        let _ = telling.await;
        beating.abort();
        Ok(())
    }
}

impl Shift {
    pub fn tell(&self, event: Event) {
        // Nobody listening is fine.
        let _ = self.worker.events.send(Told::Event(Box::new(event)));
    }

    /// The worker as the queue shall know it now.
    pub fn info(&self) -> WorkerInfo {
        let mut info = self.worker.info.clone();
        for shelf in &self.worker.shelves {
            info.loaded.extend(shelf.loaded());
        }
        info.busy = self.worker.meters.busy_percent();
        info.disk = self.worker.cache.as_ref().and_then(|cache| cache.free());
        info
    }

    async fn tell_all(self: Arc<Self>, mut told: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = told.recv().await {
            self.tell(event);
        }
    }

    /// Publishes `most` results at the same time; a segment is one for as long as it is made.
    async fn publish_all(
        self: Arc<Self>,
        mut results: mpsc::UnboundedReceiver<Finished>,
        most: usize,
    ) {
        let mut running = JoinSet::new();
        while let Some(finished) = results.recv().await {
            // What has ended needs no keeping.
            while running.try_join_next().is_some() {}
            tracing::trace!(target: TRACE, counter = "unpublished", value = results.len() + running.len());
            if running.len() >= most {
                running.join_next().await;
            }
            let attempt = match &finished {
                Finished::Cell(cell) => cell.task.attempt.clone(),
                Finished::Segment(segment) => segment.attempt.clone(),
            };
            let (shift, span) = (self.clone(), attempt.span.clone());
            running.spawn(async move { shift.publish_one(finished).await }.instrument(span));
        }
        while running.join_next().await.is_some() {}
    }

    async fn publish_one(&self, finished: Finished) {
        let (attempt, job) = match &finished {
            Finished::Cell(cell) => (cell.task.attempt.clone(), cell.task.job.clone()),
            Finished::Segment(segment) => (segment.attempt.clone(), segment.job.clone()),
        };
        let span = trace_span!(target: TRACE, "publish", to = attempt.name());
        let publishing = async {
            match finished {
                Finished::Cell(cell) => self.conclude(*cell, &attempt, &job).await,
                Finished::Segment(segment) => self.publish_segment(segment).await,
            }
        };
        let publishing = AssertUnwindSafe(publishing.instrument(span));
        // A lease that nobody ends would be kept alive for ever.
        if let Err(panic) = publishing.catch_unwind().await {
            let message = format!("the worker panicked: {}", said(&*panic));
            self.give_up(&attempt, Some(&job), message, true).await;
        }
    }

    async fn conclude(&self, finished: FinishedCell, attempt: &Attempt, job: &OpenJob) {
        // The room is free when the frame is stored and counts.
        let FinishedCell { task, result, took, room: _room } = finished;
        let is_frame = task.is_frame();
        match result {
            Ok(_) if attempt.is_unwanted() => self.end(attempt, Some(job), "dropped").await,
            Ok(painted) => {
                tracing::info!(seconds = took.as_secs_f64(), score = painted.score, "rendered");
                let Worker { meters, cells, .. } = &self.worker;
                let published = publish(&self.committer, meters, cells, &task, painted).await;
                self.published(attempt, job, published, took, is_frame).await;
                self.worker.speeds.store().await;
            }
            Err(Failure::Error { message, retryable }) => {
                self.give_up(attempt, Some(job), message, retryable).await;
            }
            Err(Failure::Unwanted) => self.hand_back(attempt, Some(job)).await,
        }
    }

    /// What became of a frame that was to be stored and committed.
    pub async fn published(
        &self,
        attempt: &Attempt,
        job: &OpenJob,
        published: Result<Published, PublishError>,
        took: Duration,
        is_frame: bool,
    ) {
        match published {
            Ok(Published { key, info, origin }) => {
                self.rest.all_is_well();
                tracing::info!(frame = origin.word(), "committed");
                self.end(attempt, Some(job), origin.word()).await;
                if is_frame {
                    self.tell(Event::Frame {
                        cell: info.index,
                        path: key,
                        score: info.score,
                        seconds: took.as_secs_f64(),
                        adopted: origin == Origin::Adopted,
                        taken_over: origin == Origin::TakenOver,
                    });
                }
            }
            Err(PublishError::Queue(error)) => {
                // Whoever has the task now finds the frame.
                tracing::info!(%error, "the frame is stored, but this attempt does not count");
                self.end(attempt, Some(job), "dropped").await;
            }
            Err(error) => {
                if error.is_of_storage() {
                    self.rest.trouble();
                }
                let message = error.to_string();
                self.give_up(attempt, Some(job), message.clone(), error.is_retryable()).await;
                let _ = self.worker.events.send(Told::Storage(message));
            }
        }
    }

    /// Says that an attempt failed.
    pub async fn give_up(
        &self,
        attempt: &Attempt,
        job: Option<&OpenJob>,
        message: String,
        retryable: bool,
    ) {
        tracing::warn!(error = message, "the attempt failed");
        let failure = Attempted { message, retryable };
        let ticket = attempt.ticket;
        let outcome = self.insist("fail", || self.worker.queue.fail(&ticket, &failure)).await;
        match outcome {
            Ok(Failed::Quarantined) => {
                tracing::warn!("put aside after its last attempt");
                let task = ticket.task;
                for cell in job.and_then(|job| job.frames_of(task)).unwrap_or_default() {
                    self.tell(Event::Failed { cell, reason: failure.message.clone() });
                }
            }
            Ok(Failed::Retry(_)) => (),
            Err(error) => tracing::warn!(%error, "the failure does not count"),
        }
        self.end(attempt, job, "failed").await;
    }

    /// Hands a task back without having tried it.
    pub async fn hand_back(&self, attempt: &Attempt, job: Option<&OpenJob>) {
        let ticket = attempt.ticket;
        // What nobody wants is not handed back either.
        if !attempt.is_unwanted() {
            match self.insist("release", || self.worker.queue.release(&ticket)).await {
                Ok(()) => tracing::info!("handed back"),
                Err(error) => tracing::info!(%error, "not handed back"),
            }
        }
        self.end(attempt, job, "released").await;
    }

    /// Asks a queue that is away again, for as long as the lease would last.
    async fn insist<T, F>(&self, call: &'static str, ask: impl Fn() -> F) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let deadline = tokio::time::Instant::now() + *self.lasts.borrow();
        let mut patience = Patience::new(call);
        loop {
            let error = match ask().await {
                Err(error) if Patience::is_for(&error) => error,
                answer => {
                    patience.answered();
                    return answer;
                }
            };
            let late = tokio::time::Instant::now() >= deadline;
            if late || !patience.wait(&error, &self.brake).await {
                return Err(error);
            }
        }
    }

    /// An attempt is over: its lease is not kept alive any more, its log is stored.
    pub async fn end(&self, attempt: &Attempt, job: Option<&OpenJob>, outcome: &'static str) {
        self.held.remove(&attempt.ticket);
        self.worker.meters.ended(outcome);
        attempt.span.in_scope(|| tracing::debug!(outcome, "the attempt is over"));
        telemetry::note(&attempt.span, "outcome", outcome);
        if outcome == "failed" {
            telemetry::fail(&attempt.span);
        }
        let ticket = attempt.ticket;
        let log = self.worker.logs.as_ref().and_then(|logs| logs.take(&ticket));
        let (Some(log), Some(job)) = (log, job) else { return };
        let Some(layer) = job.plan.layers.get(usize::from(ticket.task.layer)) else { return };
        let number = layer.number_of(ticket.task.index);
        let key = keys::log(&layer.name, number, ticket.attempt);
        let storing = trace_span!(target: TRACE, "store log");
        if let Err(error) = job.store.replace(&key, log.into()).instrument(storing).await {
            tracing::warn!(%error, "the log of an attempt is lost");
        }
    }

    /// Keeps the leases alive, drops tasks that are lost, hears of a drain.
    async fn heartbeats(self: Arc<Self>) {
        let mut lasts = self.lasts.subscribe();
        let mut mark = self.worker.meters.beginning();
        let mut patience = Patience::new("heartbeat");
        loop {
            let lease = *lasts.borrow_and_update();
            let (info, tickets) = (self.info(), self.held.tickets());
            let asked = self.worker.queue.heartbeat(&info, &tickets);
            let beat = trace_span!(target: TRACE, "heartbeat", leases = tickets.len());
            let asked = timeout(lease, asked).instrument(beat).await;
            let answer = asked.unwrap_or_else(|_| Err(QueueError::Unavailable("no answer".into())));
            let pause = match answer {
                Ok(answer) => {
                    patience.answered();
                    patience = Patience::new("heartbeat");
                    self.held.heard(&tickets, &answer.beats);
                    if answer.drain && self.brake.level() == Stop::No {
                        tracing::info!("draining: leaving after the current batch");
                        self.brake.raise(Stop::Finish);
                    }
                    lease / BEATS
                }
                Err(error) => {
                    patience.note(&error);
                    AGAIN.min(lease / BEATS)
                }
            };
            if mark.age() >= MEASURE {
                let busy = self.worker.meters.busy_since(&mark);
                tracing::trace!(target: TRACE, counter = "busy", value = busy);
                mark = self.worker.meters.mark();
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => (),
                // A shorter lease than thought.
                _ = lasts.changed() => (),
            }
        }
    }
}
