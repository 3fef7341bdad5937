//! A trace of what a program does when, in Chrome's trace event format: Perfetto
//! (ui.perfetto.dev) and `chrome://tracing` show it.
//!
//! What is traced are spans of the target [`TARGET`]: each is a slice of a track. A span inside of
//! another traced one lies below it on the same track, so such spans must not overlap; any other
//! has a track of its own name, or of its field `track`, and where several are open at once they
//! lie on tracks `name`, `name 2`, and so on. Further fields are shown with the slice, but for
//! `from` and `to`: an arrow goes from the end of the slice that names something in `from` to the
//! slices that name it in `to`. Events of the target with the fields `counter` and `value` are
//! counters.

mod file;
mod tracks;

use std::fmt::{Debug, Write};
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use file::File;
pub use file::{Guard, MOST};
use tracks::{Track, Tracks};

/// Spans and events of this target are traced. They are of the level `TRACE`, so that logs do
/// not show them unless asked.
pub const TARGET: &str = "vqfarm_trace";

/// A [`Layer`] that writes a trace. Slices are written when they end; a full disk or a slow one
/// loses events and holds nobody up.
pub struct Trace {
    file: File,
    begin: Instant,
    tracks: Mutex<Tracks>,
}

/// What is traced, for [`Layer::with_filter`].
pub fn traced() -> FilterFn<impl Fn(&Metadata<'_>) -> bool + Clone> {
    filter_fn(|metadata| metadata.target() == TARGET)
}

/// An open span.
struct Slice {
    track: Track,
    /// Whether the track is its own, or a traced span's around it.
    own: bool,
    begin: Instant,
    fields: Fields,
}

impl Trace {
    /// Begins a trace of the program called `program`; what the file held is lost. The guard
    /// ends it: without that, as after a crash, the file is a trace all the same.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn start(path: &Path, program: &str) -> io::Result<(Self, Guard)> {
        let (file, guard) = File::start(path, program)?;
        Ok((Self { file, begin: Instant::now(), tracks: Mutex::default() }, guard))
    }

    fn tracks(&self) -> MutexGuard<'_, Tracks> {
        self.tracks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the beginning.
    fn at(&self, then: Instant) -> f64 {
        micros(then.duration_since(self.begin).as_nanos())
    }

    fn write(&self, slice: Slice, name: &str, end: Instant) {
        let Slice { track, begin, fields, .. } = slice;
        let (tid, pid) = (track.id, std::process::id());
        let (begin, duration) = (self.at(begin), micros(end.duration_since(begin).as_nanos()));
        self.file.event(&json!({
            "ph": "X", "name": name, "pid": pid, "tid": tid, "ts": begin, "dur": duration,
            "args": fields.shown,
        }));
        // An arrow's ends must lie within their slices.
        let last = (begin + duration - 0.001).max(begin);
        for (ph, ids, ts) in [("s", fields.from, last), ("f", fields.to, begin)] {
            for id in ids.split_whitespace() {
                self.file.event(&json!({
                    "ph": ph, "bp": "e", "name": "task", "cat": "task", "id": id,
                    "pid": pid, "tid": tid, "ts": ts,
                }));
            }
        }
    }
}

