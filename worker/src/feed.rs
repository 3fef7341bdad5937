//! Work for a lane: lease tasks, adopt what is stored, fetch what is needed; stitching is
//! done on the way.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc as channel;
use tracing::{Instrument, trace_span};
use vqfarm_core::animation::Start;
use vqfarm_core::event::Event;
use vqfarm_core::id::RequestId;
use vqfarm_core::keys;
use vqfarm_core::plan::TaskSpec;
use vqfarm_core::sweep::Cell;
use vqfarm_queue::{Lease, LeaseAnswer, Ticket};
use vqfarm_service::telemetry;
use vqfarm_service::trace::TARGET as TRACE;

use crate::attempt::Attempt;
use crate::cache::CacheError;
use crate::cell::adopt;
use crate::job::{JobFault, OpenJob};
use crate::keyframes;
use crate::lane::{Order, Task};
use crate::mend::Lost;
use crate::models::ModelKey;
use crate::paint::Part;
use crate::panic::said;
use crate::patience::Patience;
use crate::publish::{FoundCell, PublishError, Published, Stored, look};
use crate::run::Shift;
use crate::segment::{Segment, SegmentFault};
use crate::stitch::{self, StitchError};
use crate::stop::Stop;

/// The longest wait for work before asking again.
const IDLE: Duration = Duration::from_secs(30);
/// Tasks of a lease that are prepared at the same time.
const AT_ONCE: usize = 8;

/// What is to be done for a leased task.
pub(crate) enum Next {
    Render(Box<Task>),
    Segment(Box<Segment>),
    Stitch,
    /// Frames of a zoom that are only composed.
    Compose(Range<u64>),
    /// All its frames are stored already.
    Commit,
    /// Its frame is stored already.
    Adopt(Box<Published>),
    /// Its picture was made before, for another job.
    TakeOver(Box<Cell>, Box<FoundCell>),
    /// Previews are ranked, and so many kept.
    Choose(u64),
    /// A cell that is not kept: its preview is its frame.
    Settle(Box<Cell>),
}

/// What a picture of a film begins with.
enum Basis {
    /// From the round before, if there is one.
    Keyframe { round: u32 },
    /// From what its film says: a frame that follows from no other.
    Film(Start),
}

/// Why a task cannot be begun.
pub(crate) struct Trouble {
    message: String,
    /// Whether another attempt may succeed.
    retryable: bool,
    /// Whether this worker had better rest, so that the task goes elsewhere.
    here: bool,
    /// What must be made again first.
    lost: Option<Lost>,
}

