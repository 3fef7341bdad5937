//! What ended lately, as far as this coordinator has seen: tasks by job and by worker, and the
//! frame of a job that came last.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vqfarm_core::id::{JobId, TaskId, WorkerId};
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_queue::Event;

use crate::error::{Error, Result};
use crate::farm::Farm;

/// Tasks that are remembered of a job or a worker.
pub const KEPT: usize = 64;
/// Jobs, workers or running tasks that are remembered; with more, memory begins anew.
const MOST: usize = 10_000;
/// Plans that are kept.
const PLANS: usize = 64;
/// Frames that are listed to find the last one.
const LISTED: u64 = 20_000;

/// A short memory. Another coordinator, or this one after a restart, knows nothing of it.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    running: HashMap<TaskId, WorkerId>,
    /// The last one in front, and whether it was committed.
    of_jobs: HashMap<JobId, VecDeque<(TaskId, bool)>>,
    of_workers: HashMap<WorkerId, VecDeque<TaskId>>,
    /// The last frame that was stored before there was a memory.
    listed: HashMap<JobId, u64>,
    plans: HashMap<JobId, Arc<Plan>>,
}

impl Recent {
    pub fn hear(&self, event: &Event) {
        let mut memory = self.lock();
        match event {
            Event::Leased { tasks, worker } => {
                for task in tasks {
                    bounded(&mut memory.running, MOST).insert(*task, worker.clone());
                }
            }
            Event::Committed(task) => memory.end(*task, true),
            Event::Failed { task, .. } => memory.end(*task, false),
            Event::Released(task) => {
                memory.running.remove(task);
            }
            _ => (),
        }
    }

    /// Tasks of a job that ended, the last one first.
    pub fn of_job(&self, job: JobId) -> Vec<TaskId> {
        let memory = self.lock();
        memory.of_jobs.get(&job).into_iter().flatten().map(|(task, _)| *task).collect()
    }

    /// Tasks of a worker that ended, the last one first.
    pub fn of_worker(&self, worker: &WorkerId) -> Vec<TaskId> {
        self.lock().of_workers.get(worker).into_iter().flatten().copied().collect()
    }

    fn committed(&self, job: JobId) -> Vec<TaskId> {
        let memory = self.lock();
        let tasks = memory.of_jobs.get(&job).into_iter().flatten();
        tasks.filter(|(_, committed)| *committed).map(|(task, _)| *task).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn end(&mut self, task: TaskId, committed: bool) {
        let list = bounded(&mut self.of_jobs, MOST).entry(task.job).or_default();
        list.retain(|(known, _)| *known != task);
        list.push_front((task, committed));
        list.truncate(KEPT);
        let Some(worker) = self.running.remove(&task) else { return };
        let list = bounded(&mut self.of_workers, MOST).entry(worker).or_default();
        list.retain(|known| *known != task);
        list.push_front(task);
        list.truncate(KEPT);
    }
}

/// The map with room for one more.
fn bounded<K: Eq + Hash, V>(map: &mut HashMap<K, V>, most: usize) -> &mut HashMap<K, V> {
    if map.len() >= most {
        map.clear();
    }
    map
}

impl Farm {
    /// The layers of a job as they were planned; `None` where nothing usable is stored of it.
    pub async fn plan(&self, job: JobId) -> Result<Option<Arc<Plan>>> {
        if let Some(plan) = self.recent.lock().plans.get(&job) {
            return Ok(Some(plan.clone()));
        }
        let record = match self.record(job).await {
            Err(Error::Unreadable { .. }) => None,
            record => record?,
        };
        let plan = record.and_then(|record| record.plan().ok()).map(Arc::new);
        if let Some(plan) = &plan {
            bounded(&mut self.recent.lock().plans, PLANS).insert(job, plan.clone());
        }
        Ok(plan)
    }

    /// How many frames a task makes; 0 where nobody can say.
    pub async fn frames_made(&self, task: TaskId) -> u64 {
        let Ok(Some(plan)) = self.plan(task.job).await else { return 0 };
        let layer = plan.layers.get(usize::from(task.layer));
        let frames = layer.and_then(|layer| layer.frames_of(task.index)).unwrap_or_default();
        frames.end - frames.start
    }

    /// The number of the frame that was stored last of a job, or of the job that it stitches;
    /// and the job that has the frame.
    pub async fn newest_frame(&self, job: JobId) -> Result<Option<(JobId, u64)>> {
        let owner = self.frames_owner(job).await?;
        let Some(plan) = self.plan(owner).await? else { return Ok(None) };
        let frame = self.recent.committed(owner).into_iter().find_map(|task| {
            let frames = plan.layers.get(usize::from(task.layer))?.frames_of(task.index)?;
            frames.end.checked_sub(1)
        });
        let frame = match frame {
            Some(frame) => Some(frame),
            None => self.last_listed(owner).await?,
        };
        Ok(frame.map(|frame| (owner, frame)))
    }

    /// The highest frame in storage of a job of which nothing was heard yet.
    async fn last_listed(&self, job: JobId) -> Result<Option<u64>> {
        if let Some(frame) = self.recent.lock().listed.get(&job) {
            return Ok(Some(*frame));
        }
        let done = self.queue.job(job).await?.total().done;
        if done == 0 || done > LISTED {
            return Ok(None);
        }
        let names = self.storage.job(job).names(keys::FRAMES).await?;
        let last = names.iter().filter_map(|name| keys::frame_index(name)).max();
        if let Some(frame) = last {
            bounded(&mut self.recent.lock().listed, MOST).insert(job, frame);
        }
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_last_comes_first() {
        let recent = Recent::default();
        let task = |index| TaskId { job: JobId::from_u128(1), layer: 0, index };
        let worker = WorkerId::new("w").unwrap();
        let other = WorkerId::new("v").unwrap();
        recent.hear(&Event::Leased { tasks: vec![task(0), task(1)], worker: worker.clone() });
        recent.hear(&Event::Leased { tasks: vec![task(2)], worker: other.clone() });
        for index in [1, 2, 0] {
            recent.hear(&Event::Committed(task(index)));
        }
        // Done over, and handed back.
        recent.hear(&Event::Leased { tasks: vec![task(1)], worker: other.clone() });
        recent.hear(&Event::Released(task(1)));
        assert_eq!(recent.of_job(task(0).job), [task(0), task(2), task(1)]);
        assert_eq!(recent.of_worker(&worker), [task(0), task(1)]);
        assert_eq!(recent.of_worker(&other), [task(2)]);
        for index in 10..10 + 2 * KEPT as u64 {
            recent.hear(&Event::Committed(task(index)));
        }
        assert_eq!(recent.of_job(task(0).job).len(), KEPT);
    }
}
