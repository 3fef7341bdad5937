//! Questions, and how long their answers take.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;
use vqfarm_proto::v1::{JobRequest, ListJobsRequest, StatusRequest, TaskMapRequest};

use crate::farm::{BenchFarm, program};

#[derive(Serialize)]
pub struct Latency {
    pub what: &'static str,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub most_ms: f64,
}

#[derive(Clone, Copy)]
pub enum Question {
    Status,
    StatusCommand,
    Jobs,
    DoneJobs,
    Job,
    Why,
    Map,
}

impl Question {
    pub const ALL: [Self; 7] = [
        Self::Status,
        Self::StatusCommand,
        Self::Jobs,
        Self::DoneJobs,
        Self::Job,
        Self::Why,
        Self::Map,
    ];

    fn what(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::StatusCommand => "`vqfarm status`",
            Self::Jobs => "jobs, the first 100",
            Self::DoneJobs => "jobs that are done",
            Self::Job => "job, by a short id",
            Self::Why => "why, of the huge job",
            Self::Map => "map of the huge job",
        }
    }
}

/// Asks so often, one after the other.
pub async fn ask(farm: &BenchFarm, huge: &str, question: Question, times: u32) -> Latency {
    let mut client = farm.client().await;
    let job = JobRequest { job: huge[24..].to_owned() };
    let mut taken = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        match question {
            Question::Status => {
                drop(client.status(StatusRequest::default()).await.expect("an answer"))
            }
            Question::StatusCommand => {
                let mut command = Command::new(program("vqfarm"));
                command.arg("status").env("VQFARM_ADDR", farm.addr()).stdout(Stdio::null());
                let command = tokio::task::spawn_blocking(move || command.status());
                assert!(command.await.expect("no panic").expect("vqfarm").success());
            }
            Question::Jobs => {
                let request = ListJobsRequest { page_size: 100, ..Default::default() };
                drop(client.list_jobs(request).await.expect("an answer"));
            }
            Question::DoneJobs => {
                let state = "done".to_owned();
                let request = ListJobsRequest { page_size: 100, state, ..Default::default() };
                drop(client.list_jobs(request).await.expect("an answer"));
            }
            Question::Job => drop(client.get_job(job.clone()).await.expect("an answer")),
            Question::Why => drop(client.why(job.clone()).await.expect("an answer")),
            Question::Map => {
                let request =
                    TaskMapRequest { job: huge.to_owned(), parts: 1_000, ..Default::default() };
                drop(client.task_map(request).await.expect("an answer"));
            }
        }
        taken.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    taken.sort_by(f64::total_cmp);
    let at = |part: f64| taken[((taken.len() - 1) as f64 * part).round() as usize];
    Latency { what: question.what(), p50_ms: at(0.5), p99_ms: at(0.99), most_ms: at(1.0) }
}
