//! One job: its layers, and what a commit in one opens in another.

use std::num::NonZero;
use std::ops::Range;

use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::TaskId;
use vqfarm_core::plan::Dependency;

use super::layer::{History, Layer, Running};
use crate::check::check;
use crate::*;

#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Counts the submits: age.
    pub number: u64,
    pub snapshot: JobSnapshot,
    pub layers: Vec<Layer>,
    pub paused: bool,
    started: bool,
    cancelled: bool,
}

impl Job {
    pub fn new(
        submission: &Submission,
        number: u64,
        submitted: Timestamp,
    ) -> Result<Self, QueueError> {
        check(submission)?;
        let mut job = Self {
            number,
            snapshot: JobSnapshot {
                job: submission.job,
                name: submission.name.clone(),
                user: submission.user.clone(),
                priority: submission.priority,
                state: JobState::Waiting,
                submitted,
                finished: None,
                layers: Vec::new(),
            },
            layers: submission.layers.iter().cloned().map(Layer::new).collect(),
            paused: false,
            started: false,
            cancelled: false,
        };
        for (layer, range) in &submission.done {
            range.clone().for_each(|index| job.layers[usize::from(*layer)].done.set(index));
        }
        for layer in 0..job.layers.len() {
            job.offer(layer, 0);
        }
        for (layer, range) in &submission.done {
            job.open_after(usize::from(*layer), range.clone());
        }
        Ok(job)
    }

    /// The layer and those below it.
    fn pair(&mut self, layer: usize) -> (&mut Layer, &[Layer]) {
        let (below, above) = self.layers.split_at_mut(layer);
        (&mut above[0], below)
    }

    pub fn below(&self, layer: usize) -> &[Layer] {
        &self.layers[..layer]
    }

    pub fn offer(&mut self, layer: usize, index: u64) -> bool {
        let (layer, below) = self.pair(layer);
        layer.offer(below, index)
    }

    /// Offers what follows tasks that have just been done. Says whether anything opened.
    fn open_after(&mut self, layer: usize, done: Range<u64>) -> bool {
        let mut opened = false;
        if self.layers[layer].spec.dependency == Dependency::Chain {
            let next = self.layers[layer].done.next_clear(done.end);
            opened |= self.offer(layer, next);
        }
        let above = self.layers.get(layer + 1).map(|above| above.spec.dependency);
        if above == Some(Dependency::Neighbours) {
            for index in done.start.saturating_sub(1)..=done.end {
                opened |= self.offer(layer + 1, index);
            }
        }
        let all = |at: &usize| self.layers[*at].spec.dependency == Dependency::All;
        if let Some(at) = (layer + 1..self.layers.len()).find(all) {
            opened |= self.layers[..at].iter().all(Layer::is_complete);
        }
        opened
    }

    /// The layers that have a task to run, and the first one of each.
    pub fn offers(&self) -> impl Iterator<Item = (usize, u64)> {
        let layers = self.layers.iter().enumerate().filter(|_| !self.paused && !self.cancelled);
        layers.filter_map(|(at, layer)| Some((at, layer.next(self.below(at))?)))
    }

    pub fn take(&mut self, layer: usize, first: u64, most: u32) -> Vec<u64> {
        self.started = true;
        let (layer, below) = self.pair(layer);
        layer.take(below, first, most)
    }

    /// The running attempt that `ticket` stands for.
    pub fn running(&mut self, ticket: &Ticket) -> Result<&mut Running, QueueError> {
        let TaskId { layer, index, .. } = ticket.task;
        let Some(layer) =
            self.layers.get_mut(usize::from(layer)).filter(|layer| index < layer.spec.tasks)
        else {
            return Err(QueueError::NoSuchTask(ticket.task));
        };
        if self.cancelled {
            let (job, action) = (ticket.task.job, "this attempt".to_owned());
            return Err(QueueError::Finished { job, state: JobState::Cancelled, action });
        }
        let attempt = layer.history.get(&index).map(|history| history.attempt);
        layer
            .leased
            .get_mut(&index)
            .filter(|running| running.token == ticket.token && attempt == Some(ticket.attempt))
            .ok_or(QueueError::Stale(*ticket))
    }

    /// Counts a task as done. Says whether that opened others.
    pub fn commit(&mut self, ticket: &Ticket) -> Result<bool, QueueError> {
        self.running(ticket)?;
        let TaskId { layer, index, .. } = ticket.task;
        let at = usize::from(layer);
        let (layer, _) = self.pair(at);
        if layer.spec.dependency == Dependency::Chain && !layer.is_free(&[], index) {
            return Err(QueueError::OutOfOrder(ticket.task));
        }
        layer.leased.remove(&index);
        layer.history.remove(&index);
        layer.done.set(index);
        Ok(self.open_after(at, index..index + 1))
    }

    /// Ends a running attempt as failed.
    pub fn fail(
        &mut self,
        task: TaskId,
        failure: &Failure,
        policy: &Policy,
        now: Timestamp,
    ) -> Failed {
        let (layer, _) = self.pair(usize::from(task.layer));
        layer.leased.remove(&task.index);
        let history = layer.history.entry(task.index).or_default();
        history.failures += 1;
        history.last_error = Some(failure.kept().to_owned());
        if !failure.retryable || history.failures >= policy.attempts {
            layer.failed.insert(task.index);
            return Failed::Quarantined;
        }
        let doublings = (history.failures - 1).min(16);
        let until = now.after(policy.backoff.saturating_mul(1 << doublings));
        layer.delayed.insert(task.index, until);
        Failed::Retry(until)
    }

