//! The first page: the farm at a glance, as `vqfarm status` says it.

use askama::Template;
use axum::response::Response;
use vqfarm_proto::telling::{memory, short, span};
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;
use super::words::{self, Clock, JobLine};
use super::{Frame, show};

/// Jobs that are shown here; all are on their own page.
const JOBS: u32 = 12;

#[derive(Template)]
#[template(path = "farm.html")]
struct FarmPage {
    frame: Frame,
    word: String,
    meaning: &'static str,
    version: String,
    tasks: Vec<(&'static str, String)>,
    job_states: Vec<(&'static str, String)>,
    groups: Vec<Group>,
    pace: String,
    left: String,
    waiting: Option<JobLine>,
    reasons: Vec<v1::Reason>,
    failures: Vec<Failure>,
    health: Vec<v1::Health>,
    jobs: Vec<JobLine>,
}

/// Workers that do the same.
struct Group {
    state: &'static str,
    workers: u64,
    memory: String,
    busy: String,
}

struct Failure {
    tasks: u64,
    message: String,
    job: String,
    short: String,
}

pub async fn page(visitor: Visitor) -> Result<Response, Fault> {
    let farm = visitor.farm();
    let listing = v1::ListJobsRequest { page_size: JOBS, ..v1::ListJobsRequest::default() };
    let status = farm.status(visitor.ask(v1::StatusRequest::default())).await?.into_inner();
    // What the queue knows cannot be told while it does not answer; the rest can.
    let jobs = match farm.list_jobs(visitor.ask(listing)).await {
        Ok(jobs) => jobs.into_inner().jobs,
        Err(_) => Vec::new(),
    };
    let clock = Clock::of(farm);
    let meaning = match status.word.as_str() {
        "idle" => "nothing to do",
        "working" => "workers render",
        "waiting" => "there is work, and nobody does it",
        _ => "the queue or the storage needs you",
    };
    let failure = |failure: v1::Failure| Failure {
        tasks: failure.tasks,
        message: failure.message,
        short: short(&failure.job).into(),
        job: failure.job,
    };
    let left = match status.seconds_left {
        0 => String::new(),
        seconds => span(std::time::Duration::from_secs(seconds)),
    };
    show(&FarmPage {
        frame: visitor.frame("farm"),
        meaning,
        version: status.version,
        tasks: words::tasks(&status.tasks.unwrap_or_default()),
        job_states: words::states(&status.jobs),
        groups: status.groups.iter().map(group).collect(),
        pace: words::pace(status.frames_an_hour).unwrap_or_default(),
        left,
        waiting: status.oldest_waiting.as_ref().map(|job| clock.line(job)),
        reasons: status.oldest_reasons,
        failures: status.failures.into_iter().map(failure).collect(),
        health: status.health,
        jobs: jobs.iter().map(|job| clock.line(job)).collect(),
        word: status.word,
    })
}

fn group(group: &v1::WorkerGroup) -> Group {
    Group {
        state: group.state().word(),
        workers: group.workers,
        memory: memory(group.memory),
        busy: group.busy.map(words::percent).unwrap_or_default(),
    }
}