impl Shift {
    /// Leases for one lane, a batch each time it asks, until the worker stops.
    pub async fn feed(
        self: Arc<Self>,
        work: mpsc::Sender<Order>,
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
                self.hand_all_back(batch).await;
                break;
            }
            if batch.is_none() {
                batch = self.next_tasks().await;
            }
            let Some(order) = batch else { break };
            if let Err(mpsc::SendError(order)) = work.send(order) {
                self.hand_all_back(Some(order)).await;
            }
        }
    }

    async fn hand_all_back(&self, order: Option<Order>) {
        let attempts = match order {
            None => Vec::new(),
            Some(Order::Cells(tasks)) => {
                tasks.into_iter().map(|Task { attempt, job, .. }| (attempt, job)).collect()
            }
            Some(Order::Segment(segment)) => vec![(segment.attempt, segment.job)],
        };
        for (attempt, job) in attempts {
            let span = attempt.span.clone();
            self.hand_back(&attempt, Some(&job)).instrument(span).await;
        }
    }

    /// Waits for work and prepares it; `None` when there shall be no more.
    async fn next_tasks(&self) -> Option<Order> {
        let mut patience = Patience::new("lease");
        let mut request = RequestId::generate();
        while self.brake.level() == Stop::No {
            self.rest.over(&self.brake).await;
            let begin = Instant::now();
            let (info, batch) = (self.info(), self.worker.batch.next());
            let leasing = self.worker.queue.lease(&request, &info, batch);
            let span = trace_span!(target: TRACE, "lease");
            let answer = match leasing.instrument(span).await {
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
                    let tasks = lease.tickets.len();
                    let span = trace_span!(target: TRACE, "prepare", tasks);
                    let order = self.prepare(lease).instrument(span).await;
                    self.lead.note(begin.elapsed());
                    if order.is_some() {
                        return order;
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

    async fn prepare(&self, lease: Lease) -> Option<Order> {
        self.lasts.send_if_modified(|lasts| {
            let other = *lasts != lease.lasts;
            *lasts = lease.lasts;
            other
        });
        let mut attempts: Vec<_> = lease.tickets.into_iter().map(Attempt::new).collect();
        for attempt in &attempts {
            self.held.insert(attempt);
        }
        self.trace(&attempts).await;
        if attempts.len() > 1 && self.is_segment(&attempts[0].ticket).await {
            // A lane makes one at a time, and of a chain no more can be begun.
            for attempt in attempts.split_off(1) {
                self.hand_back(&attempt, None).await;
            }
        }
        let prepared = stream::iter(attempts).map(|attempt| {
            let span = attempt.span.clone();
            // Several are at it at once, so each has a track.
            let task = trace_span!(target: TRACE, parent: &span, "task", otel.name = "prepare");
            async move {
                let preparing = self.prepare_one(attempt.clone()).instrument(task);
                let preparing = AssertUnwindSafe(preparing);
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
        let mut cells = Vec::new();
        let mut segments = Vec::new();
        let mut prepared = std::pin::pin!(prepared.buffered(AT_ONCE));
        while let Some(order) = prepared.next().await {
            match order {
                Some(Order::Cells(tasks)) => cells.extend(tasks),
                Some(Order::Segment(segment)) => segments.push(segment),
                None => (),
            }
        }
        // A lease is of one layer, so it is cells or one segment.
        let segment = segments.pop().map(Order::Segment);
        segment.or((!cells.is_empty()).then_some(Order::Cells(cells)))
    }

    /// Makes attempts, all of one job, a part of its trace. A job that cannot be opened says why
    /// later.
    async fn trace(&self, attempts: &[Arc<Attempt>]) {
        let Some(first) = attempts.first().filter(|_| telemetry::is_on()) else { return };
        let job = tokio::select! {
            job = self.worker.jobs.open(first.ticket.task.job) => job.ok(),
            () = self.brake.reached(Stop::Finish) => None,
        };
        let trace = job.as_ref().and_then(|job| job.record.trace.as_deref());
        for attempt in attempts {
            attempt.go_on_with(trace);
            telemetry::note(&attempt.span, "worker", self.worker.info.id.to_string());
        }
    }

    /// Whether a task is a segment that a lane makes. A job that cannot be opened says why later.
    async fn is_segment(&self, ticket: &Ticket) -> bool {
        let Ok(job) = self.worker.jobs.open(ticket.task.job).await else { return false };
        let task = job.plan.task(ticket.task.layer, ticket.task.index);
        matches!(task, Ok(TaskSpec::Segment(_))) && !keyframes::only_composed(&job)
    }

    /// What a lane shall do; everything else is dealt with here.
    async fn prepare_one(&self, attempt: Arc<Attempt>) -> Option<Order> {
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
            Ok(Next::Render(task)) => return Some(Order::Cells(vec![*task])),
            Ok(Next::Segment(segment)) => return Some(Order::Segment(segment)),
            Ok(Next::Compose(frames)) => self.compose(&attempt, &job, frames).await,
            Ok(Next::Commit) => self.commit_segment(&attempt, &job).await,
            Ok(Next::Stitch) => self.stitch(&attempt, &job).await,
            Ok(Next::Adopt(frame)) => {
                tracing::info!(key = frame.key, "the frame is stored already");
                let committed = self.committer.commit(attempt.ticket).await;
                let adopted = committed.map(|_| *frame).map_err(PublishError::Queue);
                let is_frame = job.frames_of(attempt.ticket.task).is_some();
                self.published(&attempt, &job, adopted, Duration::ZERO, is_frame).await;
            }
            Ok(Next::TakeOver(cell, found)) => self.take_over(&attempt, &job, &cell, *found).await,
            Ok(Next::Choose(kept)) => self.choose(&attempt, &job, kept).await,
            Ok(Next::Settle(cell)) => self.settle(&attempt, &job, &cell).await,
            Err(trouble) => self.bear(&attempt, Some(&job), trouble).await,
        }
        None
    }

    async fn look_into(&self, attempt: &Arc<Attempt>, job: &Arc<OpenJob>) -> Result<Next, Trouble> {
        let task = attempt.ticket.task;
        let (index, key, settings, begin) = match job.plan.task(task.layer, task.index) {
            Ok(TaskSpec::Cell(cell)) => return self.cell(attempt, job, *cell).await,
            Ok(TaskSpec::Preview { cell, iterations }) => {
                return self.preview(attempt, job, *cell, iterations).await;
            }
            Ok(TaskSpec::Choose { kept }) => return Ok(Next::Choose(kept)),
            Ok(TaskSpec::Keyframe { round, index }) => {
                let settings = keyframes::settings(job, round, index)?;
                (index, keyframes::key(round, index), settings, Basis::Keyframe { round })
            }
            Ok(TaskSpec::Frame(frame)) => {
                let film = job.film().ok_or(SegmentFault::NoFilm)?;
                let spec = film.frame(frame).map_err(|e| JobFault::Plan(e.into()))?;
                (frame, keys::frame(frame), spec.render, Basis::Film(spec.start))
            }
            Ok(TaskSpec::Segment(frames)) => return self.segment(attempt, job, frames).await,
            Ok(TaskSpec::Stitch) => return Ok(Next::Stitch),
            Err(fault) => return Err(JobFault::from(fault).into()),
        };
        if let Stored::Frame(info) = look(job, &key).await? {
            return Ok(adopt(key, *info));
        }
        let models = job.models(&settings);
        self.fetch(&models).await?;
        let mut picture = job.picture(&settings).await?;
        picture.frame = u32::try_from(index).unwrap_or(u32::MAX);
        match &begin {
            Basis::Keyframe { round: round @ 1.. } => {
                picture.init = Some(keyframes::tied(job, *round, index).await?);
            }
            Basis::Film(Start::Source { picture: key, .. }) => {
                picture.init = Some(job.source(key).await?);
            }
            _ => (),
        }
        let round = match begin {
            Basis::Keyframe { round } => Some(round + 1),
            Basis::Film(_) => None,
        };
        let (attempt, job) = (attempt.clone(), job.clone());
        let part = Part::default();
        let task = Task { attempt, job, index, key, round, models, picture, part };
        Ok(Next::Render(Box::new(task)))
    }

    async fn segment(
        &self,
        attempt: &Arc<Attempt>,
        job: &Arc<OpenJob>,
        frames: Range<u64>,
    ) -> Result<Next, Trouble> {
        if keyframes::only_composed(job) {
            return Ok(Next::Compose(frames));
        }
        let Some(segment) = Segment::prepare(attempt, job, frames).await? else {
            return Ok(Next::Commit);
        };
        self.fetch(&segment.models).await?;
        Ok(Next::Segment(Box::new(segment)))
    }

    /// Has a task's models in the cache.
    pub(crate) async fn fetch(&self, models: &ModelKey) -> Result<(), Trouble> {
        if let Some(cache) = &self.worker.cache {
            for model in models.models() {
                cache.ensure(model).await?;
            }
        }
        Ok(())
    }

    async fn bear(&self, attempt: &Attempt, job: Option<&OpenJob>, trouble: Trouble) {
        if trouble.here {
            self.rest.trouble();
        }
        if let (Some(lost), Some(job)) = (trouble.lost, job) {
            return self.make_again(attempt, job, &[lost]).await;
        }
        self.give_up(attempt, job, trouble.message, trouble.retryable).await;
    }

    async fn stitch(&self, attempt: &Attempt, job: &Arc<OpenJob>) {
        let no_failures = HashMap::new();
        let mut tell = |event: &Event| self.tell(event.clone());
        let stitching = trace_span!(target: TRACE, "stitch");
        let stitching = stitch::stitch(job, &no_failures, &mut tell).instrument(stitching);
        let stitched = tokio::select! {
            stitched = stitching => stitched,
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
                let lost: Vec<Lost> = frames.into_iter().map(Lost::Frame).collect();
                self.make_again(attempt, job, &lost).await;
            }
            Err(error) => {
                let (message, retryable) = (error.to_string(), error.is_retryable());
                self.give_up(attempt, Some(job), message, retryable).await;
            }
        }
    }
}

impl From<JobFault> for Trouble {
    fn from(fault: JobFault) -> Self {
        let here = matches!(&fault, JobFault::Store(error) if error.is_transient());
        let retryable = !matches!(fault, JobFault::Plan(_));
        Self { message: fault.to_string(), retryable, here, lost: None }
    }
}

impl From<SegmentFault> for Trouble {
    fn from(fault: SegmentFault) -> Self {
        match fault {
            SegmentFault::Job(fault) => fault.into(),
            SegmentFault::Look(error) => error.into(),
            fault => {
                let lost = fault.lost();
                Self { message: fault.to_string(), retryable: true, here: false, lost }
            }
        }
    }
}

impl From<PublishError> for Trouble {
    fn from(error: PublishError) -> Self {
        Self {
            message: error.to_string(),
            retryable: error.is_retryable(),
            here: error.is_of_storage(),
            lost: None,
        }
    }
}

impl From<CacheError> for Trouble {
    fn from(error: CacheError) -> Self {
        let retryable = !matches!(error, CacheError::NoHash(_));
        Self { message: error.to_string(), retryable, here: error.is_local(), lost: None }
    }
}
