//! A command's own part of the traces that `OTEL_EXPORTER_OTLP_ENDPOINT` asks for.

use std::process::ExitCode;

use tracing::trace_span;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use vqfarm_service::telemetry::{self, TARGET};

use crate::failure::{Failure, report};
use crate::style;

/// Runs the command called `name` within a span, and reports how it ended.
pub fn traced(name: &str, json: bool, run: impl FnOnce() -> Result<ExitCode, Failure>) -> ExitCode {
    let (spans, exporting) = telemetry::start("vqfarm");
    if let Some(spans) = spans {
        tracing_subscriber::registry().with(spans).init();
    }
    let span = trace_span!(target: TARGET, "command", otel.name = format!("vqfarm {name}"));
    telemetry::continued(&span, telemetry::from_environment().as_deref());
    let result = span.in_scope(run);
    if result.is_err() {
        telemetry::fail(&span);
    }
    drop(span);
    let status = report(result, json);
    if let Some(problem) = exporting.end() {
        anstream::eprintln!("{}: no traces were exported: {problem}", style::warning("warning"));
    }
    status
}
