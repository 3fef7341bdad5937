//! What is wrong with the axes of a sweep, their names and values, and with its prompt.

use serde_json::Value;

use super::template::Template;
use super::{Axis, Replace, Sweep, SweepAxis, SweepSpec, label};
use crate::check;
use crate::fields;
use crate::file::MAX_PROBLEMS;
use crate::job::FieldError;
use crate::nearest::nearest;

impl Sweep {
    /// Adds what is wrong with names and values to what has been found.
    pub(super) fn judge(&self, spec: &SweepSpec, errors: &mut Vec<FieldError>) {
        errors.extend(self.check_names(spec));
        // Values are tried in the prompt, which must be one.
        if self.has_templates() {
            let values = self.check_values(template_field(spec), errors);
            errors.extend(values);
        }
    }

    /// Every placeholder has an axis, every axis is of use, and no two of them collide.
    fn check_names(&self, spec: &SweepSpec) -> Vec<FieldError> {
        let prompts = self.axes.iter().find(|axis| axis.name == "prompt");
        if prompts.is_some() && spec.prompt.is_some() {
            return vec![FieldError::new(
                "sweep.prompt",
                "the axis `prompt` already says every cell's prompt; leave one of them out",
            )];
        }
        if self.axes.is_empty() {
            return vec![FieldError::new(
                "sweep.axes",
                "a sweep has at least one axis, or variants in its prompt",
            )];
        }
        let templates: Vec<(String, String)> = match prompts.map(|axis| &axis.axis) {
            Some(Axis::List(values)) => values
                .iter()
                .enumerate()
                .map(|(i, value)| (format!("sweep.axes.prompt[{i}]"), label(value)))
                .collect(),
            _ => {
                vec![(template_field(spec).into(), self.template.clone().unwrap_or_default())]
            }
        };
        let mut errors = Vec::new();
        let mut used: Vec<String> = Vec::new();
        for (field, text) in &templates {
            match Template::parse(text) {
                Ok(template) => {
                    for name in template.names() {
                        used.push(self.find_axis(name, field, text, &mut errors));
                    }
                }
                Err(error) => errors.push(FieldError::new(field, error)),
            }
        }
        if errors.iter().any(|error| error.at.is_none()) {
            // Nobody knows which axes such a prompt means.
            return errors;
        }
        // All that a prompt is put together from.
        let mut written: Vec<String> = templates.into_iter().map(|(_, text)| text).collect();
        for axis in self.axes.iter().filter(|axis| used.contains(&axis.name)) {
            if let Axis::List(values) = &axis.axis {
                written.extend(values.iter().map(label));
            }
        }
        for axis in &self.axes {
            errors.extend(self.check_axis(axis, &used, &mut written).err());
        }
        errors
    }

    /// Whether the prompts of all cells can be read as templates.
    fn has_templates(&self) -> bool {
        let prompts = self.axes.iter().find(|axis| axis.name == "prompt");
        match prompts.map(|axis| &axis.axis) {
            Some(Axis::List(values)) => values.iter().all(|v| Template::parse(&label(v)).is_ok()),
            _ => self.template.as_ref().is_none_or(|text| Template::parse(text).is_ok()),
        }
    }

    /// The axis that a placeholder means: the one of its name, else the one most like it, which is
    /// an error.
    fn find_axis(
        &self,
        name: &str,
        field: &str,
        text: &str,
        errors: &mut Vec<FieldError>,
    ) -> String {
        if self.axes.iter().any(|axis| axis.name == name) {
            return name.to_owned();
        }
        let near = nearest(name, self.axes.iter().map(|axis| axis.name.as_str()));
        let start = text.find(&format!("{{{name}}}")).unwrap_or(0);
        let error = FieldError::new(field, format!("no axis is named `{name}`")).nearest(near);
        errors.push(FieldError { at: Some(start..start + name.len() + 2), ..error });
        near.unwrap_or(name).to_owned()
    }

    /// Whether an axis is of use and collides with no other. `written` are the texts that a
    /// prompt may hold; what the axis puts into it is added.
    fn check_axis(
        &self,
        axis: &SweepAxis,
        used: &[String],
        written: &mut Vec<String>,
    ) -> Result<(), FieldError> {
        let field = format!("sweep.axes.{}", axis.name);
        let usable = |c: char| c.is_alphanumeric() || "_.-".contains(c);
        if axis.name.is_empty() || !axis.name.chars().all(usable) {
            let message = "an axis's name is letters, digits, dots, dashes and underscores";
            return Err(FieldError::new(field, message));
        }
        if let Axis::Replace(Replace { replace, with }) = &axis.axis {
            if fields::is_field(&axis.name) {
                let message = "a field of [render]; call an axis that replaces text otherwise";
                return Err(FieldError::new(field, message));
            }
            // What one axis puts in another one may look for.
            if !written.iter().any(|text| text.contains(replace.as_str())) {
                let message = format!("the prompt says {replace:?} nowhere");
                return Err(FieldError::new(field, message));
            }
            written.extend(with.iter().cloned());
            return Ok(());
        }
        if !axis.is_field && !used.contains(&axis.name) {
            let known = fields::names();
            let near = nearest(&axis.name, known.iter().map(String::as_str));
            let message =
                format!("neither a field of [render] nor used in the prompt as {{{}}}", axis.name);
            return Err(FieldError::new(field, message).nearest(near));
        }
        let inside = |other: &SweepAxis| axis.name.starts_with(&format!("{}.", other.name));
        match self.axes.iter().find(|other| axis.is_field && inside(other)) {
            Some(other) => {
                let message = format!("the axis `{}` already sets this field", other.name);
                Err(FieldError::new(field, message))
            }
            None => Ok(()),
        }
    }

