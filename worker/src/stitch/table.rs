//! What a sweep's overviews are made of: its axes and one entry a cell.

use serde::Serialize;

use super::settings::Settings;

/// One thing that varies from cell to cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Axis {
    pub name: String,
    /// As a person would write them, in the job's order.
    pub values: Vec<String>,
}

/// One cell of the sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub index: u64,
    /// For each axis, which of its values this cell has.
    pub place: Vec<usize>,
    pub prompt: String,
    pub seed: u64,
    /// Cosine between the picture's and the prompt's features.
    pub score: Option<f32>,
    /// Iterations after which it was stopped, of a sweep that stops cells early.
    pub stopped: Option<u32>,
    /// Key of the frame relative to the job's root; none when the cell failed.
    pub image: Option<String>,
    /// Why there is no frame; none, too, where it is not there yet.
    pub error: Option<String>,
    /// [`vqfarm_core::job::cell_identity`]: a hash of all that decides the picture;
    /// empty for a film's frame.
    pub identity: String,
}

/// A whole sweep, as the overviews show it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The job's name.
    pub title: String,
    pub axes: Vec<Axis>,
    pub cells: Vec<Cell>,
    /// Settings that all cells share, as label and value, in the order to show them.
    pub facts: Vec<(String, String)>,
    /// All settings of the cells, in their order.
    pub settings: Settings,
}

impl Table {
    /// The cell's value on an axis.
    pub fn value(&self, cell: &Cell, axis: usize) -> &str {
        &self.axes[axis].values[cell.place[axis]]
    }
}
