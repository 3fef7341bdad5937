//! What visitors do to jobs and workers: each a form, an answer, and the page once more.

use askama::Template;
use axum::extract::{Form, Path};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use vqfarm_core::id::RequestId;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;
use super::submit::NOBODY;
use super::{Frame, show};

/// In a page's URL: what has just been done.
#[derive(Deserialize)]
pub struct Said {
    #[serde(default)]
    said: String,
}

impl Said {
    /// It in words; nothing but these words can be said by a URL.
    pub fn note(&self) -> &'static str {
        match self.said.as_str() {
            "submitted" => "The job is submitted.",
            "pause" => "Paused: running tasks are finished, no others begun.",
            "resume" => "It goes on.",
            "cancel" => "Cancelled. Finished pictures stay.",
            "retry" => "Failed tasks are tried again.",
            "keep" => "The chosen cells are rendered to their end.",
            "priority" => "The priority is set.",
            "drain" => "The worker finishes what it has and leaves.",
            "undrain" => "The worker takes work again.",
            _ => "",
        }
    }
}

#[derive(Template)]
#[template(path = "cancel.html")]
struct CancelPage {
    frame: Frame,
    id: String,
    name: String,
    left: u64,
}

/// A cancel cannot be undone, so it is asked about, with and without scripts.
pub async fn ask_to_cancel(visitor: Visitor, Path(id): Path<String>) -> Result<Response, Fault> {
    let found = visitor.farm().get_job(visitor.ask(v1::JobRequest { job: id })).await?;
    let job = found.into_inner().job.unwrap_or_default();
    let counts = job.total();
    let left = counts.tasks.saturating_sub(counts.done);
    let (id, name) = (job.id, job.name);
    show(&CancelPage { frame: visitor.frame("jobs"), id, name, left })
}

pub async fn cancel(visitor: Visitor, Path(job): Path<String>) -> Result<Response, Fault> {
    on_job(visitor, Path((job, "cancel".into())), Form(Fields::default())).await
}

/// The fields of all actions; each has its own.
#[derive(Default, Deserialize)]
pub struct Fields {
    #[serde(default)]
    priority: String,
    /// Cells to keep, as in `3, 7-9`.
    #[serde(default)]
    cells: String,
}

pub async fn on_job(
    visitor: Visitor,
    Path((job, action)): Path<(String, String)>,
    Form(fields): Form<Fields>,
) -> Result<Response, Fault> {
    let farm = visitor.farm();
    let request = v1::JobRequest { job: job.clone() };
    match action.as_str() {
        "pause" => drop(farm.pause(visitor.ask(request)).await?),
        "resume" => drop(farm.resume(visitor.ask(request)).await?),
        "cancel" => drop(farm.cancel(visitor.ask(request)).await?),
        "retry" => {
            let request = v1::RetryRequest { job: job.clone(), ..Default::default() };
            drop(farm.retry(visitor.ask(request)).await?);
        }
        "priority" => {
            let priority = number(&fields.priority)?;
            let request = v1::SetPriorityRequest { job: job.clone(), priority };
            drop(farm.set_priority(visitor.ask(request)).await?);
        }
        "keep" => {
            let request = v1::KeepRequest { job: job.clone(), cells: cells(&fields.cells)? };
            drop(farm.keep(visitor.ask(request)).await?);
        }
        "stitch" => return stitch(&visitor, job, false).await,
        "preview" => return stitch(&visitor, job, true).await,
        _ => return Err(Fault::not_found(format!("{action:?} is nothing that a job can do"))),
    }
    Ok(Redirect::to(&format!("/jobs/{job}?said={action}")).into_response())
}

/// A job of its own over the frames of this one, all of them or those that are there.
async fn stitch(visitor: &Visitor, job: String, partial: bool) -> Result<Response, Fault> {
    let farm = visitor.farm();
    let found = farm.get_job(visitor.ask(v1::JobRequest { job })).await?.into_inner();
    let record: JobRecord = serde_json::from_str(&found.record)
        .map_err(|error| Fault::internal(format!("its job.json cannot be read: {error}")))?;
    let source = found.job.unwrap_or_default();
    let spec = serde_json::to_string(&record.spec)
        .map_err(|error| Fault::internal(format!("the job as JSON: {error}")))?;
    let request = v1::SubmitRequest {
        job: spec,
        request_id: RequestId::generate().to_string(),
        // It takes no time beside the job that it is of, so it need not wait for that one's tasks.
        priority: source.priority.saturating_add(1),
        user: NOBODY.into(),
        frames_of: source.id,
        partial,
        ..v1::SubmitRequest::default()
    };
    let answer = farm.submit(visitor.ask(request)).await?.into_inner();
    let id = answer.job.unwrap_or_default().id;
    Ok(Redirect::to(&format!("/jobs/{id}?said=submitted")).into_response())
}

pub async fn on_worker(
    visitor: Visitor,
    Path((worker, action)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let undo = match action.as_str() {
        "drain" => false,
        "undrain" => true,
        _ => return Err(Fault::not_found(format!("{action:?} is nothing that a worker can do"))),
    };
    visitor.farm().drain(visitor.ask(v1::DrainRequest { worker, undo })).await?;
    Ok(Redirect::to(&format!("/workers?said={action}")).into_response())
}

/// A priority as it was typed.
pub fn number(text: &str) -> Result<i32, Fault> {
    text.trim().parse().map_err(|_| {
        Fault::bad_request(format!("priority: {text:?} is no whole number, as 0, 10 or -5 are"))
    })
}

/// The most cells of one order.
const CELLS: u64 = 10_000;

/// Cells as people list them: `3, 7-9`.
fn cells(text: &str) -> Result<Vec<u64>, Fault> {
    let mut cells = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last && last - first < CELLS => {
                cells.extend(first..=last);
            }
            _ => {
                let message = format!("cells: {part:?} is no cell; write them as in 3, 7-9");
                return Err(Fault::bad_request(message));
            }
        }
        if cells.len() as u64 > CELLS {
            return Err(Fault::bad_request(format!("name up to {CELLS} cells at a time")));
        }
    }
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_listed_as_people_do() {
        assert_eq!(cells(" 3, 7-9 ,12").unwrap(), [3, 7, 8, 9, 12]);
        assert!(cells("").unwrap().is_empty());
        for wrong in ["x", "3-", "-3", "9-7", "0-18446744073709551615", "1-9999,1-9999"] {
            assert!(cells(wrong).is_err(), "{wrong}");
        }
        assert_eq!(number(" -5 ").unwrap(), -5);
        assert!(number("high").is_err());
    }
}
