//! Which traces are made: those of jobs and calls, not of each slice of [`crate::trace`] alone.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Config, SamplingDecision, SamplingResult, ShouldSample};

use crate::trace;

/// A slice goes with what it lies in, and begins no trace: of leasing, heartbeats and the like
/// there would be one every few seconds. All else is decided as the environment says
/// (`OTEL_TRACES_SAMPLER`).
#[derive(Clone, Debug)]
pub struct Within(Box<dyn ShouldSample>);

impl Within {
    pub fn of_environment() -> Self {
        Self(Config::default().sampler)
    }
}

impl ShouldSample for Within {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let target = attributes.iter().find(|attribute| attribute.key.as_str() == "target");
        if target.is_none_or(|target| target.value.as_str() != trace::TARGET) {
            return self.0.should_sample(parent, trace_id, name, kind, attributes, links);
        }
        let around = parent.map(|parent| parent.span().span_context().clone());
        let decision = match around.as_ref().is_some_and(|around| around.is_sampled()) {
            true => SamplingDecision::RecordAndSample,
            false => SamplingDecision::Drop,
        };
        let trace_state =
            around.map_or_else(TraceState::default, |around| around.trace_state().clone());
        SamplingResult { decision, attributes: Vec::new(), trace_state }
    }
}
