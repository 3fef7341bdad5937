//! What the farm promises, checked; what is amiss, mended.

use askama::Template;
use axum::extract::Form;
use axum::response::Response;
use serde::Deserialize;
use vqfarm_proto::telling::{count, short};
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::session::Visitor;
use super::{Frame, show};

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    title: &'static str,
    sentence: String,
    problems: Vec<Problem>,
    notes: Vec<String>,
    /// Some of the problems can be mended, and were not.
    can_repair: bool,
}

struct Problem {
    job: String,
    short: String,
    kind: String,
    text: String,
    repaired: bool,
}

#[derive(Deserialize)]
pub struct Asked {
    /// Give damaged and missing frames back to the queue.
    #[serde(default)]
    repair: bool,
}

pub async fn audit(visitor: Visitor, Form(asked): Form<Asked>) -> Result<Response, Fault> {
    let request = v1::AuditRequest { job: String::new(), repair: asked.repair };
    let answer = visitor.farm().audit(visitor.ask(request)).await?.into_inner();
    let (jobs, frames) = (count(answer.jobs, "job"), count(answer.frames, "frame"));
    let found = match answer.problems.len() {
        0 => "all is as it must be".to_owned(),
        n => count(n as u64, "problem"),
    };
    let problem = |problem: v1::Problem| Problem {
        short: short(&problem.job).into(),
        job: problem.job,
        kind: problem.kind,
        text: problem.text,
        repaired: problem.repaired,
    };
    let frame = visitor.frame("farm");
    show(&AuditPage {
        title: "Audit",
        sentence: format!("{jobs} and {frames} looked at: {found}"),
        can_repair: frame.may_operate && !asked.repair && !answer.problems.is_empty(),
        problems: answer.problems.into_iter().map(problem).collect(),
        notes: Vec::new(),
        frame,
    })
}

pub async fn reconcile(visitor: Visitor) -> Result<Response, Fault> {
    let answer = visitor.farm().reconcile(visitor.ask(v1::ReconcileRequest {})).await?.into_inner();
    let v1::ReconcileResponse { jobs, restored, frames, notes } = answer;
    let frames =
        if restored > 0 { format!(", with {frames} stored frames") } else { String::new() };
    show(&AuditPage {
        frame: visitor.frame("farm"),
        title: "Reconcile",
        sentence: format!(
            "{} in storage, {restored} put back into the queue{frames}",
            count(jobs, "job")
        ),
        problems: Vec::new(),
        notes,
        can_repair: false,
    })
}
