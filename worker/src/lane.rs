//! A lane: one thread that makes pictures on one device, and its two doors.

use std::cell::Cell;
use std::io;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as channel;
use tracing::{Span, trace_span};
use vqfarm_core::event::Event;
use vqfarm_engine::device;
use vqfarm_engine::picture::Picture;
use vqfarm_service::telemetry::{self, TARGET as TELEMETRY};
use vqfarm_service::trace::TARGET as TRACE;

use crate::attempt::Attempt;
use crate::batch_size::BatchSize;
use crate::cores::{Cores, InUse};
use crate::job::OpenJob;
use crate::meters::Meters;
use crate::models::{ModelKey, Shelf};
use crate::paint::{PaintError, Painted, Painter, Part};
use crate::panic::said;
use crate::room::{Room, Taken};
use crate::segment::{self, RunningSegment, Segment};
use crate::speeds::{Made, Speeds};
use crate::stop::{Brake, Stop};

/// What the names of the lanes' threads begin with.
pub const LANE: &str = "lane-";
/// Progress is told no more often than this.
const TELL: Duration = Duration::from_millis(250);
/// No task waits longer for a lane that is busy.
const MOST_LEAD: Duration = Duration::from_secs(2);

/// A leased cell or keyframe with all that is needed to make it.
pub struct Task {
    pub attempt: Arc<Attempt>,
    pub job: Arc<OpenJob>,
    /// Its number among its like.
    pub index: u64,
    /// Where it is stored.
    pub key: String,
    /// The round of a keyframe, from 1; none for a frame of the job.
    pub round: Option<u32>,
    pub models: ModelKey,
    pub picture: Picture,
    /// Which of its iterations are made.
    pub part: Part,
}

impl Task {
    /// What its picture is known by, whatever the job; none of what its settings alone do not
    /// decide.
    pub fn identity(&self) -> Option<String> {
        let is_cell = self.round.is_none() && self.job.film().is_none();
        is_cell.then(|| match &self.part.until {
            Some(until) => until.identity.clone(),
            None => self.job.identity(&self.picture.settings),
        })
    }

    /// Whether it makes a frame of the job, not only what others go on from.
    pub fn is_frame(&self) -> bool {
        self.round.is_none() && self.part.until.is_none()
    }
}

/// What a lane is given to do.
pub enum Order {
    /// Neighbours, computed together where their settings allow it. Never empty.
    Cells(Vec<Task>),
    /// Frames that follow from one another.
    Segment(Box<Segment>),
}

/// What a lane has done.
pub enum Finished {
    Cell(Box<FinishedCell>),
    /// Its frames come one by one.
    Segment(RunningSegment),
}

/// What became of a cell.
pub struct FinishedCell {
    pub task: Task,
    pub result: Result<Painted, Failure>,
    /// Time on the device; shared by the cells of a batch.
    pub took: Duration,
    /// What its picture takes until it is stored.
    pub room: Option<Taken>,
}

/// Why a cell has no picture.
pub enum Failure {
    /// Nobody wants it any more.
    Unwanted,
    Error {
        message: String,
        retryable: bool,
    },
}

/// The near ends of a lane's doors. Dropping `work` ends the lane after what it has.
pub struct Lane {
    pub work: mpsc::Sender<Order>,
    pub thread: JoinHandle<()>,
}

/// What a lane is given at its start.
pub struct LaneParts {
    pub number: usize,
    pub shelf: Arc<Shelf>,
    /// Shared by a CPU's lanes where pictures of any size may come.
    pub cores: Option<Arc<Cores>>,
    pub meters: Arc<Meters>,
    pub speeds: Arc<Speeds>,
    /// Learns from what the lanes make.
    pub batch: Arc<BatchSize>,
    pub brake: Brake,
    pub asker: Asker,
    pub lead: Arc<Lead>,
    /// What people should hear of.
    pub events: channel::UnboundedSender<Event>,
    pub finished: channel::UnboundedSender<Finished>,
    /// For pictures until they are stored; shared by the lanes.
    pub room: Room,
}

/// How long before the end of its work a lane asks for more, so that it need not wait: twice what
/// leasing and preparing took last. Shared by the lanes.
#[derive(Debug)]
pub struct Lead {
    least: Duration,
    microseconds: AtomicU64,
}

impl Lead {
    /// Never less than `least`.
    pub fn new(least: Duration) -> Self {
        Self { least, microseconds: AtomicU64::default() }
    }

    /// Leasing and preparing took so long.
    pub fn note(&self, took: Duration) {
        let lead = (2 * took).min(MOST_LEAD);
        self.microseconds.store(lead.as_micros() as u64, Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).max(self.least)
    }
}

/// Asks for a lane's next order: before the one that it is at is done, so that it never waits.
pub struct Asker {
    door: channel::UnboundedSender<()>,
    /// Whether it has asked since it was given the last one.
    asked: Cell<bool>,
}

impl Asker {
    pub fn new(door: channel::UnboundedSender<()>) -> Self {
        Self { door, asked: Cell::new(false) }
    }

