//! States as one word, the same everywhere: in tables, in JSON, in filters.

use crate::v1::{Counts, Job, JobState, WorkerState};

impl JobState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing happens to the job any more by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

impl WorkerState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

impl Job {
    /// The layers' counts added up.
    pub fn total(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.layers.iter().filter_map(|layer| layer.counts) {
            sum.add(&counts);
        }
        sum
    }
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.done += other.done;
        self.failed += other.failed;
        self.cancelled += other.cancelled;
        self.leased += other.leased;
        self.delayed += other.delayed;
        self.ready += other.ready;
        self.blocked += other.blocked;
    }

    /// Waiting for a worker or for other tasks.
    pub fn waiting(&self) -> u64 {
        self.ready + self.blocked
    }
}