    /// Every value of a field's axis is one that the field takes. Of an axis the first wrong
    /// values are told, of those in `told` none.
    fn check_values(&self, template_field: &str, told: &[FieldError]) -> Vec<FieldError> {
        let mut values: Vec<(String, Value)> = (0..self.axes.len())
            .map(|i| (self.axes[i].name.clone(), self.value(i, 0).unwrap_or(Value::Null)))
            .collect();
        // What is wrong with any text in the placeholders is wrong with the template.
        let mut named = values.clone();
        for (axis, (_, value)) in self.axes.iter().zip(&mut named).filter(|(a, _)| !a.is_field) {
            *value = Value::from(format!("<{}>", axis.name));
        }
        if !self.axes.iter().any(|axis| axis.name == "prompt")
            && let Ok(settings) = self.render(&named)
            && let Some(error) = check::field(&settings, "prompt")
            && told.iter().all(|told| told.field != template_field)
        {
            return vec![FieldError { field: template_field.into(), ..error }];
        }
        // A wrong value of one axis is not to be held against another one.
        for (axis, (_, value)) in self.axes.iter().zip(&mut values).filter(|(a, _)| a.is_field) {
            *value = if axis.name == "prompt" { "<prompt>".into() } else { Value::Null };
        }
        let mut errors = Vec::new();
        for (i, axis) in self.axes.iter().enumerate() {
            let field = format!("sweep.axes.{}", axis.name);
            if told.iter().all(|told| told.field != field) {
                errors.extend(self.check_axis_values(i, &values));
            }
        }
        errors
    }

    /// What is wrong with the values of axis `i`, tried with these values on the other axes.
    fn check_axis_values(&self, i: usize, others: &[(String, Value)]) -> Vec<FieldError> {
        let axis = &self.axes[i];
        let field = format!("sweep.axes.{}", axis.name);
        let numbered = |part: &str, values: Vec<Value>| {
            let at = |(n, value)| (format!("{field}{part}[{n}]"), value);
            values.into_iter().enumerate().map(at).collect()
        };
        let at = |place| self.value(i, place).unwrap_or(Value::Null);
        let candidates: Vec<(String, Value)> = match &axis.axis {
            Axis::List(values) => numbered("", values.clone()),
            Axis::Replace(Replace { with, .. }) => {
                numbered(".with", with.iter().map(|text| text.as_str().into()).collect())
            }
            Axis::Range(range) if axis.whole && !range.is_distinct_when_truncated() => {
                let message = "the range repeats whole numbers, and the field takes no others";
                return vec![FieldError::new(field, message)];
            }
            // Numbers between two that the field takes are taken too.
            Axis::Range(range) => {
                let mut ends = vec![0, range.len() - 1];
                ends.dedup();
                ends.into_iter().map(|place| (field.clone(), at(place))).collect()
            }
            Axis::Random(random) => {
                let end = |x: f64| if axis.whole { (x as i64).into() } else { x.into() };
                random.span().map(|x| (field.clone(), end(x))).into()
            }
            Axis::File(_) | Axis::Glob(_) => Vec::new(),
        };
        let mut values = others.to_vec();
        let mut errors: Vec<FieldError> = Vec::new();
        for (field, value) in candidates {
            values[i].1 = value;
            let wrong = if !axis.is_field && !values[i].1.is_string() && !values[i].1.is_number() {
                Some(FieldError::new("", "a placeholder's values are text or numbers"))
            } else {
                match self.render(&values) {
                    Ok(settings) => check::field(&settings, &axis.name)
                        .or_else(|| check::field(&settings, "prompt")),
                    Err(error) => Some(error),
                }
            };
            errors.extend(wrong.map(|error| FieldError { field, at: None, ..error }));
            if errors.len() == MAX_PROBLEMS {
                break;
            }
        }
        errors
    }
}

/// Where the prompt's template stands.
fn template_field(spec: &SweepSpec) -> &'static str {
    if spec.prompt.is_some() { "sweep.prompt" } else { "render.prompt" }
}
