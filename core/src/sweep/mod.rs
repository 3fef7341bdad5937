//! Sweeps: one job, many cells. A cell is computed from its number; nothing is expanded.

mod axis;
mod combine;
mod range;
mod template;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::axis::{Axes, Axis};
use self::combine::Combine;
pub use self::range::Range;
use self::template::Template;
use crate::fields;
use crate::job::{FieldError, Job};
use crate::nearest::nearest;
use crate::render::RenderSettings;

/// A job's `[sweep]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSpec {
    /// The prompt with `{axis}` placeholders; `render.prompt` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `*` crosses, `(a, b)` walks together; all axes crossed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<String>,
    pub axes: Axes,
}

/// One cell: where it is on the axes and what to render.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    pub index: u64,
    /// The value on each axis, in the axes' order.
    pub values: Vec<(String, Value)>,
    pub render: RenderSettings,
}

/// All cells of a job, asked for by number.
#[derive(Clone, Debug)]
pub struct Sweep {
    base: Value,
    template: Option<String>,
    axes: Vec<SweepAxis>,
    lens: Vec<u64>,
    combine: Combine,
}

#[derive(Clone, Debug)]
struct SweepAxis {
    name: String,
    axis: Axis,
    is_field: bool,
    whole: bool,
}

impl Sweep {
    /// The cells of a resolved job.
    ///
    /// # Errors
    /// Names the field: an axis that is neither a render field nor used by the prompt, a
    /// placeholder without an axis, a `combine` that does not fit, an axis still in a file.
    pub fn new(job: &Job) -> Result<Self, FieldError> {
        let base = fields::to_json(&job.render);
        let Some(spec) = &job.sweep else {
            let combine = Combine::all(&[]).map_err(|e| FieldError::new("sweep", e))?;
            return Ok(Self { base, template: None, axes: vec![], lens: vec![], combine });
        };
        let mut axes = Vec::new();
        let mut lens = Vec::new();
        for (name, axis) in &spec.axes.0 {
            let Some(len) = axis.len() else {
                let field = format!("sweep.axes.{name}");
                return Err(FieldError::new(field, "its file has not been read"));
            };
            lens.push(len);
            axes.push(SweepAxis {
                is_field: fields::is_field(name),
                whole: fields::is_whole(name),
                name: name.clone(),
                axis: axis.clone(),
            });
        }
        let names: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
        let combine = match &spec.combine {
            Some(text) => Combine::parse(text, &names, &lens),
            None => Combine::all(&lens),
        };
        let combine = combine.map_err(|e| FieldError::new("sweep.combine", e))?;
        let template = Some(spec.prompt.clone().unwrap_or_else(|| job.render.prompt.clone()));
        let sweep = Self { base, template, axes, lens, combine };
        sweep.check_names(spec)?;
        sweep.check_values()?;
        Ok(sweep)
    }

    /// How many cells; at least 1.
    #[allow(clippy::len_without_is_empty)] // A sweep is never empty.
    pub fn len(&self) -> u64 {
        self.combine.len()
    }

    /// The axes' names and lengths, in their order.
    pub fn axes(&self) -> impl ExactSizeIterator<Item = (&str, u64)> {
        self.axes.iter().zip(&self.lens).map(|(axis, len)| (axis.name.as_str(), *len))
    }

    /// The value at `place` of axis number `axis`.
    pub fn value(&self, axis: usize, place: u64) -> Option<Value> {
        let axis = self.axes.get(axis)?;
        axis.axis.value(place, axis.whole)
    }

    /// Where cell `index` stands on each axis; `None` past the last cell.
    pub fn places(&self, index: u64) -> Option<Vec<u64>> {
        if index >= self.len() {
            return None;
        }
        let mut places = vec![0; self.axes.len()];
        self.combine.places(index, &mut places);
        Some(places)
    }

    /// Cell number `index`.
    ///
    /// # Errors
    /// There is no such cell; or a value that the checks of [`Sweep::new`] did not see.
    pub fn cell(&self, index: u64) -> Result<Cell, FieldError> {
        let places = self.places(index).ok_or_else(|| {
            FieldError::new("sweep", format!("no cell {index}; the last is {}", self.len() - 1))
        })?;
        let mut values = Vec::with_capacity(places.len());
        for (axis, place) in places.into_iter().enumerate() {
            let value = self.value(axis, place).unwrap_or(Value::Null);
            values.push((self.axes[axis].name.clone(), value));
        }
        let render = self.render(&values)?;
        Ok(Cell { index, values, render })
    }

