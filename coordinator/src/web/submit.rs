//! Submitting a job from the page: its file is checked, then what it takes is shown, then it is
//! submitted.

use askama::Template;
use axum::extract::Multipart;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use tonic::Status;
use vqfarm_core::cost::{self, DeviceTime, Estimate};
use vqfarm_core::file::{Document, JobError, Limits, Problem};
use vqfarm_core::id::RequestId;
use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::requires::Memory;
use vqfarm_proto::telling::grouped;
use vqfarm_proto::v1::farm_server::Farm as _;
use vqfarm_proto::{Refusal, v1};

use super::actions::number;
use super::fault::Fault;
use super::session::Visitor;
use super::sheet::labels;
use super::{Frame, show};

/// Whose jobs those are that nobody has put a name to.
pub const NOBODY: &str = "web";
/// Cells that are listed beforehand.
const LISTED: u64 = 12;

const EXAMPLE: &str = r#"version = 1
name = "boats"

[render]
generator = "demo-f8"
perceptors = ["demo-clip"]
size = [96, 96]
iterations = 150
step_size = 0.1

[sweep]
prompt = "a {colour} boat on the sea, {style}"

[sweep.axes]
colour = ["white", "red"]
style = ["flat colours", "watercolour painting"]
seed = "1-2"
"#;

#[derive(Template)]
#[template(path = "submit.html")]
struct SubmitPage {
    frame: Frame,
    /// Whether a name is asked for: a farm with tokens knows it.
    asks_name: bool,
    filled: Filled,
    problems: Vec<Shown>,
    refused: String,
    check: Option<Check>,
}

/// The form as it was filled in.
struct Filled {
    job: String,
    format: String,
    priority: String,
    user: String,
    /// The same form sent twice submits one job.
    request: String,
    yes: bool,
    submits: bool,
}

impl Default for Filled {
    fn default() -> Self {
        Self {
            job: EXAMPLE.into(),
            format: "toml".into(),
            priority: "0".into(),
            user: NOBODY.into(),
            request: RequestId::generate().to_string(),
            yes: false,
            submits: false,
        }
    }
}

/// A mistake, where it stands.
struct Shown {
    at: String,
    text: String,
    line: String,
    carets: String,
}

/// What a job would be and take.
struct Check {
    name: String,
    sentence: String,
    layers: Vec<(String, String)>,
    cells: Vec<String>,
    more: String,
    obstacles: Vec<v1::Reason>,
    is_large: bool,
}

/// Why a job is not submitted.
enum Refused {
    /// Mistakes in its file.
    File(JobError),
    Farm(Fault),
}

impl From<JobError> for Refused {
    fn from(error: JobError) -> Self {
        Self::File(error)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Farm(fault)
    }
}

pub async fn form(visitor: Visitor) -> Result<Response, Fault> {
    show(&page(&visitor, Filled::default()))
}

fn page(visitor: &Visitor, filled: Filled) -> SubmitPage {
    SubmitPage {
        frame: visitor.frame("submit"),
        asks_name: !visitor.is_named(),
        filled,
        problems: Vec::new(),
        refused: String::new(),
        check: None,
    }
}

pub async fn submit(visitor: Visitor, form: Multipart) -> Result<Response, Fault> {
    let filled = read(form).await?;
    match look(&visitor, &filled).await {
        Ok((job, answer)) => {
            let check = check(&job, &answer);
            if filled.submits && (filled.yes || !check.is_large) {
                match send(&visitor, &filled, &job, false).await {
                    Ok(answer) => {
                        let id = answer.job.unwrap_or_default().id;
                        let path = format!("/jobs/{id}?said=submitted");
                        return Ok(Redirect::to(&path).into_response());
                    }
                    Err(status) => return refuse(&visitor, filled, Refused::Farm(status.into())),
                }
            }
            show(&SubmitPage { check: Some(check), ..page(&visitor, filled) })
        }
        Err(refused) => refuse(&visitor, filled, refused),
    }
}

/// The form again with what is wrong.
fn refuse(visitor: &Visitor, filled: Filled, refused: Refused) -> Result<Response, Fault> {
    let mut again = page(visitor, filled);
    let status = match refused {
        Refused::File(error) => {
            again.problems = error.problems.iter().map(shown).collect();
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Refused::Farm(fault) => {
            again.refused = fault.message().to_owned();
            fault.status()
        }
    };
    Ok((status, show(&again)?).into_response())
}

async fn read(mut form: Multipart) -> Result<Filled, Fault> {
    let mut filled = Filled { job: String::new(), ..Filled::default() };
    let wrong = |error: axum::extract::multipart::MultipartError| {
        Fault::new(error.status(), error.body_text())
    };
    while let Some(field) = form.next_field().await.map_err(wrong)? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(wrong)?;
        let text = || String::from_utf8_lossy(&bytes).into_owned();
        match name.as_str() {
            "job" if filled.job.is_empty() => filled.job = text().replace("\r\n", "\n"),
            // A file beside the text counts.
            "file" if !bytes.is_empty() => {
                filled.job = text();
                if let Some((_, ending)) = file.rsplit_once('.') {
                    filled.format = ending.to_ascii_lowercase();
                }
            }
            "format" => filled.format = text(),
            "priority" => filled.priority = text(),
            "user" => filled.user = text(),
            "request" => filled.request = text(),
            "yes" => filled.yes = true,
            "do" => filled.submits = text() == "submit",
            _ => (),
        }
    }
    Ok(filled)
}

