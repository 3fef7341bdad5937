//! Server-sent events: the page asks for itself again when one comes.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::Path;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::stream::{Stream, StreamExt};
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;

/// After how long a page asks again that has lost the coordinator.
const AGAIN: Duration = Duration::from_secs(2);

type Events<S> = Result<Sse<axum::response::sse::KeepAliveStream<S>>, Fault>;

/// Tells of changes in the farm.
pub async fn farm(visitor: Visitor) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = visitor.farm().changes(visitor.ask(v1::ChangesRequest {})).await?.into_inner();
    let events = changes.take_while(|change| std::future::ready(change.is_ok()));
    Ok(stream(events.map(|_| Ok(changed()))))
}

/// Tells of changes of a job, and when it is over.
pub async fn job(
    visitor: Visitor,
    Path(job): Path<String>,
) -> Events<impl Stream<Item = Result<Event, Infallible>>> {
    let request = visitor.ask(v1::JobRequest { job });
    let changes = visitor.farm().watch(request).await?.into_inner();
    let mut last: Option<v1::Job> = None;
    let events = changes.take_while(|change| std::future::ready(change.is_ok()));
    let events = events.filter_map(move |change| {
        let job = change.ok().and_then(|change| change.job);
        let over = job.as_ref().is_some_and(|job| job.state().is_final());
        // The service tells of a job again although nothing has changed.
        let event = match (over, job == last) {
            (true, _) => Some(Event::default().event("over").data("over").retry(AGAIN)),
            (false, true) => None,
            (false, false) => Some(changed()),
        };
        last = job;
        std::future::ready(event.map(Ok))
    });
    Ok(stream(events))
}

fn changed() -> Event {
    Event::default().data("changed").retry(AGAIN)
}

fn stream<S>(events: S) -> Sse<axum::response::sse::KeepAliveStream<S>>
where
    S: Stream<Item = Result<Event, Infallible>> + Send + 'static,
{
    Sse::new(events).keep_alive(KeepAlive::default())
}
