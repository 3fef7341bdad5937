//! OpenTelemetry: one trace from a command through the coordinator to what each worker does for
//! the job, exported by OTLP where the standard variables say so (`OTEL_EXPORTER_OTLP_ENDPOINT`
//! and its like).
//!
//! What is exported are spans of the target [`TARGET`], the attempts of tasks (spans of the level
//! `INFO`), and the slices of [`crate::trace`] that lie within one of these. Which of their fields
//! are told, and by which names, is said in one place ([`conventions`]); what is logged within
//! them is not exported.

mod context;
mod conventions;
mod exporter;
mod health;
mod rpc;
mod sampler;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Runtime;
use tracing::{Level, Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, Filtered, filter_fn};
use tracing_subscriber::registry::LookupSpan;

pub use self::context::{
    TRACEPARENT, continued, fail, from_environment, join, note, trace_id, traceparent,
};
pub use self::rpc::{Calls, ServerCalls};

use self::conventions::Conventional;
use self::exporter::Endpoint;
use self::health::Health;
use self::sampler::Within;
use crate::trace;

/// Spans of this target are exported and nothing else is done with them. They are of the level
/// `TRACE`, so that logs do not show them unless asked.
pub const TARGET: &str = "vqfarm_telemetry";

/// How long the end of a program waits for the last spans to be delivered.
const LAST: Duration = Duration::from_secs(2);

/// Whether [`start`] has begun to export.
static ON: AtomicBool = AtomicBool::new(false);

/// The layer that makes spans of what happens.
pub type Spans<S> = Filtered<OpenTelemetryLayer<S, SdkTracer>, FilterFn<Exported>, S>;

type Exported = fn(&Metadata<'_>) -> bool;

/// The far end of the spans. A collector that is away costs a warning and the spans, nothing else.
#[derive(Default)]
pub struct Exporting {
    provider: Option<SdkTracerProvider>,
    health: Health,
    /// A connection lives on it.
    runtime: Option<Runtime>,
}

/// Begins to export the spans of `program`; no layer where the environment does not ask for it, or
/// not in a way that is of use ([`Exporting::warn`] says so).
pub fn start<S>(program: &'static str) -> (Option<Spans<S>>, Exporting)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(endpoint) = Endpoint::of_environment() else { return (None, Exporting::default()) };
    let health = Health::of(&endpoint);
    let (exporter, runtime) = match endpoint.open() {
        Ok(opened) => opened,
        Err(unusable) => {
            health.failed(&unusable.to_string());
            return (None, Exporting { health, ..Exporting::default() });
        }
    };
    let provider = SdkTracerProvider::builder()
        .with_resource(resource(program))
        .with_sampler(Within::of_environment())
        .with_batch_exporter(Conventional::new(exporter, health.clone()))
        .build();
    ON.store(true, Ordering::Relaxed);
    (Some(layer(&provider)), Exporting { provider: Some(provider), health, runtime })
}

fn layer<S>(provider: &SdkTracerProvider) -> Spans<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("vqfarm"))
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        // By it the sampler knows slices.
        .with_target(true)
        .with_filter(filter_fn(is_exported as Exported))
}

/// Whether this process exports traces.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

fn is_exported(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let is_attempt = || *metadata.level() <= Level::INFO && target.starts_with("vqfarm_");
    metadata.is_span() && (target == TARGET || target == trace::TARGET || is_attempt())
}

/// What a program says of itself; what the environment says wins.
fn resource(program: &'static str) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version.clone()).build();
    let name = resource.get(&Key::from_static_str("service.name"));
    match name.is_some_and(|name| !name.as_str().starts_with("unknown_service")) {
        true => resource,
        false => Resource::builder().with_attribute(version).with_service_name(program).build(),
    }
}

impl Exporting {
    /// Logs what makes exporting impossible; for when logging has begun.
    pub fn warn(&self) {
        if let Some(problem) = self.health.problem() {
            tracing::warn!(problem, "no traces are exported");
        }
    }

    /// Delivers what is left, for some seconds at most; answers with why the last spans did not
    /// arrive.
    pub fn end(mut self) -> Option<String> {
        if let Some(provider) = self.provider.take()
            && provider.shutdown_with_timeout(LAST).is_err()
        {
            self.health.failed("the collector did not answer in time");
        }
        if let Some(runtime) = self.runtime.take() {
            // A call without an answer holds up nobody.
            runtime.shutdown_background();
        }
        self.health.problem()
    }
}

#[cfg(test)]
mod tests;
