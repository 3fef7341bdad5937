//! What changes from one iteration to the next, on the device before the iteration begins.
//!
//! A GPU draws for some iterations together by itself, and of the host's numbers there come over but
//! four an iteration; where it cannot, the host draws and brings all of them over at once. The device
//! counts the iterations itself and reads its own row. So the host never waits for the device nor the
//! device for the host, and a CUDA graph can repeat one iteration for all of them.

use std::ops::Range;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::Key;

use crate::cutouts::ahead::{CutsAhead, Numbers};
use crate::cutouts::list::{DeviceDraws, ROUNDING, apart};
use crate::error::{EngineError, Result};
use crate::number::Number;
use crate::optim::Rates;
use crate::perception::Eye;

/// Iterations that are drawn for together.
const ROWS: u32 = 32;

/// Iterations for which a GPU's draws are compared with the host's before they are trusted.
const COMPARED: u32 = 4;

/// Fills the rows of a table, but for the host's numbers, with the draws of the iterations from one on.
type Draw = Box<dyn Fn(&Tensor, u32) -> std::result::Result<(), String> + Send>;

/// Numbers of an iteration that the host has: the rates and the fading.
const SCALARS: i64 = 4;

pub(super) struct Ahead {
    /// One for each eye.
    cuts: Vec<CutsAhead>,
    /// How a device draws that does it itself.
    draw: Option<Draw>,
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
        let cuts = eyes.iter().map(|eye| eye.cutter().ahead(keys, size, device));
        Some(Self::of(cuts.collect::<Option<_>>()?, device))
    }

    fn of(cuts: Vec<CutsAhead>, device: Device) -> Self {
        let zero = || Tensor::zeros([1], (Kind::Int64, device));
        let mut ahead = Self {
            cuts,
            draw: None,
            table: Tensor::new(),
            first: zero(),
            iteration: zero(),
            rows: 0..0,
            next: 0,
        };
        let width = ahead.row(0, ([0.0; 3], 0.0)).len() as i64;
        ahead.table = Tensor::zeros([i64::from(ROWS), width], (Kind::Double, device));
        ahead
    }

    /// From now on a GPU draws itself, if it draws what the host does. Waits for it.
    ///
    /// # Errors
    /// Why it does not; the host goes on to draw.
    pub fn draw_on_device(&mut self) -> std::result::Result<(), String> {
        let device = self.table.device();
        let eyes = self.cuts.iter().map(|cuts| cuts.on_device(device)).collect::<Result<Vec<_>>>();
        let eyes = eyes.map_err(|error| error.to_string())?;
        self.trust(Box::new(move |table, first| draw(&eyes, table, first)))
    }

    /// Has this draw from now on if it does as the host.
    fn trust(&mut self, draw: Draw) -> std::result::Result<(), String> {
        let wanted: Vec<f64> = (0..COMPARED).flat_map(|i| self.row(i, ([0.0; 3], 0.0))).collect();
        let table = self.table.narrow(0, 0, i64::from(COMPARED));
        draw(&table, 0)?;
        let found = table.f_to(Device::Cpu).and_then(|table| table.f_reshape([-1]));
        let found = found.and_then(Vec::try_from);
        match apart(&found.map_err(|error| error.to_string())?, &wanted) {
            apart if apart < ROUNDING => self.draw = Some(draw),
            apart => return Err(format!("what the device draws is {apart:.1e} from the host's")),
        }
        Ok(())
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
        let count = self.rows.len() as i64;
        let rows: Vec<f64> = match self.draw {
            Some(_) => self.rows.clone().flat_map(|i| all(scalars(i))).collect(),
            None => self.rows.clone().flat_map(|i| self.row(i, scalars(i))).collect(),
        };
        let rows = self.brought_over(Tensor::f_from_slice(&rows)?.f_view([count, -1])?)?;
        let table = self.table.narrow(0, 0, count);
        table.narrow(1, 0, rows.size()[1]).f_copy_(&rows)?;
        if let Some(draw) = &self.draw {
            draw(&table, iteration).map_err(EngineError::Failed)?;
        }
        let _ = self.first.f_fill_(i64::from(iteration))?;
        let _ = self.iteration.f_fill_(i64::from(iteration))?;
        self.next = iteration;
        Ok(())
    }

    /// Rates, fading, then the eyes' draws.
    fn row(&self, iteration: u32, scalars: (Rates<f64>, f64)) -> Vec<f64> {
        let mut row = all(scalars).to_vec();
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
        let scalars = row.narrow(0, 0, SCALARS).to_kind(Kind::Float);
        let scalar = |i: i64| Number::Device(scalars.narrow(0, i, 1));
        Row {
            rates: [0, 1, 2].map(scalar),
            fading: scalar(3),
            cuts: Numbers::of(row.narrow(0, SCALARS, row.size()[0] - SCALARS)),
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

/// As a row begins.
fn all(([a, b, c], fading): (Rates<f64>, f64)) -> [f64; SCALARS as usize] {
    [a, b, c, fading]
}

/// A [`Draw`] of all eyes.
fn draw(eyes: &[DeviceDraws], table: &Tensor, first: u32) -> std::result::Result<(), String> {
    let mut at = SCALARS;
    for eye in eyes {
        let numbers = eye.numbers() as i64;
        let own = table.f_narrow(1, at, numbers).map_err(|error| error.to_string())?;
        eye.draw(&own, first)?;
        at += numbers;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vqfarm_core::render::Cutouts;
    use vqfarm_core::rng::Purpose;

    use super::*;
    use crate::cutouts::Cutter;

    /// Of two eyes.
    fn ahead() -> Ahead {
        let keys = [Key::new(1, Purpose::Init), Key::new(1 << 40, Purpose::Init).frame(2)];
        let settings = Cutouts { count: 3, ..Cutouts::default() };
        let cuts = [16, 24]
            .map(|side| Cutter::new(&settings, side).unwrap().ahead(&keys, [40, 36], Device::Cpu));
        Ahead::of(cuts.into(), Device::Cpu)
    }

    /// As the host draws, but for a factor.
    fn times(factor: f64) -> Draw {
        let host = ahead();
        Box::new(move |table, first| {
            for (at, iteration) in (0..table.size()[0]).zip(first..) {
                let drawn = host.row(iteration, ([0.0; 3], 0.0)).split_off(4);
                let mut place = table.get(at).narrow(0, 4, drawn.len() as i64);
                place.copy_(&(Tensor::from_slice(&drawn) * factor));
            }
            Ok(())
        })
    }

    fn scalars(iteration: u32) -> (Rates<f64>, f64) {
        ([1.0, 2.0, 3.0].map(|rate| rate * f64::from(iteration)), 0.5)
    }

    #[test]
    fn a_device_that_draws_as_the_host_does_is_trusted() {
        let (mut host, mut device) = (ahead(), ahead());
        device.trust(times(1.0)).unwrap();
        for iteration in [0, 32, 1_000_000, u32::MAX - 7] {
            host.prepare(iteration, scalars).unwrap();
            device.prepare(iteration, scalars).unwrap();
            assert!(device.table.equal(&host.table), "{iteration}");
            assert_eq!(device.iteration.int64_value(&[0]), i64::from(iteration));
        }
    }

    #[test]
    fn the_host_draws_where_a_device_does_not() {
        let refused = |draw: Draw| {
            let (mut host, mut device) = (ahead(), ahead());
            let why = device.trust(draw).unwrap_err();
            host.prepare(5, scalars).unwrap();
            device.prepare(5, scalars).unwrap();
            assert!(device.table.equal(&host.table), "{why}");
            why
        };
        assert!(refused(times(1.0 + 1e-6)).contains("1.0e-6 from the host's"));
        assert!(refused(times(f64::NAN)).contains("inf from the host's"));
        assert!(refused(Box::new(|_, _| Err("no compiler".into()))).contains("no compiler"));
        // There is no kernel for a CPU.
        assert!(ahead().draw_on_device().is_err());
    }
}
