//! Progress on standard error: a bar of cells, one line for each cell being rendered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use vqfarm_core::event::Event;

use crate::style;

/// Draws nothing where standard error is no terminal.
pub struct Progress {
    bars: MultiProgress,
    total: Option<Total>,
    cells: BTreeMap<u64, ProgressBar>,
    /// Frames of the film that is made of the frames.
    film: Option<ProgressBar>,
    quiet: bool,
}

/// Everything that is left of the job, measured in iterations.
struct Total {
    bar: ProgressBar,
    cells: u64,
    done: u64,
    started: Instant,
    /// Iterations made in this run.
    made: u64,
    /// Iterations of a whole cell, once one is known.
    each: u64,
    stored: u64,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bars, total: None, cells: BTreeMap::new(), film: None, quiet }
    }

    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Started {
                name, cells, stored, size: [width, height], device, lanes, ..
            } => {
                let stored_note = match stored {
                    0 => String::new(),
                    n => format!(", {n} stored already"),
                };
                let at_once =
                    if *lanes > 1 { format!(", {lanes} at a time") } else { String::new() };
                self.say(&format!(
                    "{name}: {cells} of {width}×{height}{stored_note}, on {device}{at_once}"
                ));
                self.total = Some(Total::new(&self.bars, *cells, *stored));
            }
            Event::Warning { message } => {
                self.say(&format!("{}: {message}", style::warning("warning")));
            }
            Event::Progress { cell, iteration, iterations } => {
                self.advance(*cell, *iteration, *iterations);
            }
            Event::Frame { cell, adopted, .. } => {
                let finished = self.finish_cell(*cell);
                if let Some(total) = &mut self.total {
                    total.frame(finished, *adopted);
                }
            }
            Event::Failed { cell, reason } => {
                self.finish_cell(*cell);
                self.say(&format!("{}: cell {cell}: {reason}", style::error("failed")));
            }
            Event::Stitching { done, of } => self.stitch(*done, *of),
            Event::Summary(_) | Event::Error { .. } => (),
        }
    }

    /// Takes the bars away.
    pub fn finish(&mut self) {
        for bar in std::mem::take(&mut self.cells).into_values() {
            bar.finish_and_clear();
        }
        if let Some(total) = self.total.take() {
            total.bar.finish_and_clear();
        }
        if let Some(film) = self.film.take() {
            film.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.bars.suspend(|| anstream::eprintln!("{line}"));
        }
    }

    fn advance(&mut self, cell: u64, iteration: u32, iterations: u32) {
        let bars = &self.bars;
        let bar = self.cells.entry(cell).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(u64::from(iterations)));
            bar.set_style(style_of("  {prefix:<12} {bar:24.dim} {pos}/{len}"));
            bar.set_prefix(format!("cell {cell}"));
            bar
        });
        let step = u64::from(iteration).saturating_sub(bar.position());
        bar.set_position(u64::from(iteration));
        if let Some(total) = &mut self.total {
            total.iterations(step, u64::from(iterations));
        }
    }

    fn stitch(&mut self, done: u64, of: u64) {
        let bars = &self.bars;
        let bar = self.film.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(of));
            bar.set_style(style_of("  {prefix:<12} {bar:24} {pos}/{len}  {eta} left"));
            bar.set_prefix("film");
            bar
        });
        bar.set_position(done);
    }

    /// Removes a cell's line and says how many of its iterations were counted, if any.
    fn finish_cell(&mut self, cell: u64) -> Option<u64> {
        let bar = self.cells.remove(&cell)?;
        let counted = bar.position();
        bar.finish_and_clear();
        self.bars.remove(&bar);
        Some(counted)
    }
}

impl Total {
    fn new(bars: &MultiProgress, cells: u64, stored: u64) -> Self {
        let bar = bars.add(ProgressBar::new(cells));
        bar.set_style(style_of("  {prefix:<12} {bar:24} {pos}/{len}  {msg}"));
        bar.set_prefix("frames");
        bar.set_position(stored);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, cells, done: stored, started: Instant::now(), made: 0, each: 0, stored }
    }

    fn iterations(&mut self, step: u64, each: u64) {
        self.made += step;
        self.each = each;
        self.tell();
    }

    fn frame(&mut self, counted: Option<u64>, adopted: bool) {
        // Frames that were there before are counted from the start.
        if !adopted {
            self.made += self.each.saturating_sub(counted.unwrap_or(0));
        }
        if self.done < self.cells && !(adopted && self.done < self.stored) {
            self.done += 1;
        }
        self.bar.set_position(self.done);
        self.tell();
    }

    fn tell(&self) {
        let seconds = self.started.elapsed().as_secs_f64();
        if self.made == 0 || seconds <= 0.0 {
            return;
        }
        let pace = self.made as f64 / seconds;
        let all = self.each * (self.cells - self.stored);
        let left = Duration::from_secs_f64(all.saturating_sub(self.made) as f64 / pace);
        let left = indicatif::HumanDuration(left);
        self.bar.set_message(format!("{pace:.1} iterations/s, {left:#} left"));
    }
}

fn style_of(template: &str) -> ProgressStyle {
    // The templates are constants of ours; a mistake in one must not stop a render.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