    /// The settings with these values on the axes.
    fn render(&self, values: &[(String, Value)]) -> Result<RenderSettings, FieldError> {
        let mut tree = self.base.clone();
        let mut template = self.template.clone();
        for (axis, (name, value)) in self.axes.iter().zip(values) {
            match value {
                Value::String(text) if name == "prompt" => template = Some(text.clone()),
                _ if axis.is_field => fields::put(&mut tree, name, value.clone()),
                _ => (),
            }
        }
        if let Some(template) = template {
            let template =
                Template::parse(&template).map_err(|e| FieldError::new("sweep.prompt", e))?;
            let value = |name: &str| {
                values.iter().find(|(axis, _)| axis == name).map(|(_, value)| label(value))
            };
            fields::put(&mut tree, "prompt", Value::String(template.fill(value)));
        }
        crate::tree::from_json(&tree).map_err(|e| e.under("render"))
    }

    /// Every placeholder has an axis, every axis is of use, and no two of them collide.
    fn check_names(&self, spec: &SweepSpec) -> Result<(), FieldError> {
        let prompts = self.axes.iter().find(|axis| axis.name == "prompt");
        if prompts.is_some() && spec.prompt.is_some() {
            return Err(FieldError::new(
                "sweep.prompt",
                "the axis `prompt` already says every cell's prompt; leave one of them out",
            ));
        }
        let mut used: Vec<String> = Vec::new();
        let templates: Vec<(String, String)> = match prompts.map(|axis| &axis.axis) {
            Some(Axis::List(values)) => values
                .iter()
                .enumerate()
                .map(|(i, value)| (format!("sweep.axes.prompt[{i}]"), label(value)))
                .collect(),
            _ => {
                let field = if spec.prompt.is_some() { "sweep.prompt" } else { "render.prompt" };
                vec![(field.into(), self.template.clone().unwrap_or_default())]
            }
        };
        for (field, text) in templates {
            let template = Template::parse(&text).map_err(|e| FieldError::new(&field, e))?;
            for name in template.names() {
                if !self.axes.iter().any(|axis| axis.name == name) {
                    let near = nearest(name, self.axes.iter().map(|axis| axis.name.as_str()));
                    return Err(
                        FieldError::new(field, format!("no axis is named `{name}`")).nearest(near)
                    );
                }
                used.push(name.to_owned());
            }
        }
        for (i, axis) in self.axes.iter().enumerate() {
            let field = format!("sweep.axes.{}", axis.name);
            if !axis.is_field && !used.contains(&axis.name) {
                let known = fields::names();
                let near = nearest(&axis.name, known.iter().map(String::as_str));
                let message = format!(
                    "neither a field of [render] nor used in the prompt as {{{}}}",
                    axis.name
                );
                return Err(FieldError::new(field, message).nearest(near));
            }
            let inside = |other: &SweepAxis| axis.name.starts_with(&format!("{}.", other.name));
            if let Some(other) = self.axes.iter().find(|other| axis.is_field && inside(other)) {
                let message = format!("the axis `{}` already sets this field", other.name);
                return Err(FieldError::new(field, message));
            }
            if i > 0 && self.axes[..i].iter().any(|other| other.name == axis.name) {
                return Err(FieldError::new(field, "the axis is there twice"));
            }
        }
        Ok(())
    }

    /// Every value of a field's axis is one that the field takes.
    fn check_values(&self) -> Result<(), FieldError> {
        let first: Vec<(String, Value)> = (0..self.axes.len())
            .map(|i| (self.axes[i].name.clone(), self.value(i, 0).unwrap_or(Value::Null)))
            .collect();
        for (i, axis) in self.axes.iter().enumerate() {
            let field = format!("sweep.axes.{}", axis.name);
            let places = match &axis.axis {
                Axis::List(values) => (0..values.len() as u64).collect(),
                Axis::Range(range) if axis.whole && !range.is_distinct_when_truncated() => {
                    let message = "the range repeats whole numbers, and the field takes no others";
                    return Err(FieldError::new(field, message));
                }
                // Numbers between two that the field takes are taken too.
                Axis::Range(range) => vec![0, range.len() - 1],
                Axis::File(_) => Vec::new(),
            };
            let mut values = first.clone();
            for place in places {
                let field = match axis.axis {
                    Axis::List(_) => format!("{field}[{place}]"),
                    _ => field.clone(),
                };
                values[i].1 = self.value(i, place).unwrap_or(Value::Null);
                if axis.is_field {
                    let settings = self
                        .render(&values)
                        .map_err(|e| FieldError { field: field.clone(), ..e })?;
                    if let Some(error) = crate::check::field(&settings, &axis.name) {
                        return Err(FieldError { field, ..error });
                    }
                } else if !values[i].1.is_string() && !values[i].1.is_number() {
                    let message = "a placeholder's values are text or numbers";
                    return Err(FieldError::new(field, message));
                }
            }
        }
        Ok(())
    }
}

/// A value as people read it: on a contact sheet, in a prompt.
pub fn label(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(label).collect();
            let numbers = value[0].is_number();
            items.join(if numbers { "×" } else { ", " })
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(k, v)| format!("{k} {}", label(v))).collect();
            fields.join(", ")
        }
        scalar => scalar.to_string(),
    }
}
