//! Which cells of a sweep that stops them early go on to their end, because somebody says so.

use futures::stream::{self, StreamExt, TryStreamExt};
use vqfarm_core::id::JobId;
use vqfarm_core::keys;
use vqfarm_core::plan::{Plan, Work};
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::{JobSnapshot, JobState, QueueError, Retry};
use vqfarm_storage::{Found, JobStore, check};

use crate::error::{Error, Result};
use crate::farm::Farm;

/// Cells of one call.
const MOST: usize = 10_000;
/// Cells that are looked at in storage at once.
const AT_ONCE: usize = 16;

impl Farm {
    /// Has cells rendered to their end; answers with how many that were stopped go on now. May be
    /// called again; those that are chosen before previews are ranked take the place of the best.
    ///
    /// # Errors
    /// The job stops no cells early, has no such cell or was cancelled; queue or storage do not
    /// answer.
    pub async fn keep(&self, job: JobId, cells: &[u64]) -> Result<(u64, JobSnapshot)> {
        let state = self.queue.job(job).await?.state;
        if state == JobState::Cancelled {
            return Err(QueueError::Finished { job, state, action: "keep".into() }.into());
        }
        let Some(record) = self.record(job).await? else {
            return Err(Error::refused(
                Reason::NotFound,
                format!("nothing is stored of job {job}"),
            ));
        };
        let plan = record.plan().map_err(|e| Error::refused(Reason::Internal, e.to_string()))?;
        refuse(&plan, cells)?;
        let store = self.storage.job(job);
        let unfinished = stream::iter(cells.iter().copied())
            .map(|cell| {
                let (store, spec_hash) = (&store, &record.spec_hash);
                async move { want(store, cell, spec_hash).await.map(|open| open.then_some(cell)) }
            })
            .buffered(AT_ONCE)
            .try_filter_map(|cell| async move { Ok(cell) });
        let unfinished: Vec<u64> = unfinished.try_collect().await?;
        let again = unfinished.into_iter().filter_map(|cell| plan.maker(cell));
        let again: Vec<u64> = again.map(|(_, task)| task).collect();
        let mut continued = 0;
        for (number, layer) in (0..).zip(&plan.layers) {
            let indices = match layer.work {
                Work::Render { .. } if !again.is_empty() => again.clone(),
                // After them; what was made of their previews is made anew.
                Work::Stitch if continued > 0 => vec![0],
                _ => continue,
            };
            let retried = self.try_again(job, &Retry::Tasks { layer: number, indices }).await?;
            if layer.work != Work::Stitch {
                continued += retried;
            }
        }
        Ok((continued, self.queue.job(job).await?))
    }
}

/// Writes down that a cell is to be rendered to its end, before the queue hears of it, so that no
/// worker finds otherwise. Answers whether it is not; the picture that it has until then goes.
async fn want(store: &JobStore, cell: u64, spec_hash: &str) -> Result<bool> {
    store.create(&keys::keep(cell), "".into()).await?;
    let key = keys::frame(cell);
    let found = check(store, &key, spec_hash).await?;
    if matches!(&found, Found::Frame(info) if info.stopped.is_none()) {
        return Ok(false);
    }
    store.delete(&key).await?;
    Ok(true)
}

fn refuse(plan: &Plan, cells: &[u64]) -> Result<()> {
    let message = if plan.preview_iterations().is_none() {
        "the job stops no cells early; say [sweep.early_stop] in its file".to_owned()
    } else if let Some(cell) = cells.iter().find(|cell| **cell >= plan.frames()) {
        format!("the job has no cell {cell}; the last is {}", plan.frames() - 1)
    } else if cells.is_empty() || cells.len() > MOST {
        format!("name 1 to {MOST} cells")
    } else {
        return Ok(());
    };
    Err(Error::refused(Reason::BadRequest, message))
}
