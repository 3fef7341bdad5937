//! A job's pictures, those that are there and those that come.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Range, RangeInclusive};

use vqfarm_core::keys;
use vqfarm_core::plan::{Plan, Work};
use vqfarm_core::record::JobRecord;
use vqfarm_core::sweep::{Sweep, label};
use vqfarm_proto::v1;

/// Pictures on a page.
pub const PAGE: u64 = 200;

/// One page of them.
pub struct Sheet {
    pub cells: Vec<Cell>,
    /// Frames of a film have numbers, cells of a sweep say where they are on its axes.
    pub is_film: bool,
    /// Cells in a row, where a row then has one value of the outer axes.
    pub columns: Option<u64>,
    pub pages: Pages,
}

/// A picture, or the place for one.
pub struct Cell {
    pub index: u64,
    /// Empty while there is no picture.
    pub picture: String,
    /// running, delayed, failed or waiting.
    pub state: &'static str,
    /// The failed or running task's log.
    pub log: String,
    /// Where it is on the axes that have several values.
    pub labels: Vec<Label>,
}

/// A cell's place on an axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub axis: String,
    pub value: String,
    /// The cell before has the same: what differs catches the eye.
    pub is_repeated: bool,
}

impl Label {
    /// The axis, where the value does not say what it is of.
    pub fn named(&self) -> &str {
        let is_number = self.value.chars().all(|c| c.is_ascii_digit() || ".-×e".contains(c));
        if is_number { &self.axis } else { "" }
    }
}

impl Cell {
    /// What a screen reader says of the picture.
    pub fn said(&self) -> String {
        let labels = self.labels.iter().map(|l| format!(", {} {}", l.axis, l.value));
        format!("{}{}", self.index, labels.collect::<String>())
    }
}

/// Which page of several is shown, and where the others are.
pub struct Pages {
    pub range: Range<u64>,
    pub all: u64,
}

impl Pages {
    /// The page that has picture `from`.
    pub fn at(from: u64, all: u64) -> Self {
        let start = from.min(all.saturating_sub(1)) / PAGE * PAGE;
        Self { range: start..(start + PAGE).min(all), all }
    }

    pub fn are_several(&self) -> bool {
        self.all > PAGE
    }

    pub fn before(&self) -> Option<u64> {
        self.range.start.checked_sub(PAGE)
    }

    pub fn after(&self) -> Option<u64> {
        (self.range.end < self.all).then_some(self.range.end)
    }

    pub fn last(&self) -> u64 {
        self.range.end.saturating_sub(1)
    }
}

impl Sheet {
    pub fn new(
        record: &JobRecord,
        plan: &Plan,
        pages: Pages,
        files: &v1::ListFilesResponse,
        tasks: &[v1::Task],
    ) -> Self {
        let is_film = record.spec.animation.is_some();
        let sweep = if is_film { None } else { record.spec.cells().ok() };
        let there: BTreeSet<u64> = files.frames.iter().copied().collect();
        let busy = if is_film { HashMap::new() } else { by_cell(plan, tasks) };
        // A preview is replaced by its picture: a browser must ask again.
        let kept = if record.spec.early_stop().is_none() { "?v=1" } else { "" };
        let cell = |index: u64| {
            let task = busy.get(&index);
            let state = match task.map(|task| task.state.as_str()) {
                Some("leased") => "running",
                Some("delayed") => "delayed",
                Some("failed") => "failed",
                _ => "waiting",
            };
            let log = task.filter(|_| state == "failed" || state == "delayed");
            let log = log.map(|task| format!("tasks/{}/{}", task.layer, task.index));
            let key = keys::frame(index);
            let is_there = there.contains(&index);
            let picture = if is_there {
                format!("/jobs/{}/{key}{kept}", files.frames_of)
            } else {
                String::new()
            };
            let labels = sweep.as_ref().map(|sweep| labels(sweep, index)).unwrap_or_default();
            Cell { index, picture, state, log: log.unwrap_or_default(), labels }
        };
        let columns = sweep.as_ref().and_then(columns);
        Self { cells: pages.range.clone().map(cell).collect(), is_film, columns, pages }
    }
}

