//! What was compared, how far apart it was, and how far apart it may be.

use std::fmt;

use tch::{Device, Kind, Tensor};

/// Single blocks and losses.
pub const BLOCK: f64 = 1e-6;
/// Whole networks.
pub const NETWORK: f64 = 1e-5;
/// Gradients and latents of the loop.
pub const LOOP: f64 = 1e-4;

enum Line {
    Close { what: String, error: f64, tolerance: f64 },
    Exact { what: String, wrong: i64, of: i64 },
    Same(String),
    Failed(String),
    Note(String),
}

#[derive(Default)]
pub struct Report(Vec<Line>);

impl Report {
    /// max|ours - theirs| / max|theirs| must not exceed the tolerance.
    pub fn close(
        &mut self,
        what: impl Into<String>,
        ours: &Tensor,
        theirs: &Tensor,
        tolerance: f64,
    ) {
        let what = what.into();
        if !self.same_shape(&what, ours, theirs) {
            return;
        }
        let double = |t: &Tensor| t.detach().to_device(Device::Cpu).to_kind(Kind::Double);
        let (a, b) = (double(ours), double(theirs));
        let apart = (a - &b).abs().max().double_value(&[]);
        let size = b.abs().max().double_value(&[]);
        // Where the original is exactly zero, so must we be, up to the tolerance itself.
        let error = if size > 0.0 { apart / size } else { apart };
        self.0.push(Line::Close { what, error, tolerance });
    }

    /// Every element must be the same.
    pub fn exact(&mut self, what: impl Into<String>, ours: &Tensor, theirs: &Tensor) {
        let what = what.into();
        if !self.same_shape(&what, ours, theirs) {
            return;
        }
        let (ours, theirs) = (ours.to_device(Device::Cpu), theirs.to_device(Device::Cpu));
        let wrong = ours.ne_tensor(&theirs).sum(Kind::Int64).int64_value(&[]);
        self.0.push(Line::Exact { what, wrong, of: theirs.numel() as i64 });
    }

    /// Something that is no tensor was compared and is the same.
    pub fn same(&mut self, what: impl Into<String>) {
        self.0.push(Line::Same(what.into()));
    }

    pub fn fail(&mut self, why: impl Into<String>) {
        self.0.push(Line::Failed(why.into()));
    }

    /// Something worth saying that is no failure.
    pub fn note(&mut self, what: impl Into<String>) {
        self.0.push(Line::Note(what.into()));
    }

    pub fn failures(&self) -> usize {
        self.0.iter().filter(|line| !line.passes()).count()
    }

    /// How many comparisons were made, whatever their outcome.
    pub fn compared(&self) -> usize {
        self.0.iter().filter(|line| !matches!(line, Line::Note(_))).count()
    }

    fn same_shape(&mut self, what: &str, ours: &Tensor, theirs: &Tensor) -> bool {
        let same = ours.size() == theirs.size();
        if !same {
            self.fail(format!("{what}: shape {:?}, expected {:?}", ours.size(), theirs.size()));
        }
        same
    }
}

impl Line {
    fn passes(&self) -> bool {
        match self {
            // Written so that NaN fails.
            Line::Close { error, tolerance, .. } => error <= tolerance,
            Line::Exact { wrong, .. } => *wrong == 0,
            Line::Failed(_) => false,
            Line::Same(_) | Line::Note(_) => true,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            let mark = if line.passes() { "ok  " } else { "FAIL" };
            match line {
                Line::Close { what, error, tolerance } => {
                    writeln!(f, "  {mark} {what:<28} {error:.1e} (may be {tolerance:.0e})")?
                }
                Line::Exact { what, wrong: 0, of } => {
                    writeln!(f, "  {mark} {what:<28} exact, {of} values")?
                }
                Line::Exact { what, wrong, of } => {
                    writeln!(f, "  {mark} {what:<28} {wrong} of {of} values differ")?
                }
                Line::Same(what) => writeln!(f, "  {mark} {what:<28} the same")?,
                Line::Failed(why) => writeln!(f, "  {mark} {why}")?,
                Line::Note(what) => writeln!(f, "  note {what}")?,
            }
        }
        Ok(())
    }
}
