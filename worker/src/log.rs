//! What was logged of one attempt, kept for `vqfarm logs`.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use vqfarm_core::clock::{Clock, SystemClock};
use vqfarm_queue::Ticket;

use crate::attempt::SPAN;

/// No attempt's log grows beyond this many bytes.
const MOST: usize = 64 << 10;

/// A [`Layer`] that collects what is logged inside of attempts' spans ([`crate::attempt`]).
/// Clones collect into the same place.
#[derive(Clone, Debug, Default)]
pub struct AttemptLogs(Arc<Mutex<HashMap<Name, String>>>);

/// An attempt's name: the fields of its span.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Name {
    job: String,
    layer: u64,
    index: u64,
    attempt: u64,
}

impl Name {
    fn of(ticket: &Ticket) -> Self {
        let Ticket { task, attempt, .. } = ticket;
        Self {
            job: task.job.to_string(),
            layer: task.layer.into(),
            index: task.index,
            attempt: u64::from(*attempt),
        }
    }
}

impl AttemptLogs {
    /// The log of an attempt, which is forgotten here.
    pub fn take(&self, ticket: &Ticket) -> Option<String> {
        self.lock().remove(&Name::of(ticket))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for AttemptLogs {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != SPAN {
            return;
        }
        let mut name = Name::default();
        attributes.record(&mut name);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(name.clone());
            self.lock().insert(name, String::new());
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(mut scope) = context.event_scope(event) else { return };
        let name = scope.find_map(|span| span.extensions().get::<Name>().cloned());
        let Some(name) = name else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let mut logs = self.lock();
        // A log that was taken is closed.
        let Some(log) = logs.get_mut(&name).filter(|log| log.len() < MOST) else { return };
        let time = jiff::Timestamp::from_millisecond(SystemClock.now().0).unwrap_or_default();
        let Line { message, fields } = line;
        // Writing to a string does not fail.
        let _ = writeln!(log, "{time:.3} {level:<5} {message}{fields}");
    }
}

impl Visit for Name {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "layer" => self.layer = value,
            "index" => self.index = value,
            "attempt" => self.attempt = value,
            _ => (),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "job" {
            self.job = format!("{value:?}");
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;
    use vqfarm_core::id::{JobId, TaskId};
    use vqfarm_queue::Token;

    use super::*;
    use crate::attempt::Attempt;

    #[test]
    fn an_attempt_has_its_own_lines_and_no_others() {
        let logs = AttemptLogs::default();
        let subscriber = tracing_subscriber::registry().with(logs.clone());
        tracing::subscriber::with_default(subscriber, || {
            let attempt = |index| {
                let task = TaskId { job: JobId::generate(), layer: 0, index };
                Attempt::new(Ticket { task, attempt: 1, token: Token(index) })
            };
            let (one, two) = (attempt(1), attempt(2));
            tracing::info!("of nobody");
            one.span.in_scope(|| tracing::info!(bytes = 12, "stored"));
            two.span.in_scope(|| tracing::warn!(error = %"slow", "storage failed"));
            let log = logs.take(&one.ticket).unwrap();
            assert!(log.ends_with("Z info  stored bytes=12\n"), "{log}");
            assert_eq!(log.lines().count(), 1);
            assert!(logs.take(&two.ticket).unwrap().contains("warn  storage failed error=slow"));
            one.span.in_scope(|| tracing::info!("too late"));
            assert_eq!(logs.take(&one.ticket), None);
        });
    }
}
