//! The attempts that a worker is at, from lease to commit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Span;
use tracing::field::Empty;
use vqfarm_queue::{Beat, Ticket};
use vqfarm_service::telemetry;

/// The name of an attempt's span.
pub(crate) const SPAN: &str = "task";

/// One leased task.
#[derive(Debug)]
pub struct Attempt {
    pub ticket: Ticket,
    /// Everything that is logged of the attempt carries its job, layer, index and number, and its
    /// trace where traces are exported.
    pub span: Span,
    unwanted: AtomicBool,
}

impl Attempt {
    pub fn new(ticket: Ticket) -> Arc<Self> {
        let Ticket { task, attempt, .. } = ticket;
        let span = tracing::info_span!(
            parent: None,
            SPAN,
            job = %task.job,
            layer = task.layer,
            index = task.index,
            attempt,
            trace_id = Empty,
        );
        Arc::new(Self { ticket, span, unwanted: AtomicBool::new(false) })
    }

    /// Goes on with its job's trace. Nothing may have been done within the attempt before.
    pub fn go_on_with(&self, traceparent: Option<&str>) {
        telemetry::continued(&self.span, traceparent);
        if let Some(trace_id) = telemetry::trace_id(&self.span) {
            self.span.record("trace_id", trace_id);
        }
    }

    /// Job, layer, index and number, unlike those of all other attempts; without spaces.
    pub fn name(&self) -> String {
        let Ticket { task, attempt, .. } = self.ticket;
        format!("{}/{}/{}/{attempt}", task.job, task.layer, task.index)
    }

    /// The lease is lost or the job cancelled: the result is not wanted.
    pub fn is_unwanted(&self) -> bool {
        self.unwanted.load(Ordering::Relaxed)
    }

    fn drop_it(&self) {
        self.unwanted.store(true, Ordering::Relaxed);
    }
}

/// The attempts whose leases are to be kept alive.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<Mutex<HashMap<Ticket, Arc<Attempt>>>>);

impl Held {
    pub fn insert(&self, attempt: &Arc<Attempt>) {
        self.lock().insert(attempt.ticket, attempt.clone());
    }

    pub fn remove(&self, ticket: &Ticket) {
        self.lock().remove(ticket);
    }

    pub fn tickets(&self) -> Vec<Ticket> {
        self.lock().keys().copied().collect()
    }

    /// Takes note of what a heartbeat was told.
    pub fn heard(&self, tickets: &[Ticket], beats: &[Beat]) {
        let held = self.lock();
        for (ticket, beat) in tickets.iter().zip(beats) {
            let Some(attempt) = held.get(ticket) else { continue };
            let why = match beat {
                Beat::Extended(_) => continue,
                Beat::Cancelled => "its job was cancelled",
                Beat::Stale => "its lease is over",
            };
            if !attempt.is_unwanted() {
                attempt.span.in_scope(|| tracing::info!(why, "dropping the task"));
                attempt.drop_it();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ticket, Arc<Attempt>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
