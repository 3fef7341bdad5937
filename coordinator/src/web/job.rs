//! A job: how far it is, its pictures as they come, what failed, what can be done.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use axum::response::{IntoResponse, Redirect, Response};
use futures::future::try_join_all;
use serde::Deserialize;
use tonic::Status;
use vqfarm_core::access::Right;
use vqfarm_core::ending::cause;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_core::record::JobRecord;
use vqfarm_proto::telling::{self, count};
use vqfarm_proto::v1;
use vqfarm_proto::v1::JobState;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::actions::Said;
use super::fault::Fault;
use super::map::{self, Map};
use super::session::Visitor;
use super::sheet::{PAGE, Pages, Sheet};
use super::words::{self, Clock, JobLine, between};
use super::{Frame, show};
use crate::why::first_line;

/// Layers whose maps are shown.
const MAPS: usize = 8;
/// Tasks that run or have failed that are looked at.
const TASKS: u32 = 1000;
/// Failed tasks of one cause that are named.
const NAMED: usize = 10;

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    frame: Frame,
    job: JobLine,
    is_over: bool,
    /// Said aloud when it changes, so not of every task.
    said: String,
    facts: Vec<(&'static str, String)>,
    tasks: Vec<(&'static str, String)>,
    reasons: Vec<v1::Reason>,
    /// Somebody can do something about one of them.
    is_stuck: bool,
    sheet: Option<Sheet>,
    /// The path of the frame that was made last, of a film that is being made.
    newest: String,
    film: Option<Film>,
    outputs: Vec<Output>,
    maps: Vec<Map>,
    more_layers: usize,
    failures: Vec<Failure>,
    storage: String,
    can: Can,
}

/// What the visitor can do to the job now.
#[derive(Default)]
struct Can {
    pause: bool,
    resume: bool,
    cancel: bool,
    retry: bool,
    prioritise: bool,
    keep: bool,
    stitch: bool,
    preview: bool,
}

/// What a browser can play, or show.
struct Film {
    url: String,
    is_picture: bool,
}

struct Output {
    name: String,
    url: String,
}

/// Tasks that failed of the same thing.
struct Failure {
    message: String,
    count: u64,
    /// Layer and number of the first ones.
    tasks: Vec<(String, u64)>,
}

#[derive(Deserialize)]
pub struct Asked {
    /// The page with this picture is shown.
    #[serde(default)]
    from: u64,
}

/// What the service says of a job.
struct Looked {
    job: v1::Job,
    record: Option<JobRecord>,
    plan: Option<Plan>,
    taken_over: u64,
    storage: String,
    pages: Pages,
    files: v1::ListFilesResponse,
    tasks: Vec<v1::Task>,
    reasons: Vec<v1::Reason>,
    maps: Vec<Map>,
}

pub async fn page(
    visitor: Visitor,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    Query(said): Query<Said>,
) -> Result<Response, Fault> {
    let looked = look(&visitor, &id, asked.from).await?;
    let Looked { job, record, plan, pages, files, tasks, reasons, .. } = looked;
    if job.id != id {
        return Ok(Redirect::to(&format!("/jobs/{}", job.id)).into_response());
    }
    let clock = Clock::of(visitor.farm());
    let line = clock.line(&job);
    let source = record.as_ref().and_then(|record| record.source);
    let mut facts = facts(&job, &clock);
    facts.extend(left(&visitor, &job).await?.map(|left| ("time left", left)));
    if looked.taken_over > 0 {
        facts.push(("taken over", count(looked.taken_over, "cell")));
    }
    facts.extend(source.map(|source| ("frames of", format!("job {}", source.job.short()))));
    let mut frame = visitor.frame("jobs");
    frame.note = said.note();
    let can = can(&visitor, &job, record.as_ref(), !files.frames.is_empty());
    let newest = newest(&visitor, &job, record.as_ref()).await?;
    let sheet = match (&record, plan) {
        (Some(record), Some(plan)) if source.is_none() => {
            Some(Sheet::new(record, &plan, pages, &files, &tasks))
        }
        _ => None,
    };
    show(&JobPage {
        said: format!("{}, {} % done", line.state, line.progress.percent / 10 * 10),
        is_over: job.state().is_final(),
        facts,
        tasks: words::tasks(&job.total()),
        is_stuck: reasons.iter().any(|reason| !reason.remedy.is_empty()),
        reasons,
        sheet,
        newest,
        film: film(&job, &files.outputs),
        outputs: outputs(&job, &files.outputs),
        maps: looked.maps,
        more_layers: job.layers.len().saturating_sub(MAPS),
        failures: failures(&tasks),
        storage: looked.storage,
        can,
        job: line,
        frame,
    })
}

async fn look(visitor: &Visitor, id: &str, from: u64) -> Result<Looked, Status> {
    let farm = visitor.farm();
    let request = || visitor.ask(v1::JobRequest { job: id.into() });
    let found = farm.get_job(request()).await?.into_inner();
    let job = found.job.unwrap_or_default();
    let record: Option<JobRecord> = serde_json::from_str(&found.record).ok();
    let plan = record.as_ref().and_then(|record| record.plan().ok());
    let pages = Pages::at(from, plan.as_ref().map_or(0, Plan::frames));
    let first_frame = pages.range.start;
    let files = v1::ListFilesRequest { job: id.into(), first_frame, frames: PAGE as u32 };
    let tasks = v1::ListTasksRequest { job: id.into(), page_size: TASKS, ..Default::default() };
    let (files, tasks, mut reasons, maps) = tokio::try_join!(
        async { Ok(farm.list_files(visitor.ask(files)).await?.into_inner()) },
        async { Ok(farm.list_tasks(visitor.ask(tasks)).await?.into_inner().tasks) },
        async { Ok(farm.why(request()).await?.into_inner().reasons) },
        try_join_all(job.layers.iter().take(MAPS).map(|layer| map_of(visitor, id, layer))),
    )?;
    // What runs is no trouble, and what failed has its own place.
    reasons.retain(|reason| !["running", "failed"].contains(&reason.kind.as_str()));
    let v1::GetJobResponse { storage, taken_over, .. } = found;
    Ok(Looked { job, record, plan, taken_over, storage, pages, files, tasks, reasons, maps })
}

async fn map_of(visitor: &Visitor, job: &str, layer: &v1::Layer) -> Result<Map, Status> {
    let request =
        v1::TaskMapRequest { job: job.into(), layer: layer.name.clone(), parts: map::PARTS };
    let answer = visitor.farm().task_map(visitor.ask(request)).await?.into_inner();
    Ok(Map::new(layer, &answer.parts))
}

/// The path of the frame that was made last, of a film that is being made.
async fn newest(
    visitor: &Visitor,
    job: &v1::Job,
    record: Option<&JobRecord>,
) -> Result<String, Status> {
    let is_film = record.is_some_and(|record| record.spec.animation.is_some());
    if !is_film || job.state() != JobState::Running {
        return Ok(String::new());
    }
    let request = v1::NewestFrameRequest { job: job.id.clone(), ..Default::default() };
    Ok(visitor.farm().newest_frame(visitor.ask(request)).await?.into_inner().path)
}

fn facts(job: &v1::Job, clock: &Clock) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("job", telling::short(&job.id).to_owned()),
        ("user", job.user.clone()),
        ("priority", job.priority.to_string()),
        ("submitted", clock.ago(job.submitted)),
    ];
    if job.finished > 0 {
        facts.push(("took", between(job.submitted, job.finished)));
    }
    facts
}

