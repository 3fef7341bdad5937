//! How a trace goes on elsewhere: as a W3C `traceparent`, and from span to span within a program.

use std::collections::HashMap;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry::{Context, Value};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The variable by which a program hands its trace to those that it starts.
pub const TRACEPARENT: &str = "TRACEPARENT";
/// The header, and what a propagator asks for.
const HEADER: &str = "traceparent";

/// A span as a W3C `traceparent`: 55 characters; none where traces are not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut headers = HashMap::new();
    inject(span, &mut headers);
    headers.remove(HEADER)
}

/// The trace that a span is of, as 32 hexadecimal digits.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| context.trace_id().to_string())
}

/// Makes a new span go on with the trace of a `traceparent`. One that is malformed is none: who
/// asks for a trace in vain is served all the same.
pub fn continued(span: &Span, traceparent: Option<&str>) {
    if let Some(traceparent) = traceparent {
        extract(span, &carrier(traceparent));
    }
}

/// The `traceparent` that this program was started with, if it is one.
pub fn from_environment() -> Option<String> {
    std::env::var(TRACEPARENT).ok().filter(|text| context(&carrier(text)).is_some())
}

/// Makes a new span a part of what the first of `all` do together; the others refer to it.
pub fn join(span: &Span, all: &[Span]) {
    let Some((first, others)) = all.split_first() else { return };
    // A span that nobody exports has no parent.
    let _ = span.set_parent(first.context());
    let together = span.context().span().span_context().clone();
    for other in others {
        other.add_link(together.clone());
    }
}

/// Adds a field to a span that only exported spans have.
pub fn note(span: &Span, field: &'static str, value: impl Into<Value>) {
    span.set_attribute(field, value);
}

/// Says that what the span is of did not succeed. Why is in the logs: a message may quote what is
/// not to leave the farm.
pub fn fail(span: &Span) {
    span.set_status(Status::error(""));
}

pub(super) fn inject(span: &Span, carrier: &mut dyn Injector) {
    TraceContextPropagator::new().inject_context(&span.context(), carrier);
}

pub(super) fn extract(span: &Span, carrier: &dyn Extractor) {
    if let Some(context) = context(carrier) {
        // A span that nobody exports has no parent.
        let _ = span.set_parent(context);
    }
}

fn carrier(traceparent: &str) -> HashMap<String, String> {
    HashMap::from([(HEADER.to_owned(), traceparent.to_owned())])
}

fn context(carrier: &dyn Extractor) -> Option<Context> {
    let context = TraceContextPropagator::new().extract(carrier);
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}
