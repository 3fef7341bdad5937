//! Stored pictures that others need and that are missing or damaged: they are made again first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use vqfarm_core::event::Event;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_queue::{Queue, Retry, Ticket};

use crate::attempt::Attempt;
use crate::early_stop;
use crate::job::OpenJob;
use crate::keyframes;
use crate::run::Shift;
use crate::stitch::StitchError;

/// A picture that should be stored and is not, or not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    Frame(u64),
    Keyframe {
        round: u32,
        index: u64,
    },
    /// A cell's first iterations.
    Preview(u64),
}

impl Lost {
    fn key(self) -> String {
        match self {
            Self::Frame(index) => keys::frame(index),
            Self::Keyframe { round, index } => keyframes::key(round, index),
            Self::Preview(cell) => early_stop::preview_key(cell),
        }
    }

    /// The layer and the number of the task that makes it.
    fn maker(self, plan: &Plan) -> Option<(u8, u64)> {
        match self {
            Self::Frame(index) => plan.maker(index),
            Self::Keyframe { round, index } => plan.keyframe_maker(round, index),
            Self::Preview(cell) => plan.preview_maker(cell),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

impl Shift {
    /// Hands back a task that needs lost pictures and lets these be made anew. What makes them
    /// counts as not done from now on, so whatever needs it waits for it.
    pub(crate) async fn make_again(&self, attempt: &Attempt, job: &OpenJob, lost: &[Lost]) {
        let names: Vec<String> = lost.iter().map(Lost::to_string).collect();
        let message = format!("missing or damaged, made again: {}", names.join(", "));
        tracing::warn!(message);
        self.tell(Event::Warning { message });
        match give_back(&*self.worker.queue, job, &attempt.ticket, lost).await {
            Ok(()) => self.end(attempt, Some(job), "released").await,
            Err(error) => self.give_up(attempt, Some(job), error.to_string(), true).await,
        }
    }
}

async fn give_back(
    queue: &dyn Queue,
    job: &OpenJob,
    ticket: &Ticket,
    lost: &[Lost],
) -> Result<(), StitchError> {
    for picture in lost {
        job.store.delete(&picture.key()).await?;
    }
    queue.release(ticket).await?;
    let mut makers: BTreeMap<u8, BTreeSet<u64>> = BTreeMap::new();
    for (layer, index) in lost.iter().filter_map(|picture| picture.maker(&job.plan)) {
        makers.entry(layer).or_default().insert(index);
    }
    for (layer, indices) in makers {
        let indices = indices.into_iter().collect();
        queue.retry(job.id(), &Retry::Tasks { layer, indices }).await?;
    }
    Ok(())
}
