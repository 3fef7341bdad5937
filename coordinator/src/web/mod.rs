//! The farm's web page: HTML made here, kept up to date by server-sent events.
//!
//! Each page is a client of the very service that the command calls ([`Visitor::ask`]): the same
//! rules, the same checks, the same words. A request passes [`guard`], then becomes a
//! [`Visitor`], then a page.

mod actions;
mod assets;
mod audit;
mod farm;
mod fault;
mod files;
mod guard;
mod job;
mod jobs;
mod live;
mod logs;
mod map;
mod session;
mod sheet;
mod submit;
mod words;
mod workers;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::extract::DefaultBodyLimit;
use axum::extract::connect_info::Connected;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio::sync::watch;
use vqfarm_service::shutdown;

use self::fault::Fault;
use crate::grpc::{Grpc, Peer};
use crate::tls::{self, Tls};

/// Bytes of a form; a job file may be larger.
const FORM: usize = 64 << 10;

/// What all pages share.
#[derive(Clone)]
struct Site(Arc<Shared>);

struct Shared {
    grpc: Grpc,
    /// Whether pages travel by TLS.
    secure: bool,
}

/// Answers until `stop` turns true, then lets answers finish.
///
/// # Errors
/// The server cannot go on.
pub async fn serve(
    grpc: Grpc,
    listener: TcpListener,
    addr: SocketAddr,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let site = Site(Arc::new(Shared { grpc, secure: tls.is_some() }));
    let pages = pages(site).into_make_service_with_connect_info::<Peer>();
    let stopped = async move { shutdown::requested(&mut stop).await };
    match tls {
        Some(tls) => {
            let listener = tls::Listener::new(listener, addr, tls);
            axum::serve(listener, pages).with_graceful_shutdown(stopped).await
        }
        None => axum::serve(listener, pages).with_graceful_shutdown(stopped).await,
    }
}

impl Connected<IncomingStream<'_, TcpListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TcpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Connected<IncomingStream<'_, tls::Listener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, tls::Listener>) -> Self {
        Self(*stream.remote_addr())
    }
}

fn pages(site: Site) -> Router {
    let job_file = site.0.grpc.farm.limits.job.saturating_add(FORM);
    let submit = get(submit::form).post(submit::submit).layer(DefaultBodyLimit::max(job_file));
    Router::new()
        .route("/", get(farm::page))
        .route("/events", get(live::farm))
        .route("/audit", post(audit::audit))
        .route("/reconcile", post(audit::reconcile))
        .route("/jobs", get(jobs::page))
        .route("/jobs/{job}", get(job::page))
        .route("/jobs/{job}/events", get(live::job))
        .route("/jobs/{job}/logs", get(logs::of_job))
        .route("/jobs/{job}/tasks/{layer}/{task}", get(logs::of_task))
        .route("/jobs/{job}/job.json", get(files::record))
        .route("/jobs/{job}/frames/{name}", get(files::frame))
        .route("/jobs/{job}/out/{name}", get(files::output))
        .route("/jobs/{job}/cancel", get(actions::ask_to_cancel).post(actions::cancel))
        .route("/jobs/{job}/{action}", post(actions::on_job))
        .route("/workers", get(workers::page))
        .route("/workers/{worker}/logs", get(logs::of_worker))
        .route("/workers/{worker}/{action}", post(actions::on_worker))
        .route("/login", get(session::form).post(session::log_in))
        .route("/logout", post(session::log_out))
        .route("/static/{name}", get(assets::file))
        .fallback(async || Fault::not_found("there is no such page"))
        .layer(DefaultBodyLimit::max(FORM))
        .merge(Router::new().route("/submit", submit))
        .layer(middleware::from_fn_with_state(site.clone(), guard::check))
        .with_state(site)
}

/// What stands around each page.
struct Frame {
    /// The farm's name.
    farm: String,
    /// Empty where the farm asks for no tokens.
    user: String,
    role: &'static str,
    may_submit: bool,
    may_operate: bool,
    logged_in: bool,
    /// Which part of the navigation the page belongs to.
    section: &'static str,
    /// What an action has just done.
    note: &'static str,
    assets: &'static str,
}

impl Frame {
    /// Around a page for somebody who is not known.
    fn anonymous() -> Self {
        Self {
            farm: String::new(),
            user: String::new(),
            role: "",
            may_submit: false,
            may_operate: false,
            logged_in: false,
            section: "",
            note: "",
            assets: assets::version(),
        }
    }
}

/// A page as an answer. Pages are never kept: the next look may show something else.
fn show(page: &impl Template) -> Result<Response, Fault> {
    let html = page.render().map_err(|error| Fault::internal(format!("a page: {error}")))?;
    Ok(([(CACHE_CONTROL, "no-store")], Html(html)).into_response())
}