/// The job, checked here and by the farm, and what it will take.
async fn look(visitor: &Visitor, filled: &Filled) -> Result<(Job, v1::SubmitResponse), Refused> {
    let name = format!("job.{}", filled.format);
    let document = Document::parse(&name, filled.job.as_bytes())?;
    let no_files = |path: &str| {
        let message = format!("{path} is a file of yours; submit such a job with `vqfarm submit`");
        Err(std::io::Error::other(message))
    };
    let limits = Limits { cells: visitor.farm().farm.limits.cells };
    let job = document.job(limits, no_files)?;
    let assets = job.assets().into_iter().map(|asset| {
        let message = format!("{} is a file of yours", asset.path);
        let help = Some("submit such a job with `vqfarm submit`".to_owned());
        FieldError { help, ..FieldError::new(asset.field, message) }
    });
    let assets: Vec<FieldError> = assets.collect();
    if !assets.is_empty() {
        return Err(document.refuse(assets).into());
    }
    number(&filled.priority)?;
    match send(visitor, filled, &job, true).await {
        Ok(answer) => Ok((job, answer)),
        Err(status) => match Refusal::of(&status) {
            // Shown where they stand in the file.
            Some(refusal) if !refusal.fields.is_empty() => {
                Err(document.refuse(refusal.fields).into())
            }
            _ => Err(Refused::Farm(status.into())),
        },
    }
}

async fn send(
    visitor: &Visitor,
    filled: &Filled,
    job: &Job,
    dry_run: bool,
) -> Result<v1::SubmitResponse, Status> {
    let json = serde_json::to_string(job)
        .map_err(|error| Status::internal(format!("the job as JSON: {error}")))?;
    let request = v1::SubmitRequest {
        request_id: request_id(filled),
        job: json,
        priority: number(&filled.priority).unwrap_or(0),
        user: filled.user.trim().to_owned(),
        dry_run,
        ..v1::SubmitRequest::default()
    };
    Ok(visitor.farm().submit(visitor.ask(request)).await?.into_inner())
}

/// The form sent again is the same job, unless something in it was changed.
fn request_id(filled: &Filled) -> String {
    let Filled { job, format, priority, user, request, .. } = filled;
    let hash = Sha256::digest([job, format, priority, user].map(String::as_str).join("\n"));
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{request}-{hash}")
}

fn shown(problem: &Problem) -> Shown {
    let Problem { field, message, help, place, .. } = problem;
    let help = help.as_ref().map_or(String::new(), |help| format!("; {help}"));
    let field = if field.is_empty() { String::new() } else { format!("{field}: ") };
    let at = place
        .as_ref()
        .map_or(String::new(), |at| format!("line {}, column {}", at.line, at.column));
    let line = place.as_ref().map_or(String::new(), |at| at.text.clone());
    let carets = place.as_ref().map_or(String::new(), |at| {
        " ".repeat(at.column.saturating_sub(1)) + &"^".repeat(at.width)
    });
    Shown { at, text: format!("{field}{message}{help}"), line, carets }
}

fn check(job: &Job, answer: &v1::SubmitResponse) -> Check {
    let is_sweep = job.animation.is_none();
    let found = answer.job.clone().unwrap_or_default();
    let estimate = answer.estimate.clone().map(estimated).unwrap_or_default();
    let sweep = if is_sweep { job.cells().ok() } else { None };
    let mut cells = Vec::new();
    for index in 0..sweep.as_ref().map_or(0, |sweep| sweep.len().min(LISTED)) {
        let labels = sweep.iter().flat_map(|sweep| labels(sweep, index));
        cells.push(labels.map(|label| label.value).collect::<Vec<_>>().join(" · "));
    }
    // A job of one cell has no labels.
    cells.retain(|cell| !cell.is_empty());
    let more = sweep.as_ref().map_or(0, |sweep| sweep.len().saturating_sub(LISTED));
    let layer =
        |layer: &v1::Layer| (layer.name.clone(), grouped(layer.counts.unwrap_or_default().tasks));
    let waits = ["no_workers", "tags", "memory", "fit", "draining", "queue"];
    Check {
        name: found.name,
        sentence: estimate.sentence(is_sweep),
        layers: found.layers.iter().map(layer).collect(),
        cells,
        more: if more > 0 { grouped(more) } else { String::new() },
        obstacles: answer
            .reasons
            .iter()
            .filter(|r| waits.contains(&r.kind.as_str()))
            .cloned()
            .collect(),
        is_large: estimate.is_large(is_sweep, cost::LARGE_CELLS, cost::LARGE_HOURS),
    }
}

fn estimated(estimate: v1::Estimate) -> Estimate {
    let v1::Estimate { frames, iterations, device_seconds, device, memory } = estimate;
    let time = device_seconds.map(|seconds| DeviceTime { seconds, device });
    let memory = (memory > 0).then(|| Memory::of_bytes(memory).ok()).flatten();
    Estimate { frames, iterations, time, memory }
}