    /// Asks, unless it has asked already.
    fn ask(&self) {
        if !self.asked.replace(true) {
            // The other end hangs up first only when the worker is stopping; then nobody reads this.
            let _ = self.door.send(());
        }
    }

    /// An order was given.
    fn answered(&self) {
        self.asked.set(false);
    }
}

impl Lane {
    /// # Errors
    /// The system gives no thread.
    pub fn start(parts: LaneParts) -> io::Result<Self> {
        let (work, tasks) = mpsc::channel();
        let name = format!("{LANE}{}", parts.number);
        let thread = thread::Builder::new().name(name).spawn(move || run(&parts, &tasks))?;
        Ok(Self { work, thread })
    }
}

fn run(parts: &LaneParts, work: &mpsc::Receiver<Order>) {
    let mut painter = Painter::new(&parts.shelf);
    parts.asker.ask();
    while let Ok(order) = work.recv() {
        parts.asker.answered();
        let gone = match order {
            Order::Cells(tasks) => cells(&mut painter, parts, tasks),
            Order::Segment(segment) => segment::run(&mut painter, parts, *segment),
        };
        if gone.is_break() {
            return;
        }
        parts.asker.ask();
    }
}

/// Breaks when nobody wants results any more.
fn cells<'a>(painter: &mut Painter<'a>, parts: &'a LaneParts, tasks: Vec<Task>) -> ControlFlow<()> {
    let mut batches = batches(tasks).into_iter().peekable();
    while let Some(batch) = batches.next() {
        let begin = Instant::now();
        let attempts: Vec<&Attempt> = batch.iter().map(|task| &*task.attempt).collect();
        let work = Work {
            attempts: &attempts,
            models: &batch[0].models,
            pictures: batch.iter().map(|task| (task.picture.clone(), task.part.clone())).collect(),
            numbers: batch.iter().map(|task| task.index).collect(),
            round: batch[0].round,
            is_last: batches.peek().is_none(),
        };
        let results = paint(painter, parts, work);
        let took = begin.elapsed();
        for (task, result) in batch.into_iter().zip(results) {
            let room = result.as_ref().ok().map(|painted| take_room(parts, painted));
            let cell = Box::new(FinishedCell { task, result, took, room });
            if parts.finished.send(Finished::Cell(cell)).is_err() {
                return ControlFlow::Break(());
            }
        }
    }
    ControlFlow::Continue(())
}

/// Waits until a picture may wait to be stored.
fn take_room(parts: &LaneParts, painted: &Painted) -> Taken {
    let track = format!("{LANE}{}", parts.number);
    let _waiting = trace_span!(target: TRACE, parent: None, "wait for storage", track).entered();
    let saved = painted.saved.as_ref().map_or(0, |saved| saved.len());
    parts.room.take(painted.picture.len() + saved)
}

/// Pictures to be painted together.
pub(crate) struct Work<'w> {
    /// Those whose tasks want them.
    pub attempts: &'w [&'w Attempt],
    pub models: &'w ModelKey,
    pub pictures: Vec<(Picture, Part)>,
    /// Their places in the job.
    pub numbers: Vec<u64>,
    /// As [`Task::round`].
    pub round: Option<u32>,
    /// Whether the lane has nothing to do after them.
    pub is_last: bool,
}

/// Neighbours that can be computed together.
fn batches(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut batches: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        let settings = task.picture.batch_settings();
        let fits = |other: &Task| {
            other.picture.batch_settings() == settings && other.part.goes_with(&task.part)
        };
        match batches.last_mut() {
            Some(batch) if fits(&batch[0]) => batch.push(task),
            _ => batches.push(vec![task]),
        }
    }
    batches
}

