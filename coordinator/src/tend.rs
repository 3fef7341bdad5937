//! What a coordinator does by itself: end lost leases, put a queue that has lost its memory
//! back together, measure. Any number of coordinators may do this at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};
use vqfarm_queue::{Jobs, QueueError, TaskCounts};
use vqfarm_service::shutdown;

use crate::demand::Demand;
use crate::error::Result;
use crate::farm::Farm;
use crate::status::word;

/// How often the queue is asked whether it is still the same.
const LOOK: Duration = Duration::from_secs(5);
/// Jobs whose depth is measured one by one, the oldest first; the rest are summed up.
const MEASURED: usize = 100;

/// Ends lost leases until `stop` turns true; wakes [`keep`] when it finds the queue closed.
pub async fn reap(farm: Arc<Farm>, closed: Arc<Notify>, mut stop: watch::Receiver<bool>) {
    let often = (farm.lease / 10).clamp(Duration::from_millis(100), Duration::from_secs(1));
    let mut ticks = interval(often);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = true;
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = shutdown::requested(&mut stop) => return,
        }
        match farm.queue.reap().await {
            Ok(reaped) => {
                quiet = true;
                metrics::counter!("vqfarm_leases_expired_total")
                    .increment(reaped.expired.len() as u64);
                for task in reaped.expired {
                    let quarantined = reaped.quarantined.contains(&task);
                    tracing::warn!(job = %task.job, layer = task.layer, index = task.index,
                        quarantined, "a lease has run out");
                }
            }
            // Told once: the other loop says when it is better.
            Err(error) => {
                if error == QueueError::Closed {
                    closed.notify_one();
                } else if quiet {
                    tracing::warn!(%error, "cannot end lost leases");
                }
                quiet = false;
            }
        }
    }
}

/// Reconciles at the start, and whenever the queue is closed or its server is another one,
/// until `stop` turns true. `ready` turns true when the queue is open.
pub async fn keep(
    farm: Arc<Farm>,
    closed: Arc<Notify>,
    ready: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut known: Option<String> = None;
    let mut demand = Demand::default();
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => (),
            () = closed.notified() => (),
            () = shutdown::requested(&mut stop) => return,
        }
        match look(&farm, &mut known, &mut demand).await {
            Ok(()) => {
                ready.send_replace(true);
                pause = LOOK;
            }
            Err(error) => {
                ready.send_replace(false);
                tracing::error!(%error, "the farm is not well; trying again");
                pause = Duration::from_secs(1);
            }
        }
    }
}

/// One look at the queue's server.
async fn look(farm: &Farm, known: &mut Option<String>, demand: &mut Demand) -> Result<()> {
    let health = farm.queue.health().await?;
    farm.set_clock(health.now);
    let changed = known.as_ref() != Some(&health.run);
    if changed || health.epoch.is_none() {
        if health.epoch.is_none() {
            tracing::warn!("the queue is new or has lost its memory");
        } else if known.is_some() {
            tracing::warn!(run = health.run, "the queue's server has changed");
        }
        farm.reconcile().await?;
        *known = Some(health.run);
    }
    measure(farm, demand).await
}

/// Brings the gauges up to date.
async fn measure(farm: &Farm, demand: &mut Demand) -> Result<()> {
    let jobs = farm.queue.jobs(Jobs::Live).await?;
    demand.measure(&jobs);
    let mut total = TaskCounts::default();
    for job in &jobs {
        total += job.total();
    }
    for (state, count) in states(&total) {
        metrics::gauge!("vqfarm_tasks", "state" => state).set(count as f64);
    }
    for state in ["waiting", "running", "paused"] {
        let count = jobs.iter().filter(|job| word(job.state) == state).count();
        metrics::gauge!("vqfarm_jobs", "state" => state).set(count as f64);
    }
    let workers = farm.queue.workers().await?;
    for activity in ["idle", "busy", "draining", "lost"] {
        let count = workers.iter().filter(|w| farm.activity(w).word() == activity).count();
        metrics::gauge!("vqfarm_workers", "state" => activity).set(count as f64);
    }
    for job in jobs.iter().take(MEASURED) {
        for reason in farm.why(job).await? {
            metrics::gauge!("vqfarm_queue_depth", "job" => job.job.short(),
                "layer" => reason.layer, "reason" => reason.kind.word())
            .set(reason.tasks as f64);
        }
    }
    Ok(())
}

fn states(counts: &TaskCounts) -> [(&'static str, u64); 7] {
    [
        ("done", counts.done),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
        ("leased", counts.leased),
        ("delayed", counts.delayed),
        ("ready", counts.ready),
        ("blocked", counts.blocked),
    ]
}
