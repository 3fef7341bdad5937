//! Sweeps whose cells are stopped early: previews are ranked, some are chosen, and these go on from
//! where they stopped.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::task::spawn_blocking;
use vqfarm_core::job::stopped_identity;
use vqfarm_core::keys;
use vqfarm_core::plan::{CHOOSE, PREVIEW};
use vqfarm_core::record::Chosen;
use vqfarm_core::sweep::Cell;
use vqfarm_storage::StoreError;
use vqfarm_storage::frame::{self, FrameInfo};

use crate::attempt::Attempt;
use crate::job::{JobFault, OpenJob};
use crate::mend::Lost;
use crate::paint::{Begin, Painted};
use crate::publish::{PublishError, put};
use crate::run::Shift;
use crate::segment::SegmentFault;
use crate::standalone::Halt;

/// Previews that are read at the same time.
const AT_ONCE: usize = 16;

/// Where a cell's picture lies after its first iterations.
pub fn preview_key(cell: u64) -> String {
    keys::work(PREVIEW, cell, "png")
}

/// Where that lies from which a picture goes on, beside the picture itself.
pub fn saved_key(preview: &str) -> String {
    format!("{}.safetensors", preview.strip_suffix(".png").unwrap_or(preview))
}

/// Which cells go on by their scores, once that is settled.
pub async fn chosen(job: &OpenJob) -> Result<Option<Chosen>, StoreError> {
    let key = keys::work(CHOOSE, 0, "json");
    let Some(bytes) = job.store.get(&key).await? else { return Ok(None) };
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Whether a cell is rendered to its end: by its score, or because somebody chose it.
pub async fn is_kept(job: &OpenJob, cell: u64) -> Result<bool, StoreError> {
    if job.store.size(&keys::keep(cell)).await?.is_some() {
        return Ok(true);
    }
    let chosen = chosen(job).await?.unwrap_or_default();
    Ok(chosen.cells.binary_search(&cell).is_ok())
}

/// From where a cell goes on; from its start where nothing usable is stored, which gives the same
/// picture.
pub async fn begin(job: &OpenJob, cell: &Cell) -> Result<Option<Begin>, StoreError> {
    let Some(iteration) = job.plan.preview_iterations() else { return Ok(None) };
    let bytes = job.store.get(&saved_key(&preview_key(cell.index))).await?;
    let identity = stopped_identity(&cell.render, &job.record.models, iteration);
    Ok(bytes.map(|bytes| Begin { bytes, identity }))
}

/// A preview of the job itself, whole.
async fn read(job: &OpenJob, cell: u64) -> Result<(FrameInfo, Painted), SegmentFault> {
    let lost = || SegmentFault::Lost(Lost::Preview(cell));
    let bytes = job.store.get(&preview_key(cell)).await.map_err(JobFault::from)?;
    let bytes = bytes.ok_or_else(lost)?;
    let decoded = spawn_blocking(move || frame::decode(&bytes)).await;
    match decoded {
        Ok(Ok((info, picture))) if info.spec == job.record.spec_hash && info.index == cell => {
            let painted = Painted::new(picture, info.score);
            Ok((info, painted))
        }
        _ => Err(lost()),
    }
}

/// The best of the cells by their scores, ascending; among equals the first ones.
fn best(mut scores: Vec<(u64, Option<f32>)>, kept: u64) -> Chosen {
    // Without a text to judge by there is no score: such cells come last.
    let score = |score: Option<f32>| score.filter(|score| !score.is_nan());
    scores.sort_by(|(a, x), (b, y)| {
        let by_score = match (score(*x), score(*y)) {
            (Some(x), Some(y)) => y.total_cmp(&x),
            (x, y) => y.is_some().cmp(&x.is_some()),
        };
        by_score.then(a.cmp(b))
    });
    let kept = usize::try_from(kept).unwrap_or(usize::MAX);
    let mut cells: Vec<u64> = scores.into_iter().take(kept).map(|(cell, _)| cell).collect();
    cells.sort_unstable();
    Chosen { cells }
}

async fn choose(job: &OpenJob, kept: u64) -> Result<(), SegmentFault> {
    let names = job.store.names(keys::KEEP).await.map_err(JobFault::from)?;
    let by_hand: BTreeSet<u64> = names.iter().filter_map(|name| keys::keep_index(name)).collect();
    let chosen = if by_hand.is_empty() && kept > 0 {
        let scores: Vec<(u64, Option<f32>)> = stream::iter(0..job.plan.frames())
            .map(
                |cell| async move { Ok::<_, SegmentFault>((cell, read(job, cell).await?.0.score)) },
            )
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        best(scores, kept)
    } else {
        Chosen { cells: by_hand.into_iter().collect() }
    };
    let json = serde_json::to_vec(&chosen).map_err(|e| SegmentFault::Compose(e.to_string()))?;
    // Whoever was first has chosen the same, or by what somebody chose until then.
    let key = keys::work(CHOOSE, 0, "json");
    job.store.create(&key, json.into()).await.map_err(JobFault::from)?;
    Ok(())
}

/// Takes note of cells that are to be rendered to their end, in a folder.
pub(crate) async fn keep(job: &OpenJob, cells: &[u64]) -> Result<(), Halt> {
    if !cells.is_empty() && job.plan.preview_iterations().is_none() {
        let message = "--keep is of jobs that stop cells early; say [sweep.early_stop] in the job";
        return Err(Halt::refused(message));
    }
    if let Some(cell) = cells.iter().find(|cell| **cell >= job.plan.frames()) {
        let last = job.plan.frames() - 1;
        return Err(Halt::refused(format!("--keep: there is no cell {cell}; the last is {last}")));
    }
    for cell in cells {
        job.store.replace(&keys::keep(*cell), "".into()).await.map_err(Halt::failed)?;
    }
    Ok(())
}

impl Shift {
    /// Ranks the previews and commits what was chosen.
    pub(crate) async fn choose(&self, attempt: &Attempt, job: &Arc<OpenJob>, kept: u64) {
        match choose(job, kept).await {
            Ok(()) => {
                let outcome = match self.committer.commit(attempt.ticket).await {
                    Ok(_) => "chosen",
                    Err(error) => {
                        tracing::info!(%error, "the choice is stored, but does not count");
                        "dropped"
                    }
                };
                self.end(attempt, Some(job), outcome).await;
            }
            Err(fault) => match fault.lost() {
                Some(lost) => self.make_again(attempt, job, &[lost]).await,
                None => self.give_up(attempt, Some(job), fault.to_string(), true).await,
            },
        }
    }

    /// Makes the preview of a cell that is not kept its frame.
    pub(crate) async fn settle(&self, attempt: &Attempt, job: &Arc<OpenJob>, cell: &Cell) {
        let (preview, painted) = match read(job, cell.index).await {
            Ok(read) => read,
            Err(fault) => {
                return match fault.lost() {
                    Some(lost) => self.make_again(attempt, job, &[lost]).await,
                    None => self.give_up(attempt, Some(job), fault.to_string(), true).await,
                };
            }
        };
        let info = FrameInfo {
            stopped: preview.stopped,
            ..job.frame_info(cell.index, &cell.render, painted.score)
        };
        let key = keys::frame(cell.index);
        let mut stored = put(&self.worker.meters, job, &key, info, painted).await;
        if stored.is_ok() {
            match is_kept(job, cell.index).await {
                // Somebody has chosen it meanwhile.
                Ok(true) => match job.store.delete(&key).await {
                    Ok(()) => return self.hand_back(attempt, Some(job)).await,
                    Err(error) => stored = Err(PublishError::Store(error)),
                },
                Ok(false) => (),
                Err(error) => stored = Err(PublishError::Store(error)),
            }
        }
        let stored = match stored {
            Ok(stored) => match self.committer.commit(attempt.ticket).await {
                Ok(_) => Ok(stored),
                Err(error) => Err(PublishError::Queue(error)),
            },
            Err(error) => Err(error),
        };
        self.published(attempt, job, stored, Duration::ZERO, true).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_the_first_of_equals() {
        let scores = [Some(0.1), None, Some(0.3), Some(f32::NAN), Some(0.3), Some(-0.2)];
        let scores: Vec<_> = (0..).zip(scores).collect();
        for (kept, cells) in [
            (0, vec![]),
            (1, vec![2]),
            (3, vec![0, 2, 4]),
            (5, vec![0, 1, 2, 4, 5]),
            (9, vec![0, 1, 2, 3, 4, 5]),
        ] {
            assert_eq!(best(scores.clone(), kept).cells, cells, "{kept}");
        }
    }
}
