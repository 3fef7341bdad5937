//! What a worker measures of itself.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use vqfarm_service::metrics::Kind::{Counter, Gauge, Histogram};
use vqfarm_service::metrics::{Metric, describe};

/// All that a worker tells Prometheus.
pub const METRICS: &[Metric] = &[
    Metric::new("vqfarm_worker_iterations_total", Counter, &[], "Iterations times pictures"),
    Metric::new("vqfarm_worker_busy_seconds_total", Counter, &[], "Time that devices computed"),
    Metric::new(
        "vqfarm_worker_device_busy",
        Gauge,
        &[],
        "Share of time that devices computed, 0 to 1",
    ),
    Metric::new("vqfarm_worker_upload_bytes_total", Counter, &[], "Bytes of stored frames"),
    Metric::new("vqfarm_worker_upload_errors_total", Counter, &[], "Frames that were not stored"),
    Metric::new("vqfarm_worker_upload_seconds", Histogram, &[], "Time to store a frame"),
    Metric::new("vqfarm_worker_lease_seconds", Histogram, &[], "Time that a lease takes"),
    Metric::new(
        "vqfarm_worker_attempts_total",
        Counter,
        &["outcome"],
        "Attempts that ended: rendered, adopted, taken over, stitched, failed, released or dropped",
    ),
];

/// Counts over all lanes of a worker; also told to the process's metrics, if it keeps any.
pub struct Meters {
    lanes: u32,
    start: Instant,
    /// Iterations times pictures.
    steps: AtomicU64,
    /// Nanoseconds that lanes computed.
    busy: AtomicU64,
    /// What was measured last, in percent; [`UNKNOWN`] before the first time.
    percent: AtomicU8,
}

/// No percentage.
const UNKNOWN: u8 = u8::MAX;

impl Meters {
    pub fn new(lanes: usize) -> Self {
        describe(METRICS);
        counter!("vqfarm_worker_upload_errors_total").absolute(0);
        Self {
            lanes: u32::try_from(lanes).unwrap_or(u32::MAX).max(1),
            start: Instant::now(),
            steps: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            percent: AtomicU8::new(UNKNOWN),
        }
    }

    /// So many pictures moved on by one iteration, which took so long.
    pub fn stepped(&self, pictures: usize, took: Duration) {
        self.steps.fetch_add(pictures as u64, Ordering::Relaxed);
        counter!("vqfarm_worker_iterations_total").increment(pictures as u64);
        self.worked(took);
    }

    /// A device computed for so long.
    pub fn worked(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let busy = self.busy.fetch_add(nanos, Ordering::Relaxed).saturating_add(nanos);
        counter!("vqfarm_worker_busy_seconds_total").absolute(busy / 1_000_000_000);
    }

    pub fn uploaded(&self, bytes: usize, took: Duration, stored: bool) {
        match stored {
            true => counter!("vqfarm_worker_upload_bytes_total").increment(bytes as u64),
            false => counter!("vqfarm_worker_upload_errors_total").increment(1),
        }
        histogram!("vqfarm_worker_upload_seconds").record(took);
    }

    pub fn leased(&self, took: Duration) {
        histogram!("vqfarm_worker_lease_seconds").record(took);
    }

    /// `rendered`, `adopted`, `taken over`, `stitched`, `failed`, `released` or `dropped`.
    pub fn ended(&self, outcome: &'static str) {
        counter!("vqfarm_worker_attempts_total", "outcome" => outcome).increment(1);
    }

    /// Iterations times pictures so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Time that devices computed so far, all lanes together.
    pub fn computed(&self) -> Duration {
        Duration::from_nanos(self.busy.load(Ordering::Relaxed))
    }

    /// A reading to compare with a later one.
    pub fn mark(&self) -> Mark {
        Mark { at: Instant::now(), busy: self.busy.load(Ordering::Relaxed) }
    }

    /// Share of the devices' time since a mark that they computed, 0 to 1; also the gauge's new
    /// value.
    pub fn busy_since(&self, mark: &Mark) -> f64 {
        let busy = self.busy.load(Ordering::Relaxed).saturating_sub(mark.busy);
        let passed = mark.at.elapsed().as_secs_f64() * f64::from(self.lanes);
        let share = if passed > 0.0 { (busy as f64 / 1e9 / passed).min(1.0) } else { 0.0 };
        gauge!("vqfarm_worker_device_busy").set(share);
        self.percent.store((share * 100.0).round() as u8, Ordering::Relaxed);
        share
    }

    /// What [`Meters::busy_since`] found last, in percent; none before it was asked.
    pub fn busy_percent(&self) -> Option<u8> {
        let percent = self.percent.load(Ordering::Relaxed);
        (percent != UNKNOWN).then_some(percent)
    }

    /// The mark of the beginning.
    pub fn beginning(&self) -> Mark {
        Mark { at: self.start, busy: 0 }
    }
}

/// How busy the devices had been at some time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: Instant,
    busy: u64,
}

impl Mark {
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vqfarm_service::metrics;

    use super::*;

    #[test]
    fn every_metric_of_the_sources_is_described() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let told = vqfarm_testing::reference::told_in(&sources);
        assert_eq!(told, metrics::labels_of(METRICS));
    }

    #[test]
    fn the_last_share_is_remembered() {
        let meters = Meters::new(1);
        assert_eq!(meters.busy_percent(), None);
        meters.worked(Duration::from_secs(3600));
        meters.busy_since(&meters.beginning());
        assert_eq!(meters.busy_percent(), Some(100));
        meters.busy_since(&meters.mark());
        assert_eq!(meters.busy_percent(), Some(0));
    }
}
