//! What a job file leaves to be written out: axes in files and folders, variants in the prompt.

use std::io;

use serde_json::Value;

use super::variants::{self, Piece};
use super::{Axis, SweepSpec};
use crate::check;
use crate::job::FieldError;

/// What lies beside a job file, by paths that have been checked to stay there.
pub trait Beside {
    /// # Errors
    /// The file cannot be read.
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// The names of the files in a folder, `""` being the job file's own.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn names(&mut self, folder: &str) -> io::Result<Vec<String>>;
}

/// Files only, no folders.
pub(crate) struct Files<F>(pub F);

impl<F: FnMut(&str) -> io::Result<Vec<u8>>> Beside for Files<F> {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        (self.0)(path)
    }

    fn names(&mut self, _: &str) -> io::Result<Vec<String>> {
        Err(io::Error::other("folders are looked into by vqfarm render and vqfarm submit"))
    }
}

/// The folder of the prompts' wildcards: `__style__` is a line of `wildcards/style.txt`.
const WILDCARDS: &str = "wildcards";

impl SweepSpec {
    /// Writes out all that is not in the job file itself; what cannot be is an error for its
    /// field. `prompt` is the job's own where the sweep has none; `seed` draws variants.
    pub(crate) fn write_out(
        &mut self,
        prompt: &str,
        seed: u64,
        beside: &mut dyn Beside,
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (name, axis) in &mut self.axes.0 {
            let values = match axis {
                Axis::File(path) => lines(path, beside),
                Axis::Glob(pattern) => matches(pattern, beside),
                _ => continue,
            };
            match values {
                Ok(values) => *axis = Axis::List(values.into_iter().map(Value::from).collect()),
                Err(message) => {
                    errors.push(FieldError::new(format!("sweep.axes.{name}"), message));
                }
            }
        }
        if let Err(error) = self.write_variants(prompt, seed, beside) {
            errors.push(error);
        }
        errors
    }

    /// Makes an axis of each variant of the prompt.
    fn write_variants(
        &mut self,
        prompt: &str,
        seed: u64,
        beside: &mut dyn Beside,
    ) -> Result<(), FieldError> {
        let draw = self.draw.take();
        let field = if self.prompt.is_some() { "sweep.prompt" } else { "render.prompt" };
        // An axis of whole prompts has the last word.
        let whole = self.axes.0.iter().any(|(name, _)| name == "prompt");
        let text = self.prompt.as_deref().unwrap_or(prompt);
        let pieces = if whole { Ok(Vec::new()) } else { variants::parse(text) };
        let pieces = pieces.map_err(|error| FieldError::new(field, error))?;
        let mut template = String::new();
        let mut added: Vec<String> = Vec::new();
        for piece in pieces {
            if let Piece::Text(text) = &piece {
                template += text;
                continue;
            }
            let mut read = |name: &str| lines(&format!("{WILDCARDS}/{name}.txt"), beside);
            let texts = piece.texts(&mut read).map_err(|error| FieldError::new(field, error))?;
            let name = self.free_name(match &piece {
                Piece::Wildcard(name) => name.rsplit('/').next().unwrap_or(name),
                _ => "variant",
            });
            let values = match draw {
                Some(count) => variants::draw(&texts, count, seed, &name),
                None => texts.into_iter().map(|(_, text)| text).collect(),
            };
            template += &format!("{{{name}}}");
            let values = values.into_iter().map(Value::from).collect();
            self.axes.0.push((name.clone(), Axis::List(values)));
            added.push(name);
        }
        match draw {
            Some(0) => Err(FieldError::new("sweep.draw", "0 variants; draw 1 or more")),
            Some(_) if added.is_empty() => {
                let message = "the prompt has no variants to draw, as in {red|blue}";
                Err(FieldError::new("sweep.draw", message))
            }
            Some(count) if count > variants::MAX_TEXTS as u64 => {
                let message = format!("{count} are too many; draw {} at most", variants::MAX_TEXTS);
                Err(FieldError::new("sweep.draw", message))
            }
            Some(_) => {
                self.prompt = Some(template);
                self.walk_together(&added);
                Ok(())
            }
            None => {
                if !added.is_empty() {
                    self.prompt = Some(template);
                }
                Ok(())
            }
        }
    }

    /// Lets the drawn axes, the last ones, walk together, moving faster than the others.
    fn walk_together(&mut self, drawn: &[String]) {
        let together = format!("({})", drawn.join(", "));
        let others = self.axes.0.iter().map(|(name, _)| name.as_str());
        let others: Vec<&str> = others.take(self.axes.0.len() - drawn.len()).collect();
        let before = self.combine.take().unwrap_or_else(|| others.join(" * "));
        let before = before.trim();
        let both = format!("{before} * {together}");
        self.combine = Some(if before.is_empty() { together } else { both });
    }

    /// A name that no axis has, like this one.
    fn free_name(&self, wanted: &str) -> String {
        let usable = |c: char| if c.is_alphanumeric() || "_-".contains(c) { c } else { '-' };
        let wanted: String = wanted.chars().map(usable).collect();
        let taken = |name: &str| {
            self.axes.0.iter().any(|(axis, _)| axis == name) || crate::fields::is_field(name)
        };
        let numbered = (2..).map(|n| format!("{wanted}-{n}"));
        let mut names = std::iter::once(wanted.clone()).chain(numbered);
        names.find(|name| !taken(name)).unwrap_or(wanted)
    }
}

/// The lines of a file that are no comments.
fn lines(path: &str, beside: &mut dyn Beside) -> Result<Vec<String>, String> {
    stays(path)?;
    let bytes = beside.read(path).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| format!("{path:?} is not UTF-8 text; save the file as UTF-8"))?;
    let lines: Vec<String> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if lines.is_empty() { Err(format!("{path:?} has no values")) } else { Ok(lines) }
}

/// The files that a pattern fits, in the order of their names. Only the last part of the path
/// is a pattern.
fn matches(pattern: &str, beside: &mut dyn Beside) -> Result<Vec<String>, String> {
    stays(pattern)?;
    let (folder, file) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    if folder.contains(['*', '?', '[']) {
        return Err(format!("{pattern:?} has a pattern before its last `/`, where none can be"));
    }
    let fits = glob::Pattern::new(file).map_err(|error| format!("{pattern:?}: {error}"))?;
    let names = beside.names(folder).map_err(|error| format!("cannot read {folder:?}: {error}"))?;
    let mut names: Vec<String> = names.into_iter().filter(|name| fits.matches(name)).collect();
    names.sort();
    if names.is_empty() {
        return Err(format!("no file fits {pattern:?}"));
    }
    let slash = if folder.is_empty() { "" } else { "/" };
    Ok(names.into_iter().map(|name| format!("{folder}{slash}{name}")).collect())
}

fn stays(path: &str) -> Result<(), String> {
    if check::path_stays(path) {
        return Ok(());
    }
    Err(format!("{path:?} leads away from the job file; use a relative path without `..`"))
}
