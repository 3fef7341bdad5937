//! Jobs, tasks and workers as the pages say them.

use std::collections::HashMap;
use std::time::Duration;

use vqfarm_proto::telling::{self, grouped, span};
use vqfarm_proto::v1;

use crate::grpc::Grpc;

/// A job in a list.
pub struct JobLine {
    pub id: String,
    pub short: String,
    pub name: String,
    pub user: String,
    pub priority: i32,
    pub state: &'static str,
    pub progress: Progress,
    pub failed: u64,
    pub submitted: String,
}

/// How far something is.
pub struct Progress {
    pub done: u64,
    pub tasks: u64,
    pub percent: u64,
}

impl Progress {
    pub fn of(counts: &v1::Counts) -> Self {
        let percent = (counts.done * 100).checked_div(counts.tasks).unwrap_or(100);
        Self { done: counts.done, tasks: counts.tasks, percent }
    }
}

/// Tells times by the farm's clock.
pub struct Clock(i64);

impl Clock {
    pub fn of(grpc: &Grpc) -> Self {
        Self(grpc.farm.now().0)
    }

    /// How long ago a time of the farm is.
    pub fn ago(&self, milliseconds: i64) -> String {
        format!("{} ago", self.since(milliseconds))
    }

    fn since(&self, milliseconds: i64) -> String {
        between(milliseconds, self.0)
    }

    pub fn line(&self, job: &v1::Job) -> JobLine {
        let total = job.total();
        JobLine {
            id: job.id.clone(),
            short: telling::short(&job.id).into(),
            name: job.name.clone(),
            user: job.user.clone(),
            priority: job.priority,
            state: job.state().word(),
            progress: Progress::of(&total),
            failed: total.failed,
            submitted: self.ago(job.submitted),
        }
    }
}

/// The time from one moment to another, both in milliseconds since 1970.
pub fn between(from: i64, to: i64) -> String {
    span(Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or(0)))
}

/// States and how many tasks are in each, without those that none is in.
pub fn tasks(counts: &v1::Counts) -> Vec<(&'static str, String)> {
    let states = [
        ("running", counts.leased),
        ("ready", counts.ready),
        ("blocked", counts.blocked),
        ("delayed", counts.delayed),
        ("done", counts.done),
        ("failed", counts.failed),
        ("cancelled", counts.cancelled),
    ];
    let there = states.into_iter().filter(|(_, count)| *count > 0);
    there.map(|(state, count)| (state, grouped(count))).collect()
}

/// States of jobs or workers in the order of a life, with how many are in each.
pub fn states(counts: &HashMap<String, u64>) -> Vec<(&'static str, String)> {
    let there = telling::in_order(counts).filter(|(_, count)| *count > 0);
    there.map(|(state, count)| (state, grouped(count))).collect()
}

/// A share from 0 to 1 in percent.
pub fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// How many frames an hour are made; none where none are.
pub fn pace(frames_an_hour: f64) -> Option<String> {
    match frames_an_hour {
        pace if pace >= 10.0 => Some(grouped(pace.round() as u64)),
        pace if pace > 0.0 => Some(format!("{pace:.1}")),
        _ => None,
    }
}
