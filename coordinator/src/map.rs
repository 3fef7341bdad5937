//! How far each part of a layer is: what a heat map shows.

use std::num::NonZero;

use vqfarm_core::id::JobId;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::{JobSnapshot, TaskKind, Tasks};

use crate::error::{Error, Result};
use crate::farm::{Farm, layer_number};

/// The most parts of a map.
const MOST: u32 = 10_000;
/// Tasks that run, wait for another attempt or failed: so many are placed on the map.
const PLACED: u32 = 100_000;

/// A layer in equal parts; the last one may be smaller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskMap {
    pub layer: String,
    pub parts: Vec<Part>,
}

/// Neighbouring tasks. Those in none of these states wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub tasks: u64,
    pub done: u64,
    pub leased: u64,
    pub delayed: u64,
    pub failed: u64,
}

impl Farm {
    /// A layer, the first one when the name is empty, in at most so many parts.
    pub async fn task_map(&self, job: JobId, layer: &str, most: u32) -> Result<TaskMap> {
        if most == 0 || most > MOST {
            let message = format!("a map has 1 to {MOST} parts, not {most}");
            return Err(Error::refused(Reason::BadRequest, message));
        }
        let snapshot = self.queue.job(job).await?;
        let number = layer_number(&snapshot, layer)?;
        let JobSnapshot { layers, .. } = snapshot;
        let layer = &layers[usize::from(number)];
        let tasks = layer.counts.tasks;
        let each = NonZero::new(tasks.div_ceil(most.into())).unwrap_or(NonZero::<u64>::MIN);
        let done = self.queue.done(job, number, each).await?;
        let mut parts: Vec<Part> = (0..)
            .zip(done)
            .map(|(at, done)| {
                let first = at * each.get();
                Part { tasks: each.get().min(tasks - first), done, ..Part::default() }
            })
            .collect();
        let after = number.checked_sub(1).map(|below| (below, u64::MAX));
        let which = Tasks { after, most: PLACED, only: None };
        for task in self.queue.tasks(job, &which).await? {
            let part = parts.get_mut((task.task.index / each) as usize);
            let Some(part) = part.filter(|_| task.task.layer == number) else { continue };
            match task.state.kind() {
                TaskKind::Leased => part.leased += 1,
                TaskKind::Delayed => part.delayed += 1,
                TaskKind::Failed => part.failed += 1,
            }
        }
        Ok(TaskMap { layer: layer.name.clone(), parts })
    }
}
