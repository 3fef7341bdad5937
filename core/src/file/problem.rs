//! What is known of a mistake in a file: its place, its field, the remedy, the line itself.

use std::fmt;
use std::ops::Range;

/// Mistakes that are told at a time; after so many the rest are not looked for.
pub const MAX_PROBLEMS: usize = 20;

/// What is wrong with a job file, up to [`MAX_PROBLEMS`]. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct JobError {
    pub problems: Vec<Problem>,
}

impl JobError {
    /// In the order of the file, what has no place first.
    pub(crate) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.place.as_ref().map(|at| (at.line, at.column)));
        problems.truncate(MAX_PROBLEMS);
        Self { problems }
    }
}

impl From<Problem> for JobError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the flag (`--set render.size=[0,0]`) that said it.
    pub source: String,
    /// The field's path, as `render.size[0]`; empty when it is the file as a whole.
    pub field: String,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where it stands in the file.
    pub place: Option<Place>,
}

/// A place in a file and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// How many characters are meant; at least 1.
    pub width: usize,
    pub text: String,
}

impl Place {
    /// Where `span`, in bytes, stands in `source`.
    pub fn of(source: &str, span: &Range<usize>) -> Self {
        let start = floor(source, span.start);
        let end = floor(source, span.end).max(start);
        let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        Self {
            line: source[..start].matches('\n').count() + 1,
            column: source[line_start..start].chars().count() + 1,
            width: source[start..end.min(line_end)].chars().count().max(1),
            text: source[line_start..line_end].trim_end().to_owned(),
        }
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// One line: file, line, column, field, message and remedy.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        f.write_str(": ")?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
