//! How a worker bears a queue that is away: it says so once and asks again, ever less often.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use vqfarm_queue::QueueError;

use crate::stop::{Brake, Stop};

/// The first pause and the longest one.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Patience with one call, over all its attempts.
pub struct Patience {
    call: &'static str,
    pause: Duration,
    said: bool,
}

impl Patience {
    pub fn new(call: &'static str) -> Self {
        Self { call, pause: FIRST, said: false }
    }

    /// Whether waiting helps: the queue cannot be reached, or is being put back together.
    pub fn is_for(error: &QueueError) -> bool {
        matches!(error, QueueError::Unavailable(_) | QueueError::Closed | QueueError::Full(_))
    }

    /// Says what is wrong, the first time.
    pub fn note(&mut self, error: &QueueError) {
        if !self.said {
            tracing::warn!(call = self.call, %error, "waiting for the queue");
            self.said = true;
        }
    }

    /// Waits for a while, each time about twice as long; false when the worker has to go at once.
    pub async fn wait(&mut self, error: &QueueError, brake: &Brake) -> bool {
        self.note(error);
        // Random, so that the workers of a farm do not all come back in the same moment.
        let pause = self.pause.mul_f64(0.5 + fastrand::f64());
        self.pause = (self.pause * 2).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(pause) => brake.level() < Stop::Now,
            () = brake.reached(Stop::Now) => false,
        }
    }

    /// The queue has answered.
    pub fn answered(&self) {
        if self.said {
            tracing::info!(call = self.call, "the queue is back");
        }
    }
}

/// The first rest after trouble and the longest one.
const REST: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_secs(300);

/// Rests that a worker in trouble takes, so that tasks go to others instead.
#[derive(Debug, Default)]
pub struct Rest(Mutex<Resting>);

#[derive(Clone, Copy, Debug)]
struct Resting {
    until: Instant,
    next: Duration,
}

impl Default for Resting {
    fn default() -> Self {
        Self { until: Instant::now(), next: REST }
    }
}

impl Rest {
    /// This machine or its way to storage is in trouble: no more leases for a while, each time
    /// for longer.
    pub fn trouble(&self) {
        let mut rest = self.lock();
        let now = Instant::now();
        // What comes out during a rest is old trouble.
        if rest.until <= now {
            tracing::warn!(seconds = rest.next.as_secs(), "resting, so that tasks go elsewhere");
            *rest = Resting { until: now + rest.next, next: (rest.next * 2).min(LONGEST_REST) };
        }
    }

    pub fn all_is_well(&self) {
        *self.lock() = Resting::default();
    }

    /// Waits until the rest is over or the worker stops.
    pub async fn over(&self, brake: &Brake) {
        let until = self.lock().until;
        tokio::select! {
            () = tokio::time::sleep_until(until) => (),
            () = brake.reached(Stop::Finish) => (),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
