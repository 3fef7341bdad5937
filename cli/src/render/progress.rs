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
    /// By round, for keyframes, and number.
    cells: BTreeMap<(Option<u32>, u64), ProgressBar>,
    /// What a cell is called.
    noun: &'static str,
    /// Frames of the film, or pages of the contact sheet, that is made of the frames.
    stitched: Option<ProgressBar>,
    quiet: bool,
}

/// Everything that is left of the job, measured in iterations.
struct Total {
    bar: ProgressBar,
    cells: u64,
    done: u64,
    stored: u64,
    taken_over: u64,
    started: Instant,
    /// Iterations made in this run, of so many.
    made: u64,
    iterations: u64,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        let bars = MultiProgress::new();
        if quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bars, total: None, cells: BTreeMap::new(), noun: "cell", stitched: None, quiet }
    }

    pub fn show(&mut self, event: &Event) {
        match event {
            Event::Started {
                name,
                cells,
                stored,
                size: [width, height],
                device,
                lanes,
                film,
                iterations,
                ..
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
                self.noun = if *film { "frame" } else { "cell" };
                self.total = Some(Total::new(&self.bars, *cells, *stored, *iterations));
            }
            Event::Warning { message } => {
                self.say(&format!("{}: {message}", style::warning("warning")));
            }
            Event::Progress { cell, iteration, iterations, round } => {
                self.advance((*round, *cell), *iteration, *iterations);
            }
            Event::Frame { cell, adopted, taken_over, .. } => {
                self.finish_cell((None, *cell));
                if let Some(total) = &mut self.total {
                    total.frame(*adopted, *taken_over);
                }
            }
            Event::Failed { cell, reason } => {
                self.finish_cell((None, *cell));
                let noun = self.noun;
                self.say(&format!("{}: {noun} {cell}: {reason}", style::error("failed")));
            }
            Event::Stitching { done, of } => self.stitch("film", *done, *of),
            Event::Sheet { page, pages, cells, size: [width, height] } => {
                if (*page, *pages > 1) == (1, true) {
                    self.say(&format!(
                        "the contact sheet takes {pages} pages; the first has {cells} cells on \
                         {width}×{height} pixels"
                    ));
                }
                self.stitch("sheet pages", *page, *pages);
            }
            Event::Looked { .. } | Event::Found(_) | Event::Summary(_) | Event::Error { .. } => (),
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
        if let Some(stitched) = self.stitched.take() {
            stitched.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            self.bars.suspend(|| anstream::eprintln!("{line}"));
        }
    }

    fn advance(&mut self, cell: (Option<u32>, u64), iteration: u32, iterations: u32) {
        let (bars, noun) = (&self.bars, self.noun);
        let bar = self.cells.entry(cell).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(u64::from(iterations)));
            bar.set_style(style_of("  {prefix:<12} {bar:24.dim} {pos}/{len}{msg}"));
            match cell {
                (None, index) => bar.set_prefix(format!("{noun} {index}")),
                (Some(round), index) => {
                    bar.set_prefix(format!("keyframe {index}"));
                    bar.set_message(format!("  round {round}"));
                }
            }
            bar
        });
        let step = u64::from(iteration).saturating_sub(bar.position());
        bar.set_position(u64::from(iteration));
        if let Some(total) = &mut self.total {
            total.advance(step);
        }
        if iteration == iterations {
            self.finish_cell(cell);
        }
    }

    fn stitch(&mut self, what: &'static str, done: u64, of: u64) {
        let bars = &self.bars;
        let bar = self.stitched.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(of));
            bar.set_style(style_of("  {prefix:<12} {bar:24} {pos}/{len}  {eta} left"));
            bar.set_prefix(what);
            bar
        });
        bar.set_position(done);
    }

    /// Removes a cell's line.
    fn finish_cell(&mut self, cell: (Option<u32>, u64)) {
        if let Some(bar) = self.cells.remove(&cell) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }
}

impl Total {
    fn new(bars: &MultiProgress, cells: u64, stored: u64, iterations: u64) -> Self {
        let bar = bars.add(ProgressBar::new(cells));
        bar.set_style(style_of("  {prefix:<12} {bar:24} {pos}/{len}  {msg}"));
        bar.set_prefix("frames");
        bar.set_position(stored);
        bar.enable_steady_tick(Duration::from_millis(500));
        Self {
            bar,
            cells,
            done: stored,
            stored,
            taken_over: 0,
            started: Instant::now(),
            made: 0,
            iterations,
        }
    }

    fn advance(&mut self, step: u64) {
        self.made += step;
        self.tell();
    }

    fn frame(&mut self, adopted: bool, taken_over: bool) {
        // Frames that were there before are counted from the start.
        if self.done < self.cells && !(adopted && self.done < self.stored) {
            self.done += 1;
        }
        self.bar.set_position(self.done);
        if taken_over {
            self.taken_over += 1;
            // About as many iterations as a frame has need not be made.
            self.iterations -= self.iterations / (self.cells - self.done + 1).max(1);
        }
        self.tell();
    }

    fn tell(&self) {
        let taken_over = match self.taken_over {
            0 => String::new(),
            n => format!("{n} taken over, "),
        };
        let seconds = self.started.elapsed().as_secs_f64();
        if self.made == 0 || seconds <= 0.0 {
            return;
        }
        let pace = self.made as f64 / seconds;
        let left = self.iterations.saturating_sub(self.made) as f64 / pace;
        let left = indicatif::HumanDuration(Duration::from_secs_f64(left));
        self.bar.set_message(format!("{taken_over}{pace:.1} iterations/s, {left:#} left"));
    }
}

fn style_of(template: &str) -> ProgressStyle {
    // The templates are constants of ours; a mistake in one must not stop a render.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