    pub fn release(&mut self, task: TaskId) {
        let layer = usize::from(task.layer);
        self.layers[layer].leased.remove(&task.index);
        self.offer(layer, task.index);
    }

    /// Offers the tasks whose pause is over. Says whether there were any.
    pub fn wake(&mut self, now: Timestamp) -> bool {
        let mut woken = false;
        for at in 0..self.layers.len() {
            let due = self.layers[at].delayed.iter().filter(|(_, until)| **until <= now);
            let due: Vec<u64> = due.map(|(index, _)| *index).collect();
            for index in due {
                self.layers[at].delayed.remove(&index);
                self.offer(at, index);
                woken = true;
            }
        }
        woken
    }

    /// The tasks whose lease has run out.
    pub fn expired(&self, now: Timestamp) -> Vec<(TaskId, Running)> {
        self.tasks_of(|layer| &layer.leased)
            .filter(|(_, running)| running.expires <= now)
            .map(|(task, running)| (task, running.clone()))
            .collect()
    }

    fn tasks_of<'a, T: 'a>(
        &'a self,
        pick: impl Fn(&'a Layer) -> &'a std::collections::BTreeMap<u64, T>,
    ) -> impl Iterator<Item = (TaskId, &'a T)> {
        let job = self.snapshot.job;
        self.layers.iter().enumerate().flat_map(move |(layer, state)| {
            let layer = layer as u8; // At most 255 layers; checked at submit.
            pick(state).iter().map(move |(&index, value)| (TaskId { job, layer, index }, value))
        })
    }

    pub fn cancel(&mut self) {
        self.cancelled = true;
        for layer in &mut self.layers {
            layer.leased.clear();
            layer.delayed.clear();
            layer.history.retain(|index, _| layer.failed.contains(index));
            layer.cancelled = layer.spec.tasks - layer.done.count() - layer.failed.len() as u64;
        }
    }

    /// Resets tasks that failed or are done and offers them again. Answers how many.
    pub fn retry(&mut self, layer: usize, indices: &[u64]) -> u64 {
        let reset = indices.iter().filter(|index| self.layers[layer].reset(**index)).count();
        for &index in indices {
            self.offer(layer, index);
        }
        reset as u64
    }

    pub fn state(&self) -> JobState {
        if self.cancelled {
            return JobState::Cancelled;
        }
        if self.layers.iter().all(Layer::is_complete) {
            return JobState::Done;
        }
        let busy = |layer: &Layer| !layer.leased.is_empty() || !layer.delayed.is_empty();
        let failed = self.layers.iter().any(|layer| !layer.failed.is_empty());
        let can_run = |(at, layer): (usize, &Layer)| layer.next(self.below(at)).is_some();
        if failed && !self.layers.iter().any(busy) && !self.layers.iter().enumerate().any(can_run) {
            return JobState::Failed;
        }
        match (self.paused, self.started) {
            (true, _) => JobState::Paused,
            (false, true) => JobState::Running,
            (false, false) => JobState::Waiting,
        }
    }

    pub fn snapshot(&self) -> JobSnapshot {
        let layer = |(at, layer): (usize, &Layer)| LayerSnapshot {
            name: layer.spec.name.clone(),
            dependency: layer.spec.dependency,
            needs: layer.spec.needs.clone(),
            counts: layer.counts(self.below(at)),
        };
        let layers = self.layers.iter().enumerate().map(layer).collect();
        JobSnapshot { layers, ..self.snapshot.clone() }
    }

    pub fn done(&self, layer: u8, each: NonZero<u64>) -> Result<Vec<u64>, QueueError> {
        let none = QueueError::NoSuchTask(TaskId { job: self.snapshot.job, layer, index: 0 });
        let layer = self.layers.get(usize::from(layer)).ok_or(none)?;
        let mut parts = vec![0; layer.spec.tasks.div_ceil(each.get()) as usize];
        for index in layer.done.iter() {
            parts[(index / each) as usize] += 1;
        }
        Ok(parts)
    }

    pub fn tasks(&self, which: &Tasks) -> Vec<TaskSnapshot> {
        let state = |task: TaskId| -> Option<TaskState> {
            let layer = &self.layers[usize::from(task.layer)];
            if let Some(Running { worker, expires, .. }) = layer.leased.get(&task.index) {
                return Some(TaskState::Leased { worker: worker.clone(), expires: *expires });
            }
            if let Some(&until) = layer.delayed.get(&task.index) {
                return Some(TaskState::Delayed { until });
            }
            layer.failed.contains(&task.index).then_some(TaskState::Failed)
        };
        self.tasks_of(|layer| &layer.history)
            .filter(|(task, _)| which.after.is_none_or(|after| (task.layer, task.index) > after))
            .filter_map(|(task, history)| {
                let History { attempt, last_error, .. } = history.clone();
                Some(TaskSnapshot { task, attempt, state: state(task)?, last_error })
            })
            .filter(|task| which.only.is_none_or(|only| task.state.kind() == only))
            .take(usize::try_from(which.most).unwrap_or(usize::MAX))
            .collect()
    }
}
