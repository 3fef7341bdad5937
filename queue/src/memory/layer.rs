//! One layer of a job: which of its tasks wait, run, are done, and what may run next.

use std::collections::{BTreeMap, BTreeSet};

use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::WorkerId;
use vqfarm_core::plan::Dependency;

use super::bitmap::Bitmap;
use crate::{LayerSpec, TaskCounts, Token};

/// A running attempt.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub worker: WorkerId,
    pub token: Token,
    pub expires: Timestamp,
}

/// What is known of a task that has been leased and is not done.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// Leases so far.
    pub attempt: u32,
    /// Attempts that failed or ran out since the last retry by hand.
    pub failures: u32,
    pub last_error: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub spec: LayerSpec,
    /// Tasks from here on have never been leased. Only in layers whose tasks all become
    /// ready at the same moment; the others go by `ready` alone.
    cursor: u64,
    /// Tasks that were offered. Checked again before they count: a task below may have to be
    /// done over, or the layer may not be open yet.
    ready: Bitmap,
    pub done: Bitmap,
    pub leased: BTreeMap<u64, Running>,
    pub delayed: BTreeMap<u64, Timestamp>,
    pub failed: BTreeSet<u64>,
    pub history: BTreeMap<u64, History>,
    pub cancelled: u64,
}

impl Layer {
    pub fn new(spec: LayerSpec) -> Self {
        Self {
            spec,
            cursor: 0,
            ready: Bitmap::default(),
            done: Bitmap::default(),
            leased: BTreeMap::new(),
            delayed: BTreeMap::new(),
            failed: BTreeSet::new(),
            history: BTreeMap::new(),
            cancelled: 0,
        }
    }

    pub fn is_complete(&self) -> bool {
        self.done.count() == self.spec.tasks
    }

    /// All tasks become ready at the same moment.
    fn opens_at_once(&self) -> bool {
        matches!(self.spec.dependency, Dependency::Independent | Dependency::All)
    }

    /// Neither done nor running nor failed nor put off.
    fn is_waiting(&self, index: u64) -> bool {
        index < self.spec.tasks
            && !self.done.get(index)
            && !self.leased.contains_key(&index)
            && !self.delayed.contains_key(&index)
            && !self.failed.contains(&index)
    }

    /// Whether the tasks that this one follows are done.
    pub fn is_free(&self, below: &[Layer], index: u64) -> bool {
        match (self.spec.dependency, below) {
            (Dependency::Independent, _) => true,
            (Dependency::Chain, _) => index == 0 || self.done.get(index - 1),
            (Dependency::Neighbours, [.., below]) => {
                let last = (index + 1).min(below.spec.tasks - 1);
                (index.saturating_sub(1)..=last).all(|i| below.done.get(i))
            }
            (Dependency::All, [_, ..]) => below.iter().all(Layer::is_complete),
            (Dependency::Neighbours | Dependency::All, []) => false,
        }
    }

    /// Makes the task leasable if it may run. Says whether it may.
    pub fn offer(&mut self, below: &[Layer], index: u64) -> bool {
        let may_run = self.may_run(below, index);
        // A layer that opens at once does not offer its tasks again when it opens, so what
        // comes back to it is noted while it is shut, too.
        if may_run || self.opens_at_once() && self.is_waiting(index) && index < self.cursor {
            self.ready.set(index);
        }
        may_run
    }

    /// The first task that may run now.
    pub fn next(&self, below: &[Layer]) -> Option<u64> {
        let mut again = self.ready.next_set(0);
        while let Some(index) = again.filter(|&index| !self.may_run(below, index)) {
            again = self.ready.next_set(index + 1);
        }
        let fresh = self.opens_at_once() && self.is_free(below, self.cursor);
        let fresh = fresh.then(|| self.done.next_clear(self.cursor));
        match (again, fresh.filter(|&index| index < self.spec.tasks)) {
            (Some(again), Some(fresh)) => Some(again.min(fresh)),
            (again, fresh) => again.or(fresh),
        }
    }

    fn may_run(&self, below: &[Layer], index: u64) -> bool {
        self.is_waiting(index) && self.is_free(below, index)
    }

    /// Up to `most` neighbouring tasks, the first of them `first`, taken off the waiting.
    /// In a chain each follows the one before it in the same lease.
    pub fn take(&mut self, below: &[Layer], first: u64, most: u32) -> Vec<u64> {
        let end = first.saturating_add(u64::from(most)).min(self.spec.tasks);
        let chain = self.spec.dependency == Dependency::Chain;
        let tasks: Vec<u64> = (first..end)
            .take_while(|&index| {
                index == first || self.is_waiting(index) && (chain || self.is_free(below, index))
            })
            .collect();
        for &index in &tasks {
            self.ready.clear(index);
            self.cursor = self.cursor.max(index + 1);
        }
        tasks
    }

    /// Forgets a task's troubles and result, so that it can be tried afresh.
    pub fn reset(&mut self, index: u64) -> bool {
        let was_failed = self.failed.remove(&index);
        let was_done = self.done.get(index);
        self.done.clear(index);
        if let Some(history) = self.history.get_mut(&index) {
            history.failures = 0;
        }
        was_failed || was_done
    }

    pub fn counts(&self, below: &[Layer]) -> TaskCounts {
        let (done, failed) = (self.done.count(), self.failed.len() as u64);
        let (leased, delayed) = (self.leased.len() as u64, self.delayed.len() as u64);
        let settled = done + failed + self.cancelled;
        let waiting = self.spec.tasks - settled - leased - delayed;
        let ready = match self.spec.dependency {
            Dependency::Independent => waiting,
            Dependency::All if self.is_free(below, 0) => waiting,
            Dependency::All => 0,
            Dependency::Chain | Dependency::Neighbours => {
                let offered = self.ready.iter();
                offered.filter(|&index| self.may_run(below, index)).count() as u64
            }
        };
        // What is cancelled does not run, whatever it was offered.
        let ready = ready.min(waiting);
        TaskCounts {
            tasks: self.spec.tasks,
            done,
            failed,
            cancelled: self.cancelled,
            leased,
            delayed,
            ready,
            blocked: waiting - ready,
        }
    }
}
