//! Listens to the worker of a standalone render until its job ends one way or another.

use std::path::Path;

use tokio::sync::{broadcast, mpsc, watch};
use vqfarm_core::event::Event;
use vqfarm_queue::{Event as Change, JobState, Jobs, Queue};

use super::Halt;
use crate::run::Told;
use crate::stitch::Tell;
use crate::stop::{Brake, Stop};

/// How the watch over a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The job is in this final state.
    Job(JobState),
    Interrupted,
}

/// Listens to a worker and halts it when its time has come.
pub struct Watch<'a, 't> {
    pub out: &'a Path,
    pub tell: &'a mut Tell<'t>,
    /// Frames that this run made.
    pub rendered: u64,
    /// Frames whose pictures were there in another form of the job.
    pub taken_over: u64,
    /// Frames that are there.
    pub stored: u64,
}

impl Watch<'_, '_> {
    /// Passes on what the worker tells until the job ends one way or another, then halts the
    /// worker and listens to its last words.
    pub async fn over(
        &mut self,
        queue: &dyn Queue,
        mut changes: broadcast::Receiver<Change>,
        mut told: mpsc::UnboundedReceiver<Told>,
        brake: &Brake,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Ended, Halt> {
        let mut ended: Option<Result<Ended, Halt>> = None;
        let mut asked = false;
        loop {
            tokio::select! {
                heard = told.recv() => match heard {
                    Some(Told::Event(event)) => self.pass_on(*event),
                    Some(Told::Storage(message)) => {
                        ended.get_or_insert(Err(Halt::failed(message)));
                        brake.raise(Stop::Now);
                    }
                    // The worker has left: everything is told.
                    None => break,
                },
                change = changes.recv(), if ended.is_none() => {
                    // Missed changes are made up for by asking.
                    let state = match change {
                        Ok(Change::Job { state, .. }) => Some(state),
                        Ok(_) => None,
                        Err(_) => queue.jobs(Jobs::All).await.ok().and_then(|jobs| Some(jobs.first()?.state)),
                    };
                    if let Some(state) = state.filter(|state| state.is_final()) {
                        ended = Some(Ok(Ended::Job(state)));
                        brake.raise(Stop::Now);
                    }
                },
                _ = stop.wait_for(|&stop| stop), if !asked => {
                    asked = true;
                    ended.get_or_insert(Ok(Ended::Interrupted));
                    brake.raise(Stop::Now);
                },
            }
        }
        ended.unwrap_or_else(|| Err(Halt::failed("the worker left before the job was done")))
    }

    /// Keys become paths on this machine.
    fn pass_on(&mut self, mut event: Event) {
        if let Event::Frame { path, adopted, taken_over, .. } = &mut event {
            self.stored += 1;
            self.rendered += u64::from(!*adopted && !*taken_over);
            self.taken_over += u64::from(*taken_over);
            *path = self.out.join(&*path).display().to_string();
        }
        (self.tell)(&event);
    }
}
