//! What leaves the process of a span: names by convention, and no field that is not named here, so
//! that prompts and secrets stay.

use std::fmt;
use std::time::Duration;

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::health::Health;

/// Fields that are told, and their names. Those of remote procedure calls have theirs already.
const NAMES: [(&str, &str); 15] = [
    ("job", "vqfarm.job"),
    ("layer", "vqfarm.layer"),
    ("index", "vqfarm.task"),
    ("attempt", "vqfarm.attempt"),
    ("outcome", "vqfarm.outcome"),
    ("worker", "vqfarm.worker"),
    ("device", "vqfarm.device"),
    ("cell", "vqfarm.cell"),
    ("pictures", "vqfarm.pictures"),
    ("iterations", "vqfarm.iterations"),
    ("cores", "vqfarm.cores"),
    ("tasks", "vqfarm.tasks"),
    ("bytes", "vqfarm.bytes"),
    ("user", "vqfarm.user"),
    ("dry_run", "vqfarm.dry_run"),
];
const CALLS: &str = "rpc.";

/// Words that are words even where they look like numbers.
const WORDS: [&str; 4] = ["vqfarm.job", "vqfarm.outcome", "vqfarm.worker", "vqfarm.user"];

/// An exporter that tells no more than that.
pub struct Conventional<E> {
    inner: E,
    health: Health,
}

impl<E> Conventional<E> {
    pub fn new(inner: E, health: Health) -> Self {
        Self { inner, health }
    }
}

/// Says nothing of the headers, which are secrets.
impl<E> fmt::Debug for Conventional<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conventional").finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Conventional<E> {
    async fn export(&self, mut spans: Vec<SpanData>) -> OTelSdkResult {
        for span in &mut spans {
            let attributes = std::mem::take(&mut span.attributes);
            span.attributes = attributes.into_iter().filter_map(named).collect();
        }
        let exported = self.inner.export(spans).await;
        match &exported {
            Ok(()) => self.health.delivered(),
            Err(error) => self.health.failed(&error.to_string()),
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

fn named(KeyValue { key, value, .. }: KeyValue) -> Option<KeyValue> {
    let field = key.as_str();
    let name = match NAMES.iter().find(|(known, _)| *known == field) {
        Some((_, name)) => name,
        None if field.starts_with(CALLS) => return Some(KeyValue::new(key, value)),
        None => return None,
    };
    Some(KeyValue::new(Key::from_static_str(name), number(name, value)))
}

/// Unsigned numbers arrive as text.
fn number(name: &str, value: Value) -> Value {
    match &value {
        Value::String(text) if !WORDS.contains(&name) => {
            text.as_str().parse::<i64>().map_or(value, Value::I64)
        }
        _ => value,
    }
}
