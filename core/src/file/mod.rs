//! Job files: read, changed by `--set`, checked, resolved into a [`Job`].

mod judge;
mod parse;
mod problem;
mod write;

use std::io;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

pub use self::problem::{JobError, MAX_PROBLEMS, Place, Problem};
pub use self::write::fields_of;
use crate::job::{FieldError, Job, VERSION};
use crate::sweep::{self, Beside, Files};
use crate::tree::{Entry, Mark, Node, Step, UNKNOWN_FIELD, Value};

/// How a job file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Toml,
    Yaml,
    Json,
}

impl Format {
    /// By the file's ending: `.toml`, `.yaml`, `.yml` or `.json`.
    pub fn of(file: &str) -> Option<Self> {
        match Path::new(file).extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What a farm or a machine accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most cells a sweep may have.
    pub cells: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cells: 10_000_000 }
    }
}

/// A job file that has been read and not yet judged.
#[derive(Clone, Debug)]
pub struct Document {
    file: String,
    text: String,
    root: Node,
    flags: Vec<String>,
}

impl Document {
    /// Reads `bytes`, which the messages call `file`; its ending says the format.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, JobError> {
        Self::parse_as(file, Format::of(file), bytes)
    }

    /// As [`Self::parse`], whatever the file's ending says.
    ///
    /// # Errors
    /// It is not of the format, or there is none.
    pub fn parse_as(file: &str, format: Option<Format>, bytes: &[u8]) -> Result<Self, JobError> {
        let document = |text: &str| Self {
            file: file.to_owned(),
            text: text.to_owned(),
            root: Node::new(Value::Table(Vec::new()), Mark::Nowhere),
            flags: Vec::new(),
        };
        let text = match std::str::from_utf8(bytes) {
            // Editors on Windows begin a file with a byte order mark.
            Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
            Err(error) => {
                let line = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1;
                let message = format!("line {line} is not UTF-8 text; save the file as UTF-8");
                return Err(document("").whole(message));
            }
        };
        let mut document = document(text);
        let root = match format {
            Some(Format::Toml) => parse::toml(text),
            Some(Format::Yaml) => parse::yaml(text).map_err(|error| vec![error]),
            Some(Format::Json) => parse::json(text).map_err(|error| vec![error]),
            None => {
                let message = "a job file's name ends in .toml, .yaml, .yml or .json";
                return Err(document.whole(message.into()));
            }
        };
        match root {
            Ok(root) if matches!(root.value, Value::Table(_)) => {
                document.root = root;
                Ok(document)
            }
            Ok(_) => Err(document.whole("the file must be a table of fields".into())),
            Err(errors) => {
                let problem = |error: parse::Syntax| {
                    let mark = error.at.map_or(Mark::Nowhere, Mark::Source);
                    document.problem(FieldError::new("", error.message), &mark)
                };
                Err(JobError::new(errors.into_iter().map(problem).collect()))
            }
        }
    }

    /// A job of defaults, for jobs that are made of flags alone.
    pub fn empty() -> Self {
        let version = Entry {
            name: "version".into(),
            mark: Mark::Nowhere,
            node: Node::new(Value::Int(VERSION.into()), Mark::Nowhere),
        };
        Self {
            file: "command line".into(),
            text: String::new(),
            root: Node::new(Value::Table(vec![version]), Mark::Nowhere),
            flags: Vec::new(),
        }
    }

    /// Applies `render.iterations=50`, as `--set` has it. The value is TOML; what is not
    /// TOML is text, so `name=harbours` needs no quotes.
    pub fn set(&mut self, assignment: &str) -> Result<(), JobError> {
        let flag = format!("--set {assignment}");
        let Some((path, text)) = assignment.split_once('=') else {
            let message = "write a field and its value, as in render.iterations=50";
            return Err(flag_error(flag, "", message));
        };
        let value = parse::toml_value(text.trim())
            .map_or_else(|| Value::Text(text.trim().to_owned()), |node| node.value);
        self.put(flag, path.trim(), value)
    }

    /// Applies `seed=1-8`, as `--axis` has it: an axis of the sweep. Its values are TOML (a list, a
    /// table), a range, or texts between commas.
    pub fn set_axis(&mut self, assignment: &str) -> Result<(), JobError> {
        let flag = format!("--axis {assignment}");
        let named = assignment.split_once('=').map(|(name, text)| (name.trim(), text.trim()));
        let Some((name, text)) = named.filter(|(name, text)| !name.is_empty() && !text.is_empty())
        else {
            let message = "write an axis and its values, as in seed=1-8 or style=flat,dots";
            return Err(flag_error(flag, "", message));
        };
        let scalar = |text: &str| match parse::toml_value(text).map(|node| node.value) {
            Some(value) if !matches!(value, Value::Table(_) | Value::List(_)) => value,
            _ => Value::Text(text.to_owned()),
        };
        let value = match parse::toml_value(text).map(|node| node.value) {
            Some(value @ (Value::Table(_) | Value::List(_))) => value,
            _ if text.parse::<sweep::Range>().is_ok() => Value::Text(text.to_owned()),
            _ => Value::List(
                text.split(',')
                    .map(|value| Node::new(scalar(value.trim()), Mark::Nowhere))
                    .collect(),
            ),
        };
        self.put(flag, &format!("sweep.axes.{name}"), value)
    }

    /// Gives the field at `path` this text as it is; messages call it `flag`.
    pub fn set_text(&mut self, flag: &str, path: &str, text: &str) -> Result<(), JobError> {
        self.put(flag.to_owned(), path, Value::Text(text.to_owned()))
    }

    /// The field at `path` as it is written, if it is there and fits the type.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        T::deserialize(self.root.node_of(path)?).ok()
    }

    /// Writes out what the field at `instead_of` stands for: gives the field at `path` this
    /// value, whose mistakes are shown where the other one stands.
    pub fn resolve(&mut self, instead_of: &str, path: &str, value: &serde_json::Value) {
        let mark = self.root.mark_of(instead_of).clone();
        let names: Vec<&str> = path.split('.').collect();
        let Some((name, outer)) = names.split_last() else { return };
        self.remove(path);
        let node = marked(Node::from(value), &mark);
        self.root.put_entry(outer, Entry { name: (*name).into(), mark, node });
    }

    /// Takes out the field at `path`.
    pub fn remove(&mut self, path: &str) {
        let steps: Vec<Step> = path.split('.').map(|name| Step::Name(name.into())).collect();
        self.root.remove(&steps);
    }

    fn put(&mut self, flag: String, path: &str, value: Value) -> Result<(), JobError> {
        if path.split('.').any(str::is_empty) {
            return Err(flag_error(flag, path, "a field's path is names joined by dots"));
        }
        let mark = Mark::Flag(self.flags.len());
        self.flags.push(flag);
        let mut node = &mut self.root;
        for name in path.split('.') {
            if !matches!(node.value, Value::Table(_)) {
                node.value = Value::Table(Vec::new());
            }
            let Value::Table(entries) = &mut node.value else { unreachable!("it is a table now") };
            let at = entries.iter().position(|entry| entry.name == name).unwrap_or_else(|| {
                let node = Node::new(Value::Table(Vec::new()), mark.clone());
                entries.push(Entry { name: name.to_owned(), mark: mark.clone(), node });
                entries.len() - 1
            });
            node = &mut entries[at].node;
        }
        *node = marked(Node::new(value, Mark::Nowhere), &mark);
        Ok(())
    }

    /// The job, checked and resolved: axes' files read through `read` (paths beside the job
    /// file, never absolute, never with `..`), `combine` written out so that the axes' order
    /// no longer matters.
    ///
    /// # Errors
    /// All mistakes that can be told apart, each with its place.
    pub fn job(
        &self,
        limits: Limits,
        read: impl FnMut(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Job, JobError> {
        self.job_beside(limits, &mut Files(read))
    }

    /// As [`Self::job`], where folders can be looked into as well.
    ///
    /// # Errors
    /// As [`Self::job`].
    pub fn job_beside(&self, limits: Limits, beside: &mut dyn Beside) -> Result<Job, JobError> {
        let Typed { value, mut problems, left_out } = self.typed();
        let Some(mut job) = value else { return Err(JobError::new(problems)) };
        let errors = judge::check(&mut job, limits, beside, &left_out);
        problems.extend(self.refuse(errors).problems);
        if !problems.is_empty() {
            return Err(JobError::new(problems));
        }
        if let Some(sweep) = &mut job.sweep {
            sweep.write_combine();
            sweep.order.get_or_insert_default();
        }
        Ok(job)
    }

    /// Shows where mistakes stand that only somebody else could find: a picture that is not
    /// there, a model that is not in the library.
    pub fn refuse(&self, errors: Vec<FieldError>) -> JobError {
        let place = |error: FieldError| {
            let mark = self.mark_of(&error.field);
            self.problem(error, &mark)
        };
        JobError::new(errors.into_iter().map(place).collect())
    }

    /// The job as the types have it.
    fn typed(&self) -> Typed<Job> {
        let mut root = self.root.clone();
        let mut problems = Vec::new();
        if let Some(problem) = self.wrong_version() {
            problems.push(problem);
            if root.entry("version").is_some() {
                // Nothing can be said about the fields of a version that is not known.
                return Typed { value: None, problems, left_out: Vec::new() };
            }
            let node = Node::new(Value::Int(VERSION.into()), Mark::Nowhere);
            root.put_entry(&[], Entry { name: "version".into(), mark: Mark::Nowhere, node });
        }
        move_written(&mut root);
        self.read(root, problems)
    }

    /// The fields of a file that is no job, with the messages of job files.
    ///
    /// # Errors
    /// All mistakes that can be told apart, each with its place.
    pub fn settings<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        let Typed { value, problems, .. } = self.read(self.root.clone(), Vec::new());
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(JobError::new(problems)),
        }
    }

    /// The tree as the types have it. What does not fit is noted and taken out, and the rest
    /// is looked at again, so that one run shows every mistake.
    fn read<T: DeserializeOwned>(&self, mut root: Node, problems: Vec<Problem>) -> Typed<T> {
        let mut typed = Typed { value: None, problems, left_out: Vec::new() };
        loop {
            let error = match T::deserialize(&root) {
                Ok(value) => {
                    typed.value = Some(value);
                    break;
                }
                Err(error) => error,
            };
            let told = error.error();
            typed.left_out.extend(taken_away(&told));
            // What is missing may be what was taken out.
            if !error.missing || typed.problems.is_empty() {
                typed.problems.push(self.problem(sweep::with_forms(told), &error.mark));
            }
            let before = root.clone();
            root.remove(&error.path());
            if root == before || typed.problems.len() == MAX_PROBLEMS {
                break;
            }
        }
        typed
    }

    fn wrong_version(&self) -> Option<Problem> {
        let Some(entry) = self.root.entry("version") else {
            let error = FieldError {
                help: Some("begin the file with version = 1".into()),
                ..FieldError::new("version", "the field is missing")
            };
            return Some(self.problem(error, &Mark::Nowhere));
        };
        if entry.node.value == Value::Int(VERSION.into()) {
            return None;
        }
        let message = format!("this program reads version {VERSION} of job files");
        Some(self.problem(FieldError::new("version", message), &entry.node.mark))
    }

    /// Where a field stands, or what was written in its place.
    fn mark_of(&self, field: &str) -> Mark {
        match self.written_elsewhere(field) {
            Some(written) => self.root.mark_of(&written).clone(),
            None => self.root.mark_of(field).clone(),
        }
    }

    /// Where a field was written, if not under its own name.
    fn written_elsewhere(&self, field: &str) -> Option<String> {
        let written = match field {
            "output.video.interpolate_to" => "animation.interpolate_to".to_owned(),
            _ => format!("render.{}", field.strip_prefix("animation.motion.")?),
        };
        (self.root.node_of(field).is_none() && self.root.node_of(&written).is_some())
            .then_some(written)
    }

    /// Where bytes of a field's text stand in the file, if they stand there as they are.
    fn within(&self, field: &str, span: &Range<usize>, at: &Range<usize>) -> Option<Range<usize>> {
        let written = self.written_elsewhere(field);
        let node = self.root.node_of(written.as_deref().unwrap_or(field))?;
        let text = match (&node.value, node.entry("prompt").map(|entry| &entry.node.value)) {
            (Value::Text(text), _) | (_, Some(Value::Text(text))) => text,
            _ => return None,
        };
        let start = span.start + self.text.get(span.clone())?.find(text.as_str())?;
        Some(start + at.start..start + at.end)
    }

    fn whole(&self, message: String) -> JobError {
        JobError::from(self.problem(FieldError::new("", message), &Mark::Nowhere))
    }

    fn problem(&self, error: FieldError, mark: &Mark) -> Problem {
        let FieldError { field, mut message, mut help, at } = error;
        if help.is_none()
            && let Some(end) = end_of_fault(&message)
        {
            help = Some(message[end + 2..].to_owned());
            message.truncate(end);
        }
        let (source, place) = match mark {
            Mark::Flag(n) => (self.flags[*n].clone(), None),
            Mark::Source(span) => {
                let within = at.and_then(|at| self.within(&field, span, &at));
                let span = within.unwrap_or_else(|| span.clone());
                (self.file.clone(), Some(Place::of(&self.text, &span)))
            }
            Mark::Nowhere => (self.file.clone(), None),
        };
        Problem { source, field, message, help, place }
    }
}