/// How long it takes at the farm's present pace.
async fn left(visitor: &Visitor, job: &v1::Job) -> Result<Option<String>, Status> {
    if job.state() != JobState::Running {
        return Ok(None);
    }
    let status =
        visitor.farm().status(visitor.ask(v1::StatusRequest::default())).await?.into_inner();
    let total = job.total();
    let tasks = total.tasks.saturating_sub(total.done + total.failed + total.cancelled);
    let minutes = tasks as f64 / status.tasks_a_minute;
    let is_known = status.tasks_a_minute > 0.0 && minutes < 1e6;
    let span = std::time::Duration::from_secs_f64(if is_known { minutes * 60.0 } else { 0.0 });
    Ok(is_known.then(|| format!("about {}", telling::span(span))))
}

fn can(visitor: &Visitor, job: &v1::Job, record: Option<&JobRecord>, has_frames: bool) -> Can {
    let state = job.state();
    let counts = job.total();
    let mut can = Can::default();
    if visitor.may_change(&job.user) {
        can.pause = matches!(state, JobState::Waiting | JobState::Running);
        can.resume = state == JobState::Paused;
        can.cancel = !matches!(state, JobState::Done | JobState::Cancelled);
        can.retry = counts.failed > 0 && state != JobState::Cancelled;
        can.prioritise = !state.is_final();
        can.keep = state != JobState::Cancelled
            && record.is_some_and(|record| record.spec.early_stop().is_some());
    }
    if visitor.may(Right::Submit) && record.is_some_and(|record| record.source.is_none()) {
        can.stitch = state == JobState::Done;
        can.preview = !can.stitch && has_frames;
    }
    can
}

/// The film, if there is one that a browser plays.
fn film(job: &v1::Job, outputs: &[String]) -> Option<Film> {
    let plays = ["out/video.mp4", "out/video.webm", "out/video.gif", "out/video.webp"];
    let key = outputs.iter().find(|key| plays.contains(&key.as_str()))?;
    let is_picture = key.ends_with(".gif") || key.ends_with(".webp");
    Some(Film { url: url_of(job, key), is_picture })
}

fn outputs(job: &v1::Job, outputs: &[String]) -> Vec<Output> {
    let prefix = format!("{}/", keys::OUTPUTS);
    // The gallery needs the frames beside it, so it comes with `vqfarm fetch`.
    let shown = outputs.iter().filter(|key| *key != keys::GALLERY);
    let output = |key: &String| Output {
        name: key.strip_prefix(&prefix).unwrap_or(key).to_owned(),
        url: url_of(job, key),
    };
    shown.map(output).collect()
}

/// An output that is made again is another one.
fn url_of(job: &v1::Job, key: &str) -> String {
    format!("/jobs/{}/{key}?v={}", job.id, job.finished)
}

fn failures(tasks: &[v1::Task]) -> Vec<Failure> {
    let mut groups: BTreeMap<String, Failure> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.state == "failed") {
        let message = first_line(&task.last_error);
        let group = groups.entry(cause(message)).or_insert_with(|| Failure {
            message: if message.is_empty() { "no reason given".into() } else { message.into() },
            count: 0,
            tasks: Vec::new(),
        });
        group.count += 1;
        if group.tasks.len() < NAMED {
            group.tasks.push((task.layer.clone(), task.index));
        }
    }
    let mut groups: Vec<Failure> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}
