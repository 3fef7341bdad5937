//! The way to the farm: looks at it every second, carries out orders, goes on when the
//! coordinator is back.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;
use tonic::{Response, Status};
use vqfarm_proto::v1::*;

use super::event::{Event, Order, Overview};
use crate::farm::client::{ConnectArgs, Farm};
use crate::farm::show;

/// How often the farm is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A call that is not answered by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Jobs that are listed, the newest ones.
const JOBS: u32 = 200;

/// The farm now.
///
/// # Errors
/// The coordinator does not answer, or refuses.
pub async fn overview(farm: &mut Farm) -> Result<Overview, Status> {
    let status = in_time(farm.status(StatusRequest::default())).await?;
    let listing = ListJobsRequest { page_size: JOBS, ..ListJobsRequest::default() };
    let jobs = in_time(farm.list_jobs(listing)).await?.jobs;
    let workers = in_time(farm.list_workers(ListWorkersRequest {})).await?.workers;
    Ok(Overview { status, jobs, workers })
}

/// Tells of the farm until nobody listens. The connection is made anew by itself.
pub async fn look(mut farm: Farm, connect: ConnectArgs, events: UnboundedSender<Event>) {
    let mut answered = Instant::now();
    loop {
        let event = match overview(&mut farm).await {
            Ok(overview) => {
                answered = Instant::now();
                Event::Overview(Box::new(overview))
            }
            Err(status) => Event::Lost {
                reason: connect.explain(status).to_string(),
                since: answered.elapsed(),
            },
        };
        if events.send(event).is_err() {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Carries out an order and tells what came of it.
pub async fn carry_out(
    mut farm: Farm,
    connect: ConnectArgs,
    order: Order,
    events: UnboundedSender<Event>,
) {
    let told = obey(&mut farm, order).await.map_err(|status| connect.explain(status).to_string());
    // Whoever asked may be gone.
    let _ = events.send(Event::Told(told));
    if let Ok(overview) = overview(&mut farm).await {
        let _ = events.send(Event::Overview(Box::new(overview)));
    }
}

async fn obey(farm: &mut Farm, order: Order) -> Result<String, Status> {
    let about = |job: &Job, what: &str| format!("{} ({}) {what}", job.name, show::short(&job.id));
    Ok(match order {
        Order::Pause { job } => {
            let job = in_time(farm.pause(JobRequest { job })).await?;
            about(&job, "is paused: running tasks are finished, no others begun")
        }
        Order::Resume { job } => about(&in_time(farm.resume(JobRequest { job })).await?, "goes on"),
        Order::Cancel { job } => {
            about(&in_time(farm.cancel(JobRequest { job })).await?, "is cancelled")
        }
        Order::Retry { job } => {
            let request = RetryRequest { job, ..RetryRequest::default() };
            let answer = in_time(farm.retry(request)).await?;
            let job = answer.job.unwrap_or_default();
            match answer.retried {
                0 => about(&job, "has no failed task"),
                n => about(&job, &format!("tries {} again", show::count(n, "task"))),
            }
        }
        Order::Priority { job, priority } => {
            let request = SetPriorityRequest { job, priority };
            let job = in_time(farm.set_priority(request)).await?;
            about(&job, &format!("has priority {}", job.priority))
        }
        Order::Drain { worker, undo } => {
            in_time(farm.drain(DrainRequest { worker: worker.clone(), undo })).await?;
            let what = if undo { "takes work again" } else { "finishes what it has and leaves" };
            format!("{worker} {what}")
        }
    })
}

/// The answer to a call, unless it takes too long.
pub async fn in_time<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match timeout(PATIENCE, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::unavailable(format!("no answer within {}", show::span(PATIENCE)))),
    }
}
