//! What the farm's commands print: tables that fit the terminal, JSON, times and amounts as
//! people write them.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, presets};
use jiff::Timestamp;
use serde_json::{Value, json};
pub use vqfarm_proto::telling::{count, grouped, memory, short, span};
use vqfarm_proto::v1::{Counts, Job, JobState, Layer, Task, Worker};

/// Writes a line to standard output.
pub fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(anstream::stdout(), "{text}").context("cannot write to standard output")
}

/// Prints each as one line of JSON.
pub fn json_lines(values: impl IntoIterator<Item = Value>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for value in values {
        writeln!(out, "{value}").context("cannot write to standard output")?;
    }
    Ok(())
}

/// A table without rules. Heads that begin with `#` are of numbers; those that begin with `~`
/// are of texts that are cut short where the terminal is narrow. All others keep their width.
pub struct Rows {
    table: Table,
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Word,
    Number,
    Text,
}

impl Rows {
    pub fn new(heads: &[&str]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        let kind = |head: &&str| match head.as_bytes().first() {
            Some(b'#') => Kind::Number,
            Some(b'~') => Kind::Text,
            _ => Kind::Word,
        };
        let kinds: Vec<Kind> = heads.iter().map(kind).collect();
        let names = heads.iter().map(|head| head.trim_start_matches(['#', '~']));
        table.set_header(names.zip(&kinds).map(|(name, kind)| cell(name, *kind)));
        for (column, kind) in table.column_iter_mut().zip(&kinds) {
            if *kind != Kind::Text {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        Self { table, kinds }
    }

    pub fn add(&mut self, row: impl IntoIterator<Item = String>) {
        let cells = row.into_iter().zip(&self.kinds).map(|(text, kind)| cell(&text, *kind));
        let mut row = Row::from(cells.collect::<Vec<_>>());
        row.max_height(1);
        self.table.add_row(row);
    }

    /// Prints the rows, without the blanks at the ends of lines.
    pub fn print(&self) -> anyhow::Result<()> {
        for text in self.table.to_string().lines() {
            // Cells are padded by a blank on each side.
            line(text.trim_end().strip_prefix(' ').unwrap_or(text.trim_end()))?;
        }
        Ok(())
    }
}

fn cell(text: &str, kind: Kind) -> Cell {
    let cell = Cell::new(text);
    if kind == Kind::Number { cell.set_alignment(CellAlignment::Right) } else { cell }
}

/// At most `most` characters of a text.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// How long ago a time of the farm is, by this machine's clock.
pub fn ago(milliseconds: i64) -> String {
    let now = Timestamp::now().as_millisecond();
    let since = u64::try_from(now.saturating_sub(milliseconds)).unwrap_or(0);
    format!("{} ago", span(Duration::from_millis(since)))
}

/// A time of the farm as RFC 3339; none when it is not set.
pub fn time(milliseconds: i64) -> Option<String> {
    let at = Timestamp::from_millisecond(milliseconds).ok()?;
    (milliseconds != 0).then(|| at.to_string())
}

/// A text in lines that fit the terminal beside so many columns; 80 wide where there is none.
pub fn wrapped(text: &str, beside: usize) -> Vec<String> {
    wrap(text, terminal_width().unwrap_or(80).saturating_sub(beside).max(20))
}

/// The columns of the terminal, if there is one, or `COLUMNS`.
pub fn terminal_width() -> Option<usize> {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || io::stdout().is_terminal().then(crossterm::terminal::size)?.ok();
    columns.or_else(|| Some(usize::from(terminal()?.0)))
}

/// A text in lines of at most so many characters, cut between words.
pub fn wrap(text: &str, wide: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| {
            line.is_empty() || line.chars().count() + 1 + word.chars().count() <= wide
        });
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How far a job is: `12/40 30%`.
pub fn progress(counts: &Counts) -> String {
    let percent = (counts.done * 100).checked_div(counts.tasks).unwrap_or(100);
    format!("{}/{} {percent:>3}%", counts.done, counts.tasks)
}

/// A sentence on what has become of a job.
pub fn outcome(job: &Job) -> String {
    let total = job.total();
    let (name, id, state) = (&job.name, short(&job.id), job.state().word());
    let done = format!("{} of {} done", total.done, count(total.tasks, "task"));
    let failed = match total.failed {
        0 => String::new(),
        n => format!(", {n} failed"),
    };
    let took = match job.finished {
        0 => String::new(),
        at => {
            let took = u64::try_from(at - job.submitted).unwrap_or(0);
            format!(", after {}", span(Duration::from_millis(took)))
        }
    };
    format!("{name} ({id}) is {state}: {done}{failed}{took}")
}

pub fn job_json(job: &Job) -> Value {
    json!({
        "id": job.id,
        "name": job.name,
        "user": job.user,
        "priority": job.priority,
        "state": job.state().word(),
        "submitted": time(job.submitted),
        "finished": time(job.finished),
        "tasks": job.total(),
        "layers": job.layers.iter().map(layer_json).collect::<Vec<_>>(),
    })
}

fn layer_json(layer: &Layer) -> Value {
    json!({
        "name": layer.name,
        "tasks": layer.counts,
        "dependency": layer.dependency,
        "needs": layer.needs,
    })
}

pub fn task_json(task: &Task) -> Value {
    json!({
        "layer": task.layer,
        "index": task.index,
        "attempt": task.attempt,
        "state": task.state,
        "worker": (!task.worker.is_empty()).then_some(&task.worker),
        "until": time(task.until),
        "last_error": (!task.last_error.is_empty()).then_some(&task.last_error),
    })
}

pub fn worker_json(worker: &Worker) -> Value {
    json!({
        "id": worker.id,
        "state": worker.state().word(),
        "tags": worker.tags,
        "memory": worker.memory,
        "loaded": worker.loaded,
        "leased": worker.leased,
        "busy": worker.busy,
        "version": (!worker.version.is_empty()).then_some(&worker.version),
        "disk": worker.disk,
        "last_seen": time(worker.last_seen),
    })
}

/// Whether a job has ended, and the exit status that says how.
pub fn exit_status(state: JobState) -> Option<u8> {
    match state {
        JobState::Done => Some(0),
        JobState::Failed => Some(1),
        JobState::Cancelled => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_between_words() {
        assert_eq!(wrap("a größer bc", 8), ["a größer", "bc"]);
        assert_eq!(wrap("unbreakable a", 4), ["unbreakable", "a"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!((cut("größer", 6), cut("größer", 5)), ("größer".into(), "größ…".into()));
    }
}
