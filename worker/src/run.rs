//! The worker's life: lease, hand to a lane, publish, heartbeat; until told to stop.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use vqfarm_core::event::Event;
use vqfarm_core::id::{JobId, RequestId};
use vqfarm_core::plan::TaskSpec;
use vqfarm_queue::{
    Beat, Failed, Failure as Attempt, Lease, LeaseAnswer, Queue, Ticket, WorkerInfo,
};

use crate::job::OpenJob;
use crate::lane::{Failure, Finished, Lane, LaneParts, Notice, Task};
use crate::models::Shelf;
use crate::publish::{PublishError, Published, publish};
use crate::stitch::{self, StitchError};

/// The layer whose tasks are cells ([`vqfarm_core::plan::Plan`]).
pub(crate) const RENDER: u8 = 0;
/// The longest wait for work before asking again.
const IDLE: Duration = Duration::from_secs(30);
/// A third of a lease: two may be lost.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What a worker is made of.
pub struct Worker {
    pub queue: Arc<dyn Queue>,
    pub info: WorkerInfo,
    /// One for each lane; lanes of one device share a shelf.
    pub shelves: Vec<Arc<Shelf>>,
    /// The most cells of one lease.
    pub batch: u32,
    /// Lease the next batch while one is rendered: right for a GPU, which must not wait; on a
    /// CPU the last cells would queue up behind a busy lane.
    pub ahead: bool,
    pub jobs: HashMap<JobId, Arc<OpenJob>>,
    pub events: mpsc::UnboundedSender<Told>,
    /// Counts iterations times pictures, over all lanes.
    pub steps: Arc<AtomicU64>,
}

/// What a worker tells.
pub enum Told {
    Event(Event),
    /// A frame could not be stored; the next ones will hardly fare better.
    Storage(String),
}

/// Leases that are being worked on.
type Held = Arc<Mutex<HashMap<Ticket, Arc<AtomicBool>>>>;

