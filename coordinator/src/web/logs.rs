//! What workers logged.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use futures::stream::TryStreamExt;
use vqfarm_proto::telling::short;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;
use super::{Frame, show};

/// Tasks whose logs are shown together.
const LAST: u32 = 12;
/// Characters of one attempt's log that are shown, its end.
const SHOWN: usize = 100_000;

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    frame: Frame,
    title: String,
    back: String,
    back_name: String,
    logs: Vec<Log>,
}

struct Log {
    job: String,
    short: String,
    layer: String,
    index: u64,
    attempt: u32,
    cut: bool,
    text: String,
}

/// Of one task, attempt by attempt.
pub async fn of_task(
    visitor: Visitor,
    Path((job, layer, task)): Path<(String, String, u64)>,
) -> Result<Response, Fault> {
    let title = format!("Log of {layer} {task}");
    let back = (format!("/jobs/{job}"), format!("Job {}", short(&job)));
    let task = Some(task);
    show_logs(visitor, title, back, v1::LogsRequest { job, layer, task, ..Default::default() })
        .await
}

/// Of the tasks of a job that ended last.
pub async fn of_job(visitor: Visitor, Path(job): Path<String>) -> Result<Response, Fault> {
    let title = format!("Latest logs of job {}", short(&job));
    let back = (format!("/jobs/{job}"), format!("Job {}", short(&job)));
    let request = v1::LogsRequest { job, last: LAST, ..Default::default() };
    show_logs(visitor, title, back, request).await
}

/// Of the tasks that a worker ended last.
pub async fn of_worker(visitor: Visitor, Path(worker): Path<String>) -> Result<Response, Fault> {
    let title = format!("Latest logs of worker {worker}");
    let back = ("/workers".to_owned(), "Workers".to_owned());
    let request = v1::LogsRequest { worker, last: LAST, ..Default::default() };
    show_logs(visitor, title, back, request).await
}

async fn show_logs(
    visitor: Visitor,
    title: String,
    (back, back_name): (String, String),
    request: v1::LogsRequest,
) -> Result<Response, Fault> {
    let logs = visitor.farm().logs(visitor.ask(request)).await?.into_inner();
    let log = |log: v1::Log| {
        let (text, cut) = end_of(&log.text);
        Log {
            short: short(&log.job).into(),
            job: log.job,
            layer: log.layer,
            index: log.index,
            attempt: log.attempt,
            text: text.into(),
            cut,
        }
    };
    let logs: Vec<Log> = logs.map_ok(log).try_collect().await?;
    show(&LogsPage { frame: visitor.frame("jobs"), title, back, back_name, logs })
}

/// The end of a text, from the beginning of a line, and whether something is left out.
fn end_of(text: &str) -> (&str, bool) {
    let Some(from) = text.len().checked_sub(SHOWN).filter(|from| *from > 0) else {
        return (text, false);
    };
    let line = text.as_bytes()[from..].iter().position(|b| *b == b'\n');
    (line.map_or("", |at| &text[from + at + 1..]), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_logs_are_cut_between_lines() {
        assert_eq!(end_of("short"), ("short", false));
        let long = "größer\n".repeat(SHOWN / 4);
        let (end, cut) = end_of(&long);
        assert!(cut && end.len() <= SHOWN && end.starts_with("größer\n"));
    }
}
