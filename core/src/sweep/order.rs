//! In which order a sweep's cells are rendered.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::coverage::Coverage;

/// As a job says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};
    use crate::job::Job;
    use crate::plan::Plan;

    fn job(sweep: &str) -> Job {
        let text = format!(
            "version = 1\n[render]\nprompt = \"a\"\n[sweep]\n{sweep}\n[sweep.axes]\nseed = \
             \"1-6\"\nstep_size = [0.1, 0.2]\n"
        );
        let document = Document::parse("job.toml", text.as_bytes()).unwrap();
        document.job(Limits::default(), |_| Ok(Vec::new())).unwrap()
    }

    fn cells(job: &Job) -> Vec<u64> {
        let plan = Plan::new(job).unwrap();
        let cells: Vec<u64> =
            (0..plan.layers[0].tasks).map(|task| plan.layers[0].number_of(task)).collect();
        for (task, &cell) in (0..).zip(&cells) {
            assert_eq!(plan.layers[0].frames_of(task), Some(cell..cell + 1));
            assert_eq!(plan.layers[0].task_of(cell), task);
            assert_eq!(plan.maker(cell), Some((0, task)));
        }
        cells
    }

    #[test]
    fn the_order_is_written_out_and_changes_no_picture() {
        let (coverage, ascending) = (job(""), job("order = \"ascending\""));
        assert_eq!(coverage.sweep.as_ref().unwrap().order, Some(Order::Coverage));
        assert_eq!(coverage.spec_hash(), ascending.spec_hash());
        assert_eq!(cells(&ascending), (0..12).collect::<Vec<_>>());
        let mut order = cells(&coverage);
        assert_ne!(order, cells(&ascending));
        order.sort_unstable();
        assert_eq!(order, cells(&ascending));
        // As farms have it stored from before: their queues number tasks by cells.
        let mut old = coverage.clone();
        old.sweep.as_mut().unwrap().order = None;
        assert_eq!((cells(&old), old.spec_hash()), (cells(&ascending), coverage.spec_hash()));
    }

    #[test]
    fn chosen_cells_come_as_they_would_among_all() {
        let all = job("");
        let chosen = job("where = \"seed in [2, 3, 6]\"");
        let all = cells(&all).into_iter().filter(|cell| [1, 2, 5].contains(&(cell / 2)));
        // Among the chosen, cells are numbered anew.
        let renumbered = all.map(|cell| match cell / 2 {
            1 => cell % 2,
            2 => 2 + cell % 2,
            _ => 4 + cell % 2,
        });
        assert_eq!(cells(&chosen), renumbered.collect::<Vec<_>>());
    }
}
