//! Spans of remote procedure calls, on both ends: the caller's trace goes along in the header
//! `traceparent`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use tower::{Layer, Service};
use tracing::field::Empty;
use tracing::{Instrument, Span, trace_span};

use super::TARGET;
use super::context::{extract, fail, inject};

/// Calls of this package are traced; others are of health and the like.
const PACKAGE: &str = "/vqfarm.";
/// No name of a method is longer; whoever calls may write anything there.
const LONGEST: usize = 64;

/// A service each of whose calls has a span, from the call to the beginning of the answer.
#[derive(Clone, Debug)]
pub struct Calls<S> {
    inner: S,
    side: Side,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

impl<S> Calls<S> {
    /// Calls that are made by `inner`.
    pub fn client(inner: S) -> Self {
        Self { inner, side: Side::Client }
    }
}

/// Calls that a server answers.
#[derive(Clone, Copy, Debug)]
pub struct ServerCalls;

impl<S> Layer<S> for ServerCalls {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, side: Side::Server }
    }
}

impl<S, B, A> Service<Request<B>> for Calls<S>
where
    S: Service<Request<B>, Response = Response<A>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let span = span(request.uri().path(), self.side);
        match self.side {
            Side::Client => inject(&span, &mut HeaderInjector(request.headers_mut())),
            Side::Server => extract(&span, &HeaderExtractor(request.headers())),
        }
        let answering = self.inner.call(request).instrument(span.clone());
        Box::pin(async move {
            let answer = answering.await;
            match &answer {
                Ok(answer) => note(&span, answer.headers()),
                Err(_) => fail(&span),
            }
            answer
        })
    }
}

/// The span of a call, by the path that names its method.
fn span(path: &str, side: Side) -> Span {
    let name = path.trim_start_matches('/');
    let Some((service, method)) = name.split_once('/') else { return Span::none() };
    let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._".contains(c));
    if !path.starts_with(PACKAGE) || name.len() > LONGEST || !is_word(service) || !is_word(method) {
        return Span::none();
    }
    let kind = match side {
        Side::Client => "client",
        Side::Server => "server",
    };
    trace_span!(
        target: TARGET,
        "call",
        otel.name = name,
        otel.kind = kind,
        rpc.system = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.grpc.status_code = Empty,
    )
}

/// Notes how the call ended. An answer that is an error has no more than headers; one that has begun
/// counts as well.
fn note(span: &Span, headers: &HeaderMap) {
    let status = headers.get("grpc-status").and_then(|status| status.to_str().ok());
    let code: i64 = status.and_then(|status| status.parse().ok()).unwrap_or_default();
    span.record("rpc.grpc.status_code", code);
    if code != 0 {
        fail(span);
    }
}
