//! The queue in one process: what standalone mode runs on, and the executable specification
//! of every other queue.

mod bitmap;
mod job;
mod layer;
mod state;

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};
use vqfarm_core::clock::{Clock, Timestamp};
use vqfarm_core::id::{JobId, RequestId, WorkerId};

use self::state::State;
use crate::*;

/// Events that a slow reader may be behind.
const EVENTS: usize = 4096;

/// A queue that lives and dies with its process.
pub struct MemoryQueue {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    events: broadcast::Sender<Event>,
    /// Counts the moments at which work appeared.
    work: watch::Sender<u64>,
}

impl MemoryQueue {
    /// A queue that is open. `seed` keys the leases' tokens; take it from the machine's
    /// randomness.
    pub fn new(policy: Policy, clock: Arc<dyn Clock>, seed: u64) -> Self {
        let mut state = State::new(policy, seed);
        state.open();
        state.events.clear();
        Self {
            state: Mutex::new(state),
            clock,
            events: broadcast::channel(EVENTS).0,
            work: watch::channel(0).0,
        }
    }

    /// Forgets everything, as a server does that comes back empty: for tests of what then
    /// follows.
    pub fn lose(&self) {
        self.with(|state, _| state.lose());
    }

    /// Runs one operation that only an open queue takes.
    fn change<T>(
        &self,
        operation: impl FnOnce(&mut State, Timestamp) -> Result<T, QueueError>,
    ) -> Result<T, QueueError> {
        self.with(|state, now| match state.epoch() {
            Some(_) => operation(state, now),
            None => Err(QueueError::Closed),
        })
    }

    /// Runs one operation under the lock and tells of what it did.
    fn with<T>(&self, operation: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let now = self.clock.now();
        state.forget(now);
        let answer = operation(&mut state, now);
        for event in state.events.drain(..) {
            // Nobody listening is fine.
            let _ = self.events.send(event);
        }
        if std::mem::take(&mut state.opened) {
            self.work.send_modify(|count| *count += 1);
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Operations check before they change anything, so a panic leaves no half change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn epoch(&self) -> Result<Option<Epoch>, QueueError> {
        self.with(|state, _| Ok(state.epoch()))
    }

    async fn restore(&self, job: &Restoration) -> Result<bool, QueueError> {
        self.with(|state, now| state.restore(job, now))
    }

    async fn open(&self) -> Result<Epoch, QueueError> {
        self.with(|state, _| Ok(state.open()))
    }

    async fn submit(&self, submission: &Submission) -> Result<JobId, QueueError> {
        self.change(|state, now| state.submit(submission, now))
    }

    async fn lease(
        &self,
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<LeaseAnswer, QueueError> {
        self.change(|state, now| {
            let seen = *self.work.borrow();
            Ok(state.lease(request, worker, most.clamp(1, MOST_LEASED), seen, now))
        })
    }

    async fn wait_for_work(&self, seen: u64, at_most: Duration) -> Result<(), QueueError> {
        let mut work = self.work.subscribe();
        // Running out of time is an answer like any other.
        let _ = tokio::time::timeout(at_most, work.wait_for(|count| *count != seen)).await;
        Ok(())
    }

    async fn heartbeat(
        &self,
        worker: &WorkerInfo,
        tickets: &[Ticket],
    ) -> Result<HeartbeatAnswer, QueueError> {
        self.change(|state, now| Ok(state.heartbeat(worker, tickets, now)))
    }

    async fn commit(&self, ticket: &Ticket) -> Result<Committed, QueueError> {
        self.change(|state, now| state.commit(ticket, now))
    }

    async fn commit_all(&self, tickets: &[Ticket]) -> Result<Commits, QueueError> {
        self.change(|state, now| {
            Ok(tickets.iter().map(|ticket| state.commit(ticket, now)).collect())
        })
    }

    async fn commit_and_lease(
        &self,
        done: &[Ticket],
        request: &RequestId,
        worker: &WorkerInfo,
        most: u32,
    ) -> Result<(Commits, LeaseAnswer), QueueError> {
        self.change(|state, now| {
            let committed = done.iter().map(|ticket| state.commit(ticket, now)).collect();
            // What the commits open is seen by this very lease.
            let seen = *self.work.borrow() + u64::from(state.opened);
            let most = most.clamp(1, MOST_LEASED);
            Ok((committed, state.lease(request, worker, most, seen, now)))
        })
    }

    async fn fail(&self, ticket: &Ticket, failure: &Failure) -> Result<Failed, QueueError> {
        self.change(|state, now| state.fail(ticket, failure, now))
    }

    async fn release(&self, ticket: &Ticket) -> Result<(), QueueError> {
        self.change(|state, now| state.release(ticket, now))
    }

    async fn reap(&self) -> Result<Reaped, QueueError> {
        self.change(|state, now| Ok(state.reap(now)))
    }

    async fn pause(&self, job: JobId) -> Result<(), QueueError> {
        self.change(|state, now| state.pause(job, true, now))
    }

    async fn resume(&self, job: JobId) -> Result<(), QueueError> {
        self.change(|state, now| state.pause(job, false, now))
    }

    async fn cancel(&self, job: JobId) -> Result<(), QueueError> {
        self.change(|state, now| state.cancel(job, now))
    }

    async fn retry(&self, job: JobId, which: &Retry) -> Result<u64, QueueError> {
        self.change(|state, now| state.retry(job, which, now))
    }

    async fn forget(&self, job: JobId) -> Result<(), QueueError> {
        self.change(|state, _| state.remove(job))
    }

    async fn set_priority(&self, job: JobId, priority: i32) -> Result<(), QueueError> {
        self.change(|state, _| {
            state.job(job)?.snapshot.priority = priority;
            Ok(())
        })
    }

    async fn drain(&self, worker: &WorkerId, drain: bool) -> Result<(), QueueError> {
        self.change(|state, _| state.drain(worker, drain))
    }

    async fn job(&self, job: JobId) -> Result<JobSnapshot, QueueError> {
        self.with(|state, _| Ok(state.job(job)?.snapshot()))
    }

    async fn jobs(&self, which: Jobs) -> Result<Vec<JobSnapshot>, QueueError> {
        self.with(|state, _| Ok(state.jobs(which)))
    }

    async fn job_ids(&self) -> Result<Vec<JobId>, QueueError> {
        let jobs = self.jobs(Jobs::All).await?;
        Ok(jobs.into_iter().map(|job| job.job).collect())
    }

    async fn ended(&self) -> Result<Ended, QueueError> {
        self.with(|state, _| Ok(state.ended()))
    }

    async fn tasks(&self, job: JobId, which: &Tasks) -> Result<Vec<TaskSnapshot>, QueueError> {
        self.with(|state, _| Ok(state.job(job)?.tasks(which)))
    }

    async fn done(
        &self,
        job: JobId,
        layer: u8,
        each: NonZero<u64>,
    ) -> Result<Vec<u64>, QueueError> {
        self.with(|state, _| state.job(job)?.done(layer, each))
    }

    async fn workers(&self) -> Result<Vec<WorkerSnapshot>, QueueError> {
        self.with(|state, now| Ok(state.workers(now)))
    }

    async fn health(&self) -> Result<Health, QueueError> {
        Ok(Health {
            server: "memory".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            run: std::process::id().to_string(),
            epoch: self.with(|state, _| state.epoch()),
            now: self.clock.now(),
            persistence: Persistence::Nothing,
            replicas: 0,
            memory_used: 0,
            memory_limit: None,
            warnings: Vec::new(),
        })
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
