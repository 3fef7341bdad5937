//! The workers, and what each is doing.

use askama::Template;
use axum::extract::Query;
use axum::response::Response;
use vqfarm_proto::telling::memory;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::actions::Said;
use super::fault::Fault;
use super::session::Visitor;
use super::words::{self, Clock};
use super::{Frame, show};

#[derive(Template)]
#[template(path = "workers.html")]
struct WorkersPage {
    frame: Frame,
    workers: Vec<Worker>,
}

struct Worker {
    id: String,
    state: &'static str,
    draining: bool,
    tags: String,
    memory: String,
    models: String,
    leased: u64,
    busy: String,
    version: String,
    seen: String,
}

pub async fn page(visitor: Visitor, Query(said): Query<Said>) -> Result<Response, Fault> {
    let farm = visitor.farm();
    let answer = farm.list_workers(visitor.ask(v1::ListWorkersRequest {})).await?.into_inner();
    let clock = Clock::of(farm);
    let worker = |worker: v1::Worker| Worker {
        state: worker.state().word(),
        draining: worker.state() == v1::WorkerState::Draining,
        tags: worker.tags.iter().map(|tag| format!("#{tag}")).collect::<Vec<_>>().join(" "),
        memory: memory(worker.memory),
        models: worker.loaded.join(", "),
        leased: worker.leased,
        busy: worker.busy.map(words::percent).unwrap_or_else(|| "–".into()),
        version: if worker.version.is_empty() { "–".into() } else { worker.version.clone() },
        // Workers speak every few seconds: only a silence is worth telling.
        seen: match worker.state() {
            v1::WorkerState::Lost => clock.ago(worker.last_seen),
            _ => "now".into(),
        },
        id: worker.id,
    };
    let mut frame = visitor.frame("workers");
    frame.note = said.note();
    let workers = answer.workers.into_iter().map(worker).collect();
    show(&WorkersPage { frame, workers })
}
