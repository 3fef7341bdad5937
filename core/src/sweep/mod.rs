//! Sweeps: one job, many cells. A cell is computed from its number; nothing is expanded.

mod axis;
mod combine;
mod condition;
mod coverage;
mod early_stop;
mod judge;
mod order;
mod random;
mod range;
mod template;
mod variants;
mod written;

use std::sync::Arc;

use schemars::JsonSchema;
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
use crate::fields;
use crate::job::{FieldError, Job};
use crate::render::RenderSettings;

/// A job's `[sweep]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// In which order cells are rendered; `coverage` in a job file that does not say.
    // A resolved job says it; one that does not is of a version that knew `Order::Ascending` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Only the best cells are rendered to their end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stop: Option<EarlyStop>,
    /// So many draws of the prompt's variants, by their weights, in place of all. A resolved job
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<u64>,
    /// The values of each axis, by its name: a field of `[render]` with its dots, or a placeholder.
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
        sweep.judge(spec, &mut errors);
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
