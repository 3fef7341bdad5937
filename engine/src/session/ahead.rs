//! What changes from one iteration to the next, on the device before the iteration begins.
//!
//! The host draws for some iterations together and brings the numbers over at once; the device
//! counts the iterations itself and reads its own row. So the host never waits for the device nor
//! the device for the host, and a CUDA graph can repeat one iteration for all of them.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::Key;

use crate::cutouts::ahead::{CutsAhead, Numbers};
use crate::error::Result;
use crate::number::Number;
use crate::optim::Rates;
use crate::perception::Eye;

/// Iterations that are drawn for together.
const ROWS: u32 = 32;

pub(super) struct Ahead {
    /// One for each eye.
    cuts: Vec<CutsAhead>,
    /// float64 [ROWS, numbers], the first of iteration `first`.
    table: Tensor,
    /// int64 [1].
    first: Tensor,
    /// int64 [1]: the iteration that comes next.
    iteration: Tensor,
    /// What the table holds, and which iteration the device counts as the next.
    rows: Range<u32>,
    next: u32,
}

/// The numbers of one iteration, on the device.
pub(super) struct Row {
    pub rates: Rates<Number>,
    pub fading: Number,
    pub cuts: Numbers,
    pub iteration: Tensor,
}

impl Ahead {
    /// For images of this height and width, one key each. None when a way of making cutouts
    /// cannot be drawn ahead.
    pub fn new(eyes: &[Eye], keys: &[Key], size: [i64; 2], device: Device) -> Option<Self> {
        let cuts: Option<Vec<_>> =
            eyes.iter().map(|eye| eye.cutter().ahead(keys, size, device)).collect();
        let zero = || Tensor::zeros([1], (Kind::Int64, device));
        let mut ahead = Self {
            cuts: cuts?,
            table: Tensor::new(),
            first: zero(),
            iteration: zero(),
            rows: 0..0,
            next: 0,
        };
        let width = ahead.row(0, ([0.0; 3], 0.0)).len() as i64;
        ahead.table = Tensor::zeros([i64::from(ROWS), width], (Kind::Double, device));
        Some(ahead)
    }

    /// Cutouts by eye.
    pub fn cuts(&self, eye: usize) -> &CutsAhead {
        &self.cuts[eye]
    }

    /// Makes sure that the device has what this iteration needs and counts it as the next one.
    /// `scalars` has an iteration's rates and what the init weight fades by.
    pub fn prepare(
        &mut self,
        iteration: u32,
        scalars: impl Fn(u32) -> (Rates<f64>, f64),
    ) -> Result<()> {
        if self.rows.contains(&iteration) && self.next == iteration {
            return Ok(());
        }
        self.rows = iteration..iteration.saturating_add(ROWS);
        let rows: Vec<f64> = self.rows.clone().flat_map(|i| self.row(i, scalars(i))).collect();
        let rows = Tensor::f_from_slice(&rows)?.f_view([self.rows.len() as i64, -1])?;
        self.table.narrow(0, 0, self.rows.len() as i64).f_copy_(&self.brought_over(rows)?)?;
        let _ = self.first.f_fill_(i64::from(iteration))?;
        let _ = self.iteration.f_fill_(i64::from(iteration))?;
        self.next = iteration;
        Ok(())
    }

    /// Rates, fading, then the eyes' draws.
    fn row(&self, iteration: u32, (rates, fading): (Rates<f64>, f64)) -> Vec<f64> {
        let mut row = rates.to_vec();
        row.push(fading);
        for cuts in &self.cuts {
            cuts.draw(iteration, &mut row);
        }
        row
    }

    /// On the device, without waiting for it.
    fn brought_over(&self, rows: Tensor) -> Result<Tensor> {
        let device = self.table.device();
        if !device.is_cuda() {
            return Ok(rows);
        }
        Ok(rows.f_pin_memory(device)?.f_to_device_(device, Kind::Double, true, false)?)
    }

    /// What the iteration that comes next needs.
    pub fn read(&self) -> Row {
        let row = self.table.index_select(0, &(&self.iteration - &self.first)).view(-1);
        let scalars = row.narrow(0, 0, 4).to_kind(Kind::Float);
        let scalar = |i: i64| Number::Device(scalars.narrow(0, i, 1));
        Row {
            rates: [0, 1, 2].map(scalar),
            fading: scalar(3),
            cuts: Numbers::of(row.narrow(0, 4, row.size()[0] - 4)),
            iteration: self.iteration.shallow_clone(),
        }
    }

    /// The device goes on to the next iteration.
    pub fn advance(&mut self) {
        self.iteration += 1;
    }

    /// The host counts an iteration that the device was given.
    pub fn count(&mut self) {
        self.next += 1;
    }

    /// What an iteration changes.
    pub fn place(&self) -> &Tensor {
        &self.iteration
    }
}
