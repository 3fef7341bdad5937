//! Sweeps: one job, many cells. A cell is computed from its number; nothing is expanded.

mod axis;
mod combine;
mod condition;
mod coverage;
mod early_stop;
mod order;
mod random;
mod range;
mod template;
mod variants;
mod written;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::axis::with_forms;
pub use self::axis::{Axes, Axis, Replace};
use self::combine::Combine;
use self::condition::Condition;
use self::coverage::{Coverage, Factor};
pub use self::early_stop::{EarlyStop, Keep};
pub use self::order::{CellOrder, Order};
pub use self::random::{Random, Scale};
pub use self::range::Range;
use self::template::Template;
pub(crate) use self::variants::are_in as has_variants;
pub use self::variants::escaped as escaped_prompt;
pub use self::written::Beside;
pub(crate) use self::written::Files;
use crate::check;
use crate::fields;
use crate::file::MAX_PROBLEMS;
use crate::job::{FieldError, Job};
use crate::nearest::nearest;
use crate::render::RenderSettings;

/// A job's `[sweep]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSpec {
    /// The prompt with `{axis}` placeholders; `render.prompt` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// `*` crosses, `(a, b)` walks together; axes that it leaves out are crossed with the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub combine: Option<String>,
    /// Which combinations are cells, as `style != 'dots' or seed < 3`; all when left out.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// In which order cells are rendered. A resolved job says it; where one does not, it is of a
    /// version that knew [`Order::Ascending`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Only the best cells are rendered to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
    /// So many draws of the prompt's variants, by their weights, in place of all. A resolved job
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<u64>,
    #[serde(default)]
    pub axes: Axes,
}

impl SweepSpec {
    /// Makes `combine` name every axis.
    pub(crate) fn write_combine(&mut self) {
        let text = self.combine.take().unwrap_or_default();
        let named = |name: &str| text.split(|c: char| "()*, \t".contains(c)).any(|n| n == name);
        let all = self.axes.0.iter().map(|(name, _)| name.as_str());
        let given = (!text.trim().is_empty()).then_some(text.trim());
        let all: Vec<&str> = given.into_iter().chain(all.filter(|name| !named(name))).collect();
        self.combine = Some(all.join(" * "));
    }
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
    /// The combinations that are cells; all when left out.
    kept: Option<Arc<[u64]>>,
}

/// Combinations that a condition is asked of, at most.
const MOST_ASKED: u64 = 200_000;

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
        Self::checked(job).map_err(|mut errors| errors.swap_remove(0))
    }

    /// As [`Self::new`], with everything that is wrong.
    pub(crate) fn checked(job: &Job) -> Result<Self, Vec<FieldError>> {
        let base = fields::to_json(&job.render);
        let Some(spec) = &job.sweep else {
            let (axes, lens, combine) = (vec![], vec![], Combine::none());
            return Ok(Self { base, template: None, axes, lens, combine, kept: None });
        };
        let mut axes = Vec::new();
        let mut lens = Vec::new();
        for (name, axis) in &spec.axes.0 {
            let Some(len) = axis.len() else {
                let field = format!("sweep.axes.{name}");
                return Err(vec![FieldError::new(field, "its file has not been read")]);
            };
            lens.push(len);
            axes.push(SweepAxis {
                is_field: fields::is_field(name) && !matches!(axis, Axis::Replace(_)),
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
        let template = Some(spec.prompt.clone().unwrap_or_else(|| job.render.prompt.clone()));
        let (combine, mut errors) = match combine {
            Ok(combine) => (combine, Vec::new()),
            Err(error) => (Combine::none(), vec![FieldError::new("sweep.combine", error)]),
        };
        let mut sweep = Self { base, template, axes, lens, combine, kept: None };
        errors.extend(sweep.check_names(spec));
        // Values are tried in the prompt, which must be one.
        if sweep.has_templates() {
            let values = sweep.check_values(template_field(spec), &errors);
            errors.extend(values);
        }
        if let Some(condition) = spec.condition.as_ref().filter(|_| errors.is_empty()) {
            match sweep.those_where(condition) {
                Ok(kept) => sweep.kept = Some(kept),
                Err(error) => errors.push(FieldError::new("sweep.where", error)),
            }
        }
        if errors.is_empty() { Ok(sweep) } else { Err(errors) }
    }

    /// The combinations for which a condition holds.
    fn those_where(&self, condition: &str) -> Result<Arc<[u64]>, String> {
        let names: Vec<&str> = self.axes.iter().map(|axis| axis.name.as_str()).collect();
        let condition = Condition::parse(condition, &names)?;
        let all = self.combine.len();
        if all > MOST_ASKED {
            return Err(format!(
                "{all} combinations are too many to choose from; {MOST_ASKED} are the most"
            ));
        }
        let mut places = vec![0; self.axes.len()];
        let mut kept = Vec::new();
        for index in 0..all {
            self.combine.places(index, &mut places);
            let value = |axis: usize| self.value(axis, places[axis]).unwrap_or(Value::Null);
            if condition.holds(&value)? {
                kept.push(index);
            }
        }
        if kept.is_empty() {
            return Err("it holds for none of the combinations".into());
        }
        Ok(kept.into())
    }

    /// In which order its cells are rendered.
    pub fn order(&self, order: Order) -> CellOrder {
        let free = |axis: usize| {
            let axis = &self.axes[axis];
            !axis.is_field || fields::is_free_in_a_batch(&axis.name)
        };
        let factor =
            |(len, axes): (u64, Vec<usize>)| Factor { len, is_free: axes.into_iter().all(free) };
        match order {
            Order::Ascending => CellOrder::Ascending,
            Order::Coverage => {
                let factors = self.combine.factors().into_iter().map(factor).collect();
                CellOrder::coverage(Coverage::new(factors), self.kept.as_deref())
            }
        }
    }

    /// How many cells; at least 1.
    #[allow(clippy::len_without_is_empty)] // A sweep is never empty.
    pub fn len(&self) -> u64 {
        self.kept.as_ref().map_or(self.combine.len(), |kept| kept.len() as u64)
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
        let combination = match &self.kept {
            Some(kept) => kept.get(usize::try_from(index).ok()?).copied()?,
            None => index,
        };
        let mut places = vec![0; self.axes.len()];
        self.combine.places(combination, &mut places);
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

    /// The settings with these values on the axes; those without a value are as in `[render]`.
    fn render(&self, values: &[(String, Value)]) -> Result<RenderSettings, FieldError> {
        let mut tree = self.base.clone();
        let mut template = self.template.clone();
        for (axis, (name, value)) in self.axes.iter().zip(values) {
            if axis.is_field && !value.is_null() {
                fields::put(&mut tree, name, value.clone());
            }
            if name == "prompt" {
                template = value.as_str().map(str::to_owned);
            }
        }
        if let Some(template) = template {
            let template =
                Template::parse(&template).map_err(|e| FieldError::new("sweep.prompt", e))?;
            let value = |name: &str| {
                values.iter().find(|(axis, _)| axis == name).map(|(_, value)| label(value))
            };
            let mut prompt = template.fill(value);
            for (axis, (_, value)) in self.axes.iter().zip(values) {
                if let (Axis::Replace(Replace { replace, .. }), Value::String(with)) =
                    (&axis.axis, value)
                {
                    prompt = prompt.replace(replace, with);
                }
            }
            fields::put(&mut tree, "prompt", Value::String(prompt));
        }
        crate::tree::from_json(&tree).map_err(|e| e.under("render"))
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