impl Worker {
    /// Works until `stop` turns true, then drops unfinished cells, hands their leases back,
    /// and returns when the finished ones are stored.
    ///
    /// # Errors
    /// The system gives no threads.
    pub async fn run(self, mut stop: watch::Receiver<bool>) -> io::Result<()> {
        let worker = Arc::new(self);
        let (notices, mut noticed) = mpsc::unbounded_channel();
        let room = 2 * worker.shelves.len() * worker.batch as usize;
        let (finished, results) = mpsc::channel(room.max(1));
        let halt = Arc::new(AtomicBool::new(false));
        let mut lanes = Vec::new();
        for (number, shelf) in worker.shelves.iter().enumerate() {
            lanes.push(Lane::start(LaneParts {
                number,
                shelf: shelf.clone(),
                steps: worker.steps.clone(),
                stop: halt.clone(),
                notices: notices.clone(),
                finished: finished.clone(),
                ahead: worker.ahead,
            })?);
        }
        drop((notices, finished));

        let held = Held::default();
        let publishing = tokio::spawn(worker.clone().publish_all(results, held.clone()));
        let beating = tokio::spawn(worker.clone().heartbeats(held.clone()));
        while !*stop.borrow() {
            let notice = tokio::select! {
                notice = noticed.recv() => notice,
                _ = stop.changed() => break,
            };
            match notice {
                Some(Notice::Ready(lane)) => {
                    let Some(tasks) = worker.next_tasks(&held, &mut stop).await else { break };
                    // A lane that is gone has panicked outside of a picture; the others go on.
                    drop(lanes[lane].work.send(tasks));
                }
                Some(Notice::Event(event)) => worker.tell(event),
                None => break,
            }
        }

        halt.store(true, Ordering::Relaxed);
        for Lane { work, thread } in lanes {
            drop(work);
            // A panicked lane has nothing left to say.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        // The lanes' ends of the channel are gone, so this ends with the last frame stored.
        let _ = publishing.await;
        beating.abort();
        Ok(())
    }

    fn tell(&self, event: Event) {
        // Nobody listening is fine.
        let _ = self.events.send(Told::Event(event));
    }

    /// Waits for work and prepares it; `None` when there shall be no more.
    async fn next_tasks(&self, held: &Held, stop: &mut watch::Receiver<bool>) -> Option<Vec<Task>> {
        while !*stop.borrow() {
            let request = RequestId::generate();
            let answer = self.queue.lease(&request, &self.info, self.batch).await;
            let (seen, wait) = match answer {
                Ok(LeaseAnswer::Work(lease)) => {
                    let tasks = self.prepare(lease, held).await;
                    if !tasks.is_empty() {
                        return Some(tasks);
                    }
                    continue;
                }
                Ok(LeaseAnswer::Nothing { seen, due_in }) => (seen, due_in.unwrap_or(IDLE)),
                Ok(LeaseAnswer::Drain) => return None,
                Err(error) => {
                    tracing::warn!(%error, "no lease");
                    (0, IDLE)
                }
            };
            tokio::select! {
                waited = self.queue.wait_for_work(seen, wait.min(IDLE)) => {
                    if let Err(error) = waited {
                        tracing::warn!(%error, "cannot wait for work");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                _ = stop.changed() => (),
            }
        }
        None
    }

    /// Cells go to a lane; stitching is done here and now.
    async fn prepare(&self, lease: Lease, held: &Held) -> Vec<Task> {
        let mut tasks = Vec::new();
        for ticket in lease.tickets {
            let unwanted = Arc::new(AtomicBool::new(false));
            lock(held).insert(ticket, unwanted.clone());
            let Some(job) = self.jobs.get(&ticket.task.job).cloned() else {
                self.give_up(held, &ticket, "this worker does not know the job", true).await;
                continue;
            };
            match job.plan.task(ticket.task.layer, ticket.task.index) {
                Ok(TaskSpec::Render(cell)) => match job.picture(&cell.render).await {
                    Ok(picture) => {
                        let cell = *cell;
                        tasks.push(Task { ticket, job, cell, picture, unwanted });
                    }
                    Err(fault) => self.give_up(held, &ticket, &fault.to_string(), true).await,
                },
                Ok(TaskSpec::Stitch) => self.stitch(held, &ticket, &job).await,
                Err(fault) => self.give_up(held, &ticket, &fault.to_string(), false).await,
            }
        }
        tasks
    }

    async fn stitch(&self, held: &Held, ticket: &Ticket, job: &Arc<OpenJob>) {
        match stitch::stitch(job, &HashMap::new()).await {
            Ok(_) => {
                if let Err(error) = self.queue.commit(ticket).await {
                    tracing::warn!(%error, "the overviews are there but do not count");
                }
                lock(held).remove(ticket);
            }
            Err(StitchError::Damaged(frames)) => {
                let message = format!("damaged frames are rendered again: {frames:?}");
                self.tell(Event::Warning { message });
                let again = stitch::render_again(&*self.queue, job, ticket, frames).await;
                lock(held).remove(ticket);
                if let Err(error) = again {
                    self.give_up(held, ticket, &error.to_string(), true).await;
                }
            }
            Err(error) => self.give_up(held, ticket, &error.to_string(), true).await,
        }
    }

    async fn give_up(&self, held: &Held, ticket: &Ticket, message: &str, retryable: bool) {
        let failure = Attempt { message: message.to_owned(), retryable };
        let outcome = self.queue.fail(ticket, &failure).await;
        lock(held).remove(ticket);
        match outcome {
            Ok(Failed::Quarantined) if ticket.task.layer == RENDER => {
                self.tell(Event::Failed { cell: ticket.task.index, reason: failure.message });
            }
            Ok(_) => tracing::warn!(task = %ticket.task, message, "an attempt failed"),
            Err(error) => tracing::warn!(%error, message, "a failure does not count"),
        }
    }

    async fn publish_all(self: Arc<Self>, mut results: mpsc::Receiver<Finished>, held: Held) {
        let mut running = JoinSet::new();
        while let Some(finished) = results.recv().await {
            let (worker, held) = (self.clone(), held.clone());
            running.spawn(async move { worker.publish_one(finished, &held).await });
            // What has ended needs no keeping.
            while running.try_join_next().is_some() {}
        }
        running.join_all().await;
    }

    async fn publish_one(&self, finished: Finished, held: &Held) {
        let Finished { task, result, took } = finished;
        let ticket = task.ticket;
        match result {
            Ok(painted) => match publish(&*self.queue, &task, painted).await {
                Ok(Published { key, info, adopted }) => {
                    lock(held).remove(&ticket);
                    self.tell(Event::Frame {
                        cell: info.index,
                        path: key,
                        score: info.score,
                        seconds: took.as_secs_f64(),
                        adopted,
                    });
                }
                Err(PublishError::Queue(error)) => {
                    lock(held).remove(&ticket);
                    tracing::warn!(%error, "a stored frame was not committed by this attempt");
                }
                Err(error) => {
                    self.give_up(held, &ticket, &error.to_string(), true).await;
                    let _ = self.events.send(Told::Storage(error.to_string()));
                }
            },
            Err(Failure::Error { message, retryable }) => {
                self.give_up(held, &ticket, &message, retryable).await;
            }
            Err(Failure::Unwanted) => {
                lock(held).remove(&ticket);
                // It may be lost already, which is just as well.
                let _ = self.queue.release(&ticket).await;
            }
        }
    }

    /// Keeps the leases alive and marks those that are lost.
    async fn heartbeats(self: Arc<Self>, held: Held) {
        let mut pause = tokio::time::interval(HEARTBEAT);
        loop {
            pause.tick().await;
            let tickets: Vec<Ticket> = lock(&held).keys().copied().collect();
            match self.queue.heartbeat(&self.info, &tickets).await {
                Ok(answer) => {
                    let held = lock(&held);
                    for (ticket, beat) in tickets.iter().zip(&answer.beats) {
                        if let (Beat::Cancelled | Beat::Stale, Some(unwanted)) =
                            (beat, held.get(ticket))
                        {
                            unwanted.store(true, Ordering::Relaxed);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "no heartbeat"),
            }
        }
    }
}

fn lock(held: &Held) -> std::sync::MutexGuard<'_, HashMap<Ticket, Arc<AtomicBool>>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
