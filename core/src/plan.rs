//! From a job to layers of numbered tasks. A task is arithmetic, never a record.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::job::{FieldError, Job};
use crate::sweep::{Cell, Sweep};

/// When a task of a layer may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dependency {
    /// At once.
    Independent,
    /// Task i after task i-1 of the same layer.
    Chain,
    /// Task i after tasks i-1, i and i+1 of the layer below.
    Neighbours,
    /// After all tasks of all layers below.
    All,
}

/// Why there is no such plan or task.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error("the job has no task {index} in layer {layer}")]
    NoSuchTask { layer: u8, index: u64 },
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// One layer of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `render`, `stitch`; names the layer's keys in storage.
    pub name: String,
    /// How many tasks it has, numbered from 0.
    pub tasks: u64,
    pub dependency: Dependency,
    /// What one task does.
    pub work: Work,
}

/// What the tasks of a layer do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Task i optimises and stores frame i.
    Render,
    /// The one task makes the outputs from all frames.
    Stitch,
}

/// One task with all that is needed to do it.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskSpec {
    Render(Box<Cell>),
    Stitch,
}

/// A job's layers and cells.
#[derive(Clone, Debug)]
pub struct Plan {
    pub layers: Vec<Layer>,
    sweep: Sweep,
}

impl Plan {
    pub fn new(job: &Job) -> Result<Self, PlanError> {
        let sweep = job.cells()?;
        let render = Layer {
            name: "render".into(),
            tasks: sweep.len(),
            dependency: Dependency::Independent,
            work: Work::Render,
        };
        let stitch = Layer {
            name: "stitch".into(),
            tasks: 1,
            dependency: Dependency::All,
            work: Work::Stitch,
        };
        Ok(Self { layers: vec![render, stitch], sweep })
    }

    /// The cells of the `render` layer.
    pub fn sweep(&self) -> &Sweep {
        &self.sweep
    }

    /// What task `index` of layer number `layer` does.
    pub fn task(&self, layer: u8, index: u64) -> Result<TaskSpec, PlanError> {
        let found = self.layers.get(usize::from(layer)).filter(|found| index < found.tasks);
        match found.map(|found| found.work) {
            None => Err(PlanError::NoSuchTask { layer, index }),
            Some(Work::Render) => Ok(TaskSpec::Render(Box::new(self.sweep.cell(index)?))),
            Some(Work::Stitch) => Ok(TaskSpec::Stitch),
        }
    }
}

/// Numbers of tasks as the fewest ranges, ascending.
pub fn ranges(numbers: &BTreeSet<u64>) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some(range) if range.end == number => range.end += 1,
            _ => ranges.push(number..number + 1),
        }
    }
    ranges
}