/// One result for each task; a panic becomes an error here and goes no further.
pub(crate) fn paint<'a>(
    painter: &mut Painter<'a>,
    parts: &'a LaneParts,
    work: Work<'_>,
) -> Vec<Result<Painted, Failure>> {
    let Work { attempts, models, pictures, numbers, round, is_last } = work;
    let Some((first, part)) = pictures.first() else { return Vec::new() };
    let all_unwanted = || attempts.iter().all(|attempt| attempt.is_unwanted());
    let none = || pictures.iter().map(|_| Err(Failure::Unwanted)).collect();
    // A batch that has not been begun goes back as soon as the worker is to leave.
    if parts.brake.level() >= Stop::Finish || all_unwanted() {
        return none();
    }
    let stop = || parts.brake.level() == Stop::Now || all_unwanted();
    let [width, height] = first.settings.size;
    let threads = device::threads(u64::from(width) * u64::from(height));
    let rendering = rendering(parts, attempts, &numbers);
    let batch = trace_span!(
        target: TRACE,
        parent: None,
        "batch",
        track = format!("{LANE}{}", parts.number),
        pictures = pictures.len(),
        first = numbers.first(),
        from = names(attempts),
    );
    telemetry::join(&batch, &rendering);
    let _batch = batch.entered();
    let waiting = trace_span!(target: TRACE, "wait for cores").entered();
    let taken = parts.cores.as_ref().map(|cores| cores.take(threads as usize, || !stop()));
    if matches!(taken, Some(None)) {
        return none();
    }
    drop(waiting);
    // A picture that takes several cores keeps as many lanes busy.
    let taken = taken.flatten();
    let cores = taken.as_ref().map_or(1, InUse::count);
    let worked = |begin: Instant, end: Instant| (end - begin) * cores as u32;
    let mut told = Instant::now();
    // The device works from the first step's beginning to the pictures' end.
    let mut working: Option<Instant> = None;
    let mut stage = Some(trace_span!(target: TRACE, "begin").entered());
    // Pictures that are begun once only, all together, tell how fast they are made.
    let (mut begun, mut begins, mut made) = (Instant::now(), 0, 0);
    let end = part.end(first.settings.iterations);
    let mut step = |places: Range<usize>, iteration: u32, from: u32| {
        let now = Instant::now();
        made = iteration - from;
        if made == 0 {
            (begun, begins) = (now, begins + 1);
            // One after the other, not one inside of the other.
            drop(stage.take());
            let span = trace_span!(target: TRACE, "compute", cores, iterations = end);
            stage = Some(span.entered());
        } else {
            let took = working.map_or(Duration::ZERO, |then| worked(then, now));
            parts.meters.stepped(places.len(), took);
            let left = (now - begun) / made * end.saturating_sub(iteration);
            if is_last && places.end == numbers.len() && left <= parts.lead.get() {
                parts.asker.ask();
            }
        }
        working = Some(now);
        let iterations = end;
        if told.elapsed() >= TELL || iteration == iterations {
            told = now;
            for &cell in &numbers[places] {
                let event = Event::Progress { cell, iteration, iterations, round };
                drop(parts.events.send(event));
            }
        }
        if stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let painted = catch_unwind(AssertUnwindSafe(|| painter.paint(models, &pictures, &mut step)));
    if let Some(then) = working {
        parts.meters.worked(worked(then, Instant::now()));
    }
    drop(stage);
    for warning in painter.warnings.drain(..) {
        for attempt in attempts {
            attempt.span.in_scope(|| tracing::info!(warning));
        }
        drop(parts.events.send(Event::Warning { message: warning }));
    }
    if painted.as_ref().is_ok_and(|results| results.iter().all(Result::is_ok)) {
        let (kind, took) =
            ((models.workload(&first.settings), first.settings.size), begun.elapsed());
        let together = begins == 1;
        let rate = pictures.len() as f64 * f64::from(made) / took.as_secs_f64().max(1e-9);
        parts.batch.note(kind.clone(), pictures.len(), together.then_some(rate));
        if together {
            parts.speeds.note(Made {
                kind,
                pictures: pictures.len(),
                iterations: made,
                took,
                is_cuda: parts.shelf.device().is_cuda(),
            });
        }
    }
    match painted {
        Ok(results) => results.into_iter().map(|result| result.map_err(Failure::from)).collect(),
        Err(panic) => {
            // Its networks may be in any state.
            *painter = Painter::new(&parts.shelf);
            let message = format!("the renderer panicked: {}", brief(said(&*panic)));
            let failure = || Failure::Error { message: message.clone(), retryable: true };
            pictures.iter().map(|_| Err(failure())).collect()
        }
    }
}

/// A span in each attempt's trace for as long as their pictures are made together.
fn rendering(parts: &LaneParts, attempts: &[&Attempt], numbers: &[u64]) -> Vec<Span> {
    let device = device::name(parts.shelf.device());
    let span = |(attempt, cell): (&&Attempt, &u64)| trace_span!(target: TELEMETRY, parent: &attempt.span, "render", cell, device);
    attempts.iter().zip(numbers).map(span).collect()
}

fn names(attempts: &[&Attempt]) -> String {
    attempts.iter().map(|attempt| attempt.name()).collect::<Vec<_>>().join(" ")
}

impl From<PaintError> for Failure {
    fn from(error: PaintError) -> Self {
        match error {
            PaintError::Stopped => Self::Unwanted,
            error => {
                Self::Error { message: brief(&error.to_string()), retryable: error.is_retryable() }
            }
        }
    }
}

/// What libtorch says, without the stack that it says it from.
fn brief(message: &str) -> String {
    let unquoted = message.replace("\\n", "\n");
    let first = unquoted.split("\nException raised from").next().unwrap_or_default();
    first.replace("called `Result::unwrap()` on an `Err` value: Torch(\"", "").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_libtorch_is_what_people_see() {
        let said = "libtorch: called `Result::unwrap()` on an `Err` value: Torch(\"index out of \
                    range in self\\nException raised from operator() at /x.cpp:1 (most recent\")";
        assert_eq!(brief(said), "libtorch: index out of range in self");
        assert_eq!(brief("size: too small"), "size: too small");
    }
}
