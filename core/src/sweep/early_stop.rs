//! `[sweep.early_stop]`: a few iterations of every cell, all of them of the best.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Sweep;
use crate::job::FieldError;

/// Cells that are ranked, at most.
const MOST_RANKED: u64 = 100_000;

/// When cells are stopped, and how many go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// Iterations of every cell; those that are kept go on from there to `render.iterations`.
    #[schemars(range(min = 1))]
    pub iterations: u32,
    /// How many go on by their scores, or a share below 1; none when left out, until somebody
    /// chooses some.
    #[serde(default)]
    pub keep: Keep,
}

/// How many cells are kept: a whole number of them, or a share below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Keep {
    Cells(u64),
    Share(f64),
}

impl Default for Keep {
    fn default() -> Self {
        Self::Cells(0)
    }
}

impl EarlyStop {
    /// How many of `cells` go on by their scores.
    pub fn kept(&self, cells: u64) -> u64 {
        match self.keep {
            Keep::Cells(kept) => kept.min(cells),
            // At least one: nobody writes a share to have none.
            Keep::Share(share) => ((cells as f64 * share).round() as u64).clamp(1, cells.max(1)),
        }
    }

    /// What is wrong with it, in a sweep whose cells have so many iterations.
    pub(crate) fn check(&self, sweep: &Sweep, iterations: u32) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |field: &str, message: String| {
            errors.push(FieldError::new(format!("sweep.early_stop.{field}"), message));
        };
        if sweep.axes().any(|(name, _)| name == "iterations") {
            let message = "`iterations` is an axis; cells that are stopped early have one number";
            wrong("iterations", message.into());
        } else if !(1..iterations).contains(&self.iterations) {
            let message = format!("at least 1 and below render.iterations, which is {iterations}");
            wrong("iterations", message);
        }
        match self.keep {
            Keep::Share(share) if !(share > 0.0 && share < 1.0) => {
                wrong("keep", "a number of cells, as 8, or a share between 0 and 1, as 0.1".into());
            }
            Keep::Cells(kept) if kept > sweep.len() => {
                wrong("keep", format!("{kept} are more than the {} cells", sweep.len()));
            }
            _ => (),
        }
        if sweep.len() > MOST_RANKED {
            let message =
                format!("{} cells; {MOST_RANKED} are the most that are ranked", sweep.len());
            errors.push(FieldError::new("sweep.early_stop", message));
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Document, Limits};

    fn read(early_stop: &str, more: &str) -> Result<Option<EarlyStop>, String> {
        let text = format!(
            "version = 1\n[render]\nprompt = \"a\"\niterations = 100\n[sweep.axes]\nseed = \
             \"1-10\"\n{more}\n[sweep.early_stop]\n{early_stop}\n"
        );
        let document = Document::parse("job.toml", text.as_bytes()).map_err(|e| e.to_string())?;
        let job = document.job(Limits::default(), |_| Ok(Vec::new())).map_err(|e| e.to_string())?;
        Ok(job.sweep.and_then(|sweep| sweep.early_stop))
    }

    #[test]
    fn cells_and_shares_are_kept() {
        for (text, kept) in [("", 0), ("keep = 3", 3), ("keep = 0.25", 3), ("keep = 0.01", 1)] {
            let stop = read(&format!("iterations = 10\n{text}"), "").unwrap().unwrap();
            assert_eq!((stop.iterations, stop.kept(10)), (10, kept), "{text}");
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_are() {
        for (early_stop, more, said) in [
            ("iterations = 100", "", "sweep.early_stop.iterations: at least 1 and below"),
            ("iterations = 0", "", "sweep.early_stop.iterations: at least 1 and below"),
            ("iterations = 10\nkeep = 11", "", "keep: 11 are more than the 10 cells"),
            ("iterations = 10\nkeep = 1.5", "", "sweep.early_stop.keep: a number of cells"),
            ("iterations = 10\nkeep = -1", "", "early_stop.keep"),
            ("iterations = 10\nkep = 1", "", "did you mean"),
            ("keep = 1", "", "iterations"),
            ("iterations = 10", "iterations = [50, 60]", "`iterations` is an axis"),
            ("iterations = 10", "init_weight = \"1-20000\"", "200000 cells; 100000 are the most"),
        ] {
            let refused = read(early_stop, more).unwrap_err();
            assert!(refused.contains(said), "{early_stop}: {refused}");
        }
    }
}