/// Widths of a sheet that has a row for each combination of the outer axes.
const COLUMNS: RangeInclusive<u64> = 3..=10;

/// How many cells the inner axes have together, as many of them as go into a row; none where
/// some combinations are left out, and in a sheet of one row.
fn columns(sweep: &Sweep) -> Option<u64> {
    let lens: Vec<u64> = sweep.axes().map(|(_, len)| len).collect();
    if lens.iter().product::<u64>() != sweep.len() {
        return None;
    }
    let inner = lens.iter().rev().scan(1, |product, len| {
        *product *= len;
        Some(*product)
    });
    inner.filter(|n| COLUMNS.contains(n) && *n < sweep.len()).last()
}

/// The tasks that make cells and are not just waiting, by their cells.
fn by_cell<'a>(plan: &Plan, tasks: &'a [v1::Task]) -> HashMap<u64, &'a v1::Task> {
    let makes_cells = |task: &&v1::Task| {
        let layer = plan.layers.iter().find(|layer| layer.name == task.layer);
        layer.is_some_and(|l| matches!(l.work, Work::Render { .. } | Work::Preview { .. }))
    };
    tasks.iter().filter(makes_cells).map(|task| (task.index, task)).collect()
}

/// Where a cell is on the axes that have several values.
pub fn labels(sweep: &Sweep, index: u64) -> Vec<Label> {
    let places = sweep.places(index).unwrap_or_default();
    let axes = sweep.axes().zip(places).enumerate().filter(|(_, ((_, len), _))| *len > 1);
    let before = index.checked_sub(1).and_then(|before| sweep.places(before));
    let named = axes.filter_map(|(axis, ((name, _), place))| {
        let value = label(&sweep.value(axis, place)?);
        let is_repeated = before.as_ref().is_some_and(|before| before[axis] == place);
        Some(Label { axis: name.to_owned(), value, is_repeated })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use vqfarm_core::file::{Document, Limits};

    use super::*;

    #[test]
    fn rows_are_of_the_outer_axes() {
        let columns_of = |axes: &str, combine: &str| {
            let text = format!(
                "version = 1\n[sweep]\nprompt = \"{{a}} {{b}}\"\n{combine}\n[sweep.axes]\n\
                 a = [\"x\", \"y\", \"z\"]\n{axes}"
            );
            let document = Document::parse("job.toml", text.as_bytes()).unwrap();
            let no_files = |_: &str| Err(std::io::ErrorKind::NotFound.into());
            columns(&document.job(Limits::default(), no_files).unwrap().cells().unwrap())
        };
        assert_eq!(columns_of("b = [\"x\", \"y\"]\nseed = \"1-2\"", ""), Some(4));
        assert_eq!(columns_of("b = [\"x\"]\nseed = \"1-5\"", ""), Some(5));
        assert_eq!(columns_of("b = [\"x\"]\nseed = \"1-11\"", ""), None);
        assert_eq!(columns_of("b = [\"x\", \"y\"]", ""), None, "two in a row are few");
        let walked = "combine = \"(a, b)\"";
        assert_eq!(columns_of("b = [\"x\", \"y\", \"z\"]", walked), None, "no grid");
    }

    #[test]
    fn pages_begin_at_round_numbers() {
        let pages = Pages::at(399, 450);
        assert_eq!(
            (pages.range.clone(), pages.before(), pages.after()),
            (200..400, Some(0), Some(400))
        );
        let last = Pages::at(9_999_999, 450);
        assert_eq!((last.range.clone(), last.after(), last.last()), (400..450, None, 449));
        let none = Pages::at(5, 0);
        assert_eq!((none.range.clone(), none.after(), none.are_several()), (0..0, None, false));
    }
}
