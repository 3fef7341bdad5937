//! What a coordinator tells Prometheus. Gauges are of the farm, so that several coordinators say the
//! same; so are counters of events, of which each coordinator counts all.

use vqfarm_service::metrics::Kind::{Counter, Gauge, Histogram};
use vqfarm_service::metrics::Metric;

/// All of it.
pub const METRICS: &[Metric] = &[
    Metric::new(
        "vqfarm_demand",
        Gauge,
        &["gpu_memory_gib", "tags"],
        "Tasks that workers have or could take at once, by what they ask for; 0 of paused jobs but for what runs",
    ),
    Metric::new(
        "vqfarm_tasks",
        Gauge,
        &["state"],
        "Tasks of live jobs: ready, blocked, delayed, leased, done, failed or cancelled",
    ),
    Metric::new("vqfarm_jobs", Gauge, &["state"], "Live jobs: waiting, running or paused"),
    Metric::new("vqfarm_workers", Gauge, &["state"], "Workers: idle, busy, draining or lost"),
    Metric::new(
        "vqfarm_queue_depth",
        Gauge,
        &["job", "layer", "reason"],
        "Tasks of the hundred oldest jobs that wait, by the reason that `vqfarm why` gives",
    ),
    Metric::new(
        "vqfarm_submits_total",
        Counter,
        &["outcome"],
        "Submits here: taken, again (the same request once more), dry_run or refused",
    ),
    Metric::new("vqfarm_submit_seconds", Histogram, &[], "Time to answer a submit"),
    Metric::new(
        "vqfarm_first_lease_seconds",
        Histogram,
        &[],
        "Time from a submit to the first lease of the job",
    ),
    Metric::new("vqfarm_tasks_leased_total", Counter, &[], "Tasks that workers took"),
    Metric::new("vqfarm_tasks_committed_total", Counter, &[], "Tasks whose result counts"),
    Metric::new(
        "vqfarm_attempts_failed_total",
        Counter,
        &[],
        "Attempts that workers reported failed",
    ),
    Metric::new(
        "vqfarm_leases_expired_total",
        Counter,
        &[],
        "Leases ended here because their worker was silent",
    ),
    Metric::new(
        "vqfarm_reconciles_total",
        Counter,
        &[],
        "Times that the queue was put back together",
    ),
    Metric::new(
        "vqfarm_jobs_restored_total",
        Counter,
        &[],
        "Jobs that were put back into the queue",
    ),
    Metric::new(
        "vqfarm_notifications_total",
        Counter,
        &["outcome"],
        "Attempts to tell of ended jobs that failed, and how tellings ended: told, gone or given_up",
    ),
];

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
}