fn micros(nanos: u128) -> f64 {
    nanos as f64 / 1e3
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Trace {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let around = span.scope().skip(1).find_map(|outer| {
            let extensions = outer.extensions();
            extensions.get::<Slice>().map(|slice| slice.track)
        });
        let own = around.is_none();
        let track = around.unwrap_or_else(|| {
            let name = fields.track.as_deref().unwrap_or(span.name());
            let (track, is_new) = self.tracks().take(name);
            if let Some(name) = is_new {
                self.file.track(track.id, &name);
            }
            track
        });
        // After the track was free.
        let begin = Instant::now();
        span.extensions_mut().insert(Slice { track, own, begin, fields });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(slice) = span.extensions_mut().get_mut::<Slice>() {
            values.record(&mut slice.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(slice) = span.extensions_mut().remove::<Slice>() else { return };
        let (end, own) = (Instant::now(), slice.own.then_some(slice.track));
        self.write(slice, span.name(), end);
        if let Some(track) = own {
            self.tracks().give_back(track);
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Some(Value::String(name)) = fields.shown.remove("counter") else { return };
        self.file.event(&json!({
            "ph": "C", "name": name, "pid": std::process::id(), "ts": self.at(Instant::now()),
            "args": fields.shown,
        }));
    }
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    track: Option<String>,
    from: String,
    to: String,
    shown: Map<String, Value>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        self.shown.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "track" => self.track = Some(value.to_owned()),
            "from" => self.from.push_str(value),
            "to" => self.to.push_str(value),
            // Of exported spans: crate::telemetry.
            name if name.starts_with("otel.") => (),
            _ => self.set(field, value.into()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use tracing::trace_span;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What a trace of these doings holds.
    fn traced_of(doings: impl FnOnce()) -> Vec<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (trace, guard) = Trace::start(file.path(), "some program").unwrap();
        let subscriber = tracing_subscriber::registry().with(trace.with_filter(traced()));
        tracing::subscriber::with_default(subscriber, doings);
        drop(guard);
        serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap()
    }

    fn tracks(events: &[Value]) -> BTreeMap<String, u64> {
        let named = events.iter().filter(|event| event["name"] == "thread_name");
        let track = |event: &Value| {
            (event["args"]["name"].as_str().unwrap().to_owned(), event["tid"].as_u64().unwrap())
        };
        named.map(track).collect()
    }

    fn slice<'a>(events: &'a [Value], name: &str) -> &'a Value {
        events.iter().find(|e| e["ph"] == "X" && e["name"] == name).unwrap()
    }

    #[test]
    fn what_is_inside_lies_below_and_what_overlaps_beside() {
        let events = traced_of(|| {
            let task = tracing::info_span!("of no trace").entered();
            let outer = trace_span!(target: TARGET, "outer", track = "lane 0", n = 3).entered();
            let inner = trace_span!(target: TARGET, "inner", bytes = tracing::field::Empty);
            inner.record("bytes", 12);
            drop(inner);
            drop((outer, task));
            let (one, two) =
                (trace_span!(target: TARGET, "put"), trace_span!(target: TARGET, "put"));
            drop((one, two));
            drop(trace_span!(target: TARGET, "put"));
        });
        let tracks = tracks(&events);
        let names: Vec<&str> = tracks.keys().map(String::as_str).collect();
        assert_eq!(names, ["lane 0", "put", "put 2"]);
        let (outer, inner) = (slice(&events, "outer"), slice(&events, "inner"));
        assert_eq!((&outer["tid"], &outer["args"]), (&inner["tid"], &json!({ "n": 3 })));
        assert_eq!(inner["args"], json!({ "bytes": 12 }));
        let end = |e: &Value| e["ts"].as_f64().unwrap() + e["dur"].as_f64().unwrap();
        assert!(outer["ts"].as_f64() <= inner["ts"].as_f64() && end(inner) <= end(outer));
        let puts: Vec<_> = events.iter().filter(|e| e["ph"] == "X" && e["name"] == "put").collect();
        assert_eq!(puts.len(), 3);
        assert_ne!(puts[0]["tid"], puts[1]["tid"]);
        assert_eq!(puts[2]["tid"], tracks["put"], "the first free one");
        assert!(!events.iter().any(|e| e["name"] == "of no trace"));
    }

    #[test]
    fn arrows_join_slices_and_counters_count() {
        let events = traced_of(|| {
            drop(trace_span!(target: TARGET, "made", from = "7 8"));
            drop(trace_span!(target: TARGET, "stored", to = "8"));
            tracing::trace!(target: TARGET, counter = "waiting", value = 2);
        });
        let ends = |ph: &str| -> Vec<&str> {
            let of = events.iter().filter(|e| e["ph"] == ph);
            of.map(|e| e["id"].as_str().unwrap()).collect()
        };
        assert_eq!((ends("s"), ends("f")), (vec!["7", "8"], vec!["8"]));
        let counter = events.iter().find(|e| e["ph"] == "C").unwrap();
        assert_eq!((&counter["name"], &counter["args"]), (&json!("waiting"), &json!({"value": 2})));
    }
}
