//! A lane: one thread that makes pictures on one device, and its two doors.

use std::io;
use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc as channel;
use vqfarm_core::event::Event;
use vqfarm_core::sweep::Cell;
use vqfarm_engine::picture::Picture;
use vqfarm_queue::Ticket;

use crate::job::OpenJob;
use crate::models::Shelf;
use crate::paint::{PaintError, Painted, Painter};

/// What the names of the lanes' threads begin with.
pub const LANE: &str = "lane-";
/// Progress is told no more often than this.
const TELL: Duration = Duration::from_millis(250);

/// A leased cell with all that is needed to make it.
pub struct Task {
    pub ticket: Ticket,
    pub job: Arc<OpenJob>,
    pub cell: Cell,
    pub picture: Picture,
    /// Set when the lease is lost or the worker shall stop: the result is not wanted.
    pub unwanted: Arc<AtomicBool>,
}

/// What became of a cell.
pub struct Finished {
    pub task: Task,
    pub result: Result<Painted, Failure>,
    /// Time on the device; shared by the cells of a batch.
    pub took: Duration,
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

/// What a lane tells besides its results.
pub enum Notice {
    /// It wants another batch; the lane's number.
    Ready(usize),
    /// To be passed on.
    Event(Event),
}

/// The near ends of a lane's doors. Dropping `work` ends the lane after what it has.
pub struct Lane {
    pub work: mpsc::Sender<Vec<Task>>,
    pub thread: JoinHandle<()>,
}

/// What a lane is given at its start.
pub struct LaneParts {
    pub number: usize,
    pub shelf: Arc<Shelf>,
    /// Counts iterations times pictures, over all lanes.
    pub steps: Arc<AtomicU64>,
    pub stop: Arc<AtomicBool>,
    pub notices: channel::UnboundedSender<Notice>,
    /// Bounded, so that pictures do not pile up when storage is slow.
    pub finished: channel::Sender<Finished>,
    /// Ask for the next batch when this one begins, not when it ends.
    pub ahead: bool,
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

fn run(parts: &LaneParts, work: &mpsc::Receiver<Vec<Task>>) {
    let mut painter = Painter::new(&parts.shelf);
    // The other end hangs up first only when the worker is gone; then nobody reads this.
    let ready = || drop(parts.notices.send(Notice::Ready(parts.number)));
    ready();
    while let Ok(tasks) = work.recv() {
        if parts.ahead {
            ready();
        }
        for batch in batches(tasks) {
            let begin = Instant::now();
            let results = paint(&mut painter, parts, &batch);
            let took = begin.elapsed();
            for warning in painter.warnings.drain(..) {
                let event = Event::Warning { message: warning };
                drop(parts.notices.send(Notice::Event(event)));
            }
            for (task, result) in batch.into_iter().zip(results) {
                if parts.finished.blocking_send(Finished { task, result, took }).is_err() {
                    return;
                }
            }
        }
        if !parts.ahead {
            ready();
        }
    }
}

/// Neighbours that can be computed together.
fn batches(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut batches: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        let settings = task.picture.batch_settings();
        match batches.last_mut() {
            Some(batch) if batch[0].picture.batch_settings() == settings => batch.push(task),
            _ => batches.push(vec![task]),
        }
    }
    batches
}

/// One result for each task; a panic becomes an error here and goes no further.
fn paint<'a>(
    painter: &mut Painter<'a>,
    parts: &'a LaneParts,
    batch: &[Task],
) -> Vec<Result<Painted, Failure>> {
    let pictures: Vec<Picture> = batch.iter().map(|task| task.picture.clone()).collect();
    let unwanted = || {
        parts.stop.load(Ordering::Relaxed)
            || batch.iter().all(|task| task.unwanted.load(Ordering::Relaxed))
    };
    let mut told = Instant::now();
    let mut step = |places: Range<usize>, iteration: u32| {
        parts.steps.fetch_add(places.len() as u64, Ordering::Relaxed);
        let iterations = batch[places.start].cell.render.iterations;
        if told.elapsed() >= TELL || iteration == iterations {
            told = Instant::now();
            for task in &batch[places] {
                let event = Event::Progress { cell: task.cell.index, iteration, iterations };
                drop(parts.notices.send(Notice::Event(event)));
            }
        }
        if unwanted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    if unwanted() {
        return batch.iter().map(|_| Err(Failure::Unwanted)).collect();
    }
    let painted = catch_unwind(AssertUnwindSafe(|| painter.paint(&pictures, &mut step)));
    match painted {
        Ok(results) => results.into_iter().map(|result| result.map_err(Failure::from)).collect(),
        Err(panic) => {
            // Its networks may be in any state.
            *painter = Painter::new(&parts.shelf);
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            let message = format!("the renderer panicked: {}", brief(text));
            let failure = || Failure::Error { message: message.clone(), retryable: true };
            batch.iter().map(|_| Err(failure())).collect()
        }
    }
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
