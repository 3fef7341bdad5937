//! In which order a sweep's cells are rendered.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::coverage::Coverage;

/// As a job says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// So that those that are there early sample the whole grid.
    #[default]
    Coverage,
    /// From the first to the last.
    Ascending,
}

/// Which cell comes when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CellOrder {
    Ascending,
    /// Cells are all combinations.
    Coverage(Arc<Coverage>),
    /// Cells are those combinations that a condition kept; they come as they would among all.
    Chosen(Arc<Chosen>),
}

/// Cells by turn, and turns by cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    cells: Vec<u64>,
    turns: Vec<u64>,
}

impl CellOrder {
    /// `kept` are the combinations that are cells, where not all are.
    pub(super) fn coverage(coverage: Coverage, kept: Option<&[u64]>) -> Self {
        let Some(kept) = kept else { return Self::Coverage(Arc::new(coverage)) };
        let mut cells: Vec<u64> = (0..kept.len() as u64).collect();
        cells.sort_by_cached_key(|&cell| coverage.turn(kept[cell as usize]));
        let mut turns = vec![0; cells.len()];
        (0..).zip(&cells).for_each(|(turn, &cell)| turns[cell as usize] = turn);
        Self::Chosen(Arc::new(Chosen { cells, turns }))
    }

    /// The cell that comes as number `turn`. Turns that there are not stand for themselves.
    pub fn cell(&self, turn: u64) -> u64 {
        match self {
            Self::Ascending => turn,
            Self::Coverage(all) if turn < all.len() => all.combination(turn),
            Self::Coverage(_) => turn,
            Self::Chosen(chosen) => looked_up(&chosen.cells, turn),
        }
    }

    /// As which number a cell comes: the inverse of [`Self::cell`].
    pub fn turn(&self, cell: u64) -> u64 {
        match self {
            Self::Ascending => cell,
            Self::Coverage(all) if cell < all.len() => all.turn(cell),
            Self::Coverage(_) => cell,
            Self::Chosen(chosen) => looked_up(&chosen.turns, cell),
        }
    }
}

fn looked_up(table: &[u64], at: u64) -> u64 {
    usize::try_from(at).ok().and_then(|at| table.get(at)).copied().unwrap_or(at)
}