/// A document as the types have it.
struct Typed<T> {
    /// Of what fits; none when that is not enough.
    value: Option<T>,
    problems: Vec<Problem>,
    /// Fields that were taken out.
    left_out: Vec<String>,
}

/// Where a message ends that says what is wrong, when `; ` and what to do about it follow.
fn end_of_fault(message: &str) -> Option<usize> {
    // What people wrote is quoted and may hold anything.
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in message.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '`') => quote = Some(c),
            (None, ';') if message[at..].starts_with("; ") => return Some(at),
            _ => (),
        }
    }
    None
}

/// The field that a job lacks because of a mistake: itself, or the one that was meant.
fn taken_away(error: &FieldError) -> Option<String> {
    let Some(help) = error.help.as_ref().filter(|_| error.message == UNKNOWN_FIELD) else {
        return Some(error.field.clone());
    };
    let meant = help.strip_prefix("did you mean \"")?.strip_suffix("\"?")?;
    let outer =
        error.field.rsplit_once('.').map_or(String::new(), |(outer, _)| format!("{outer}."));
    Some(format!("{outer}{meant}"))
}

/// Puts where they belong what people may write elsewhere too: settings of `[render]` that are
/// text are schedules of the motion, and an animation's `interpolate_to` is the film's.
fn move_written(root: &mut Node) {
    let Some(animation) = root.entry("animation") else { return };
    if let Some(entry) = animation.node.entry("interpolate_to").cloned() {
        root.remove(&[Step::Name("animation".into()), Step::Name("interpolate_to".into())]);
        root.put_entry(&["output", "video"], entry);
    }
    for name in ["iterations", "step_size", "init_weight"] {
        let is_text = |node: &Node| matches!(node.value, Value::Text(_));
        let Some(entry) = root.entry("render").and_then(|render| render.node.entry(name)).cloned()
        else {
            continue;
        };
        if is_text(&entry.node) && root.node_of(&format!("animation.motion.{name}")).is_none() {
            root.remove(&[Step::Name("render".into()), Step::Name(name.into())]);
            root.put_entry(&["animation", "motion"], entry);
        }
    }
}

fn flag_error(flag: String, field: &str, message: &str) -> JobError {
    let (field, message) = (field.to_owned(), message.to_owned());
    JobError::from(Problem { source: flag, field, message, help: None, place: None })
}

/// The node with everything in it marked alike.
fn marked(mut node: Node, mark: &Mark) -> Node {
    node.mark = mark.clone();
    match &mut node.value {
        Value::List(items) => {
            for item in items {
                *item = marked(item.clone(), mark);
            }
        }
        Value::Table(entries) => {
            for entry in entries {
                entry.mark = mark.clone();
                entry.node = marked(entry.node.clone(), mark);
            }
        }
        _ => (),
    }
    node
}
