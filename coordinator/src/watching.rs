//! A job as it changes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use vqfarm_core::ending::JobEnd;
use vqfarm_core::id::JobId;
use vqfarm_core::plan::Plan;
use vqfarm_queue::{Event, Failed, JobSnapshot};

use crate::error::Result;
use crate::farm::Farm;
use crate::why::first_line;

/// Changes that come closer together are told together.
const TOGETHER: Duration = Duration::from_millis(200);
/// The job is told of at least this often, for the sake of whoever waits for a sign of life.
const QUIET: Duration = Duration::from_secs(10);

/// A job and what happened to it since it was told of last.
pub struct Change {
    pub job: JobSnapshot,
    pub events: Vec<String>,
    /// What others are told of it, once it is over.
    pub end: Option<JobEnd>,
}

/// Tells of a job now and whenever it changes, until it is over or nobody listens.
pub async fn watch(farm: Arc<Farm>, job: JobId, to: mpsc::Sender<Result<Change>>) {
    let mut heard = farm.queue.events();
    let mut events = Vec::new();
    // Read when it is needed to say which task is meant.
    let mut plan = None;
    loop {
        let told = match farm.queue.job(job).await {
            Ok(job) => {
                let over = job.state.is_final();
                let end = farm.job_end(&job).await.unwrap_or_else(|error| {
                    tracing::warn!(job = %job.job, %error, "cannot tell how a job ended");
                    None
                });
                let change = Change { job, events: std::mem::take(&mut events), end };
                to.send(Ok(change)).await.is_ok() && !over
            }
            Err(error) => {
                let _ = to.send(Err(error.into())).await;
                false
            }
        };
        if !told {
            return;
        }
        // Waits for a change, then a little for those that follow it.
        let mut until = Instant::now() + QUIET;
        let mut changed = false;
        loop {
            let event = tokio::select! {
                event = timeout_at(until, heard.recv()) => event,
                () = to.closed() => return,
            };
            let ours = match event {
                Err(_) => break,
                Ok(Ok(event)) => {
                    let ours = is_of(&event, job);
                    if ours && plan.is_none() && matches!(event, Event::Failed { .. }) {
                        plan = farm.plan(job).await.ok().flatten();
                    }
                    if ours && let Some(text) = describe(&event, plan.as_deref()) {
                        events.push(text);
                    }
                    ours
                }
                Ok(Err(RecvError::Lagged(_))) => true,
                Ok(Err(RecvError::Closed)) => {
                    // The queue is shutting down; the watcher asks again elsewhere.
                    sleep_until(until).await;
                    break;
                }
            };
            if ours && !changed {
                changed = true;
                until = until.min(Instant::now() + TOGETHER);
            }
        }
    }
}

fn is_of(event: &Event, wanted: JobId) -> bool {
    match event {
        Event::Submitted(job) | Event::Job { job, .. } => *job == wanted,
        Event::Leased { tasks, .. } => tasks.iter().any(|task| task.job == wanted),
        Event::Committed(task) | Event::Failed { task, .. } | Event::Released(task) => {
            task.job == wanted
        }
        Event::Opened(_) | Event::Gap => true,
    }
}

/// What a watcher wants to read; the counts tell the rest.
fn describe(event: &Event, plan: Option<&Plan>) -> Option<String> {
    match event {
        Event::Failed { task, message, outcome } => {
            let then = match outcome {
                Failed::Retry(_) => "it will be tried again",
                Failed::Quarantined => "it has failed for good",
            };
            let layer = plan.and_then(|plan| plan.layers.get(usize::from(task.layer)));
            let number = layer.map_or(task.index, |layer| layer.number_of(task.index));
            Some(format!("task {number} failed: {}; {then}", first_line(message)))
        }
        Event::Opened(_) => Some("the queue was put back together".into()),
        _ => None,
    }
}
