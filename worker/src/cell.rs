//! What is done for a leased cell: its frame is stored already, its picture was made before, it is
//! not kept, or it is rendered.

use std::sync::Arc;
use std::time::Duration;

use vqfarm_core::job::stopped_identity;
use vqfarm_core::keys;
use vqfarm_core::sweep::Cell;
use vqfarm_storage::frame::FrameInfo;

use crate::attempt::Attempt;
use crate::early_stop::{self, is_kept};
use crate::feed::{Next, Trouble};
use crate::job::{JobFault, OpenJob};
use crate::lane::Task;
use crate::paint::{Part, Until};
use crate::publish::{FoundCell, Origin, PublishError, Published, Stored, look, take_over};
use crate::run::{Shift, Worker};

impl Shift {
    /// What there is to do for a cell's frame.
    pub(crate) async fn cell(
        &self,
        attempt: &Arc<Attempt>,
        job: &Arc<OpenJob>,
        cell: Cell,
    ) -> Result<Next, Trouble> {
        let key = keys::frame(cell.index);
        let stops = job.plan.preview_iterations().is_some();
        let kept = !stops || is_kept(job, cell.index).await.map_err(JobFault::from)?;
        match look(job, &key).await? {
            // It was stopped, and chosen since.
            Stored::Frame(info) if kept && info.stopped.is_some() => {
                job.store.delete(&key).await.map_err(JobFault::from)?;
            }
            Stored::Frame(info) => return Ok(adopt(key, *info)),
            Stored::Nothing => (),
        }
        if !kept {
            return Ok(Next::Settle(Box::new(cell)));
        }
        let identity = job.identity(&cell.render);
        if let Some(taken) = self.worker.cells.find(&identity).await {
            let found = FoundCell { key, identity, taken, saved: None };
            return Ok(Next::TakeOver(Box::new(cell), Box::new(found)));
        }
        let begin = early_stop::begin(job, &cell).await.map_err(JobFault::from)?;
        self.render_cell(attempt, job, cell, key, Part { begin, until: None }).await
    }

    /// What there is to do for a cell's first iterations.
    pub(crate) async fn preview(
        &self,
        attempt: &Arc<Attempt>,
        job: &Arc<OpenJob>,
        cell: Cell,
        iterations: u32,
    ) -> Result<Next, Trouble> {
        let key = early_stop::preview_key(cell.index);
        let saved = job.store.size(&early_stop::saved_key(&key)).await.map_err(JobFault::from)?;
        if let (Stored::Frame(info), Some(_)) = (look(job, &key).await?, saved) {
            return Ok(adopt(key, *info));
        }
        let identity = stopped_identity(&cell.render, &job.record.models, iterations);
        if let Some(taken) = self.worker.cells.find(&identity).await
            && let Some(saved) = self.worker.cells.find_saved(&identity, &taken).await
        {
            let found = FoundCell { key, identity, taken, saved: Some(saved) };
            return Ok(Next::TakeOver(Box::new(cell), Box::new(found)));
        }
        let until = Some(Until { iterations, identity });
        self.render_cell(attempt, job, cell, key, Part { begin: None, until }).await
    }

    async fn render_cell(
        &self,
        attempt: &Arc<Attempt>,
        job: &Arc<OpenJob>,
        cell: Cell,
        key: String,
        part: Part,
    ) -> Result<Next, Trouble> {
        let models = job.models(&cell.render);
        self.fetch(&models).await?;
        let picture = job.picture(&cell.render).await?;
        let (attempt, job, index) = (attempt.clone(), job.clone(), cell.index);
        let task = Task { attempt, job, index, key, round: None, models, picture, part };
        Ok(Next::Render(Box::new(task)))
    }

    /// Stores a picture that was made before and commits its task.
    pub(crate) async fn take_over(
        &self,
        attempt: &Attempt,
        job: &OpenJob,
        cell: &Cell,
        found: FoundCell,
    ) {
        let is_frame = found.taken.stopped.is_none();
        let Worker { meters, cells, .. } = &self.worker;
        let stored = match take_over(meters, cells, job, cell, found).await {
            Ok(stored) => self.committer.commit(attempt.ticket).await.map(|_| stored),
            Err(error) => {
                return self.published(attempt, job, Err(error), Duration::ZERO, true).await;
            }
        };
        let stored = stored.map_err(PublishError::Queue);
        self.published(attempt, job, stored, Duration::ZERO, is_frame).await;
    }
}

/// A frame that is stored already.
pub(crate) fn adopt(key: String, info: FrameInfo) -> Next {
    Next::Adopt(Box::new(Published { key, info, origin: Origin::Adopted }))
}
