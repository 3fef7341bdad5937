//! What is found out about the chosen job and worker, again and again.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tonic::Status;
use vqfarm_proto::v1::*;

use super::event::{Detail, Event, Wish};
use super::link::in_time;
use super::picture::Painter;
use crate::farm::client::Farm;

/// How often the same is asked again.
const AGAIN: Duration = Duration::from_secs(2);
/// Tasks whose logs are shown.
const LOGS: u32 = 6;

/// Asks for what is wished until nobody wishes any more.
pub async fn follow(
    mut farm: Farm,
    mut wishes: watch::Receiver<Wish>,
    mut painter: Option<Painter>,
    events: UnboundedSender<Event>,
) {
    loop {
        let wish = wishes.borrow_and_update().clone();
        // What cannot be had now is asked for again; the overview tells who is away.
        if let Ok(detail) = detail(&mut farm, &wish).await
            && events.send(Event::Detail(Box::new(detail))).is_err()
        {
            return;
        }
        if let Some(painter) = &mut painter
            && let Ok(Some(picture)) = painter.newest(&mut farm, &wish).await
            && events.send(Event::Picture(picture)).is_err()
        {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => (),
            changed = wishes.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn detail(farm: &mut Farm, wish: &Wish) -> Result<Detail, Status> {
    let mut detail = Detail { of: wish.clone(), ..Detail::default() };
    let Some(job) = &wish.job else { return Ok(detail) };
    let request =
        TaskMapRequest { job: job.clone(), layer: wish.layer.clone(), parts: wish.parts.max(1) };
    // A coordinator of before has no maps.
    detail.map = in_time(farm.task_map(request)).await.ok();
    detail.reasons = in_time(farm.why(JobRequest { job: job.clone() })).await?.reasons;
    let mut request = LogsRequest { last: LOGS, ..LogsRequest::default() };
    match &wish.worker {
        Some(worker) => request.worker.clone_from(worker),
        None => request.job.clone_from(job),
    }
    let mut logs = in_time(farm.logs(request)).await?;
    while let Some(log) = logs.message().await? {
        detail.logs.push(log);
    }
    Ok(detail)
}
