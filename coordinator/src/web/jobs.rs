//! The list of jobs.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use serde::Deserialize;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;
use super::words::{Clock, JobLine};
use super::{Frame, show};

/// Jobs on a page.
const PAGE: u32 = 100;

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    frame: Frame,
    asked: Asked,
    states: [&'static str; 6],
    jobs: Vec<JobLine>,
    next: String,
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    user: String,
    /// Which page, as the one before has said.
    #[serde(default)]
    page: String,
}

pub async fn page(visitor: Visitor, Query(asked): Query<Asked>) -> Result<Response, Fault> {
    let farm = visitor.farm();
    let listing = v1::ListJobsRequest {
        live: false,
        user: asked.user.trim().into(),
        page_size: PAGE,
        page_token: asked.page.clone(),
        state: asked.state.clone(),
    };
    let answer = farm.list_jobs(visitor.ask(listing)).await?.into_inner();
    let clock = Clock::of(farm);
    show(&JobsPage {
        frame: visitor.frame("jobs"),
        asked,
        states: ["waiting", "running", "paused", "done", "failed", "cancelled"],
        jobs: answer.jobs.iter().map(|job| clock.line(job)).collect(),
        next: answer.next_page_token,
    })
}
