//! The optimisers of the original programs, on a whole batch of latents.
//!
//! Everything is elementwise, or reduces over one picture only, so a picture moves the same
//! alone and in a batch. Constants are PyTorch 2.11's and torch_optimizer 0.3.0's defaults.

mod adam;
mod gradient;
mod projection;

use std::collections::BTreeMap;

use tch::Tensor;
use vqfarm_core::render::Optimizer as Name;

use crate::error::{EngineError, Result};
use crate::number::Number;

/// An optimiser and what it remembers of one batch of latents.
#[derive(Debug)]
pub struct Optimizer {
    rule: &'static Rule,
    lr: f64,
    steps: u32,
    slots: Vec<Tensor>,
}

/// What an optimiser remembers of one picture, as plain numbers that can be stored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Momentum {
    /// Steps taken; 0 for one that begins anew, which remembers nothing.
    pub steps: u32,
    /// As many numbers each as a latent has, by the optimiser's names for them.
    pub slots: BTreeMap<String, Vec<f32>>,
}

/// How an optimiser moves the parameter.
#[derive(Debug)]
struct Rule {
    /// What it remembers, each of the parameter's shape and zero at first.
    slots: &'static [&'static str],
    /// What depends on when a step happens.
    rates: fn(&Moment) -> Rates<f64>,
    step: fn(&Rates<Number>, &mut [Tensor], &mut Tensor, &Tensor),
}

/// When a step happens and how long it is.
struct Moment {
    /// 1 for the first step.
    t: i32,
    lr: f64,
}

/// The numbers of a step, as its rule means them.
pub(crate) type Rates<T> = [T; 3];

impl Optimizer {
    /// A fresh optimiser for a latent [B, …] like this one, with this learning rate.
    pub fn new(name: Name, lr: f64, like: &Tensor) -> Self {
        let rule = match name {
            Name::Adam => &adam::ADAM,
            Name::AdamW => &adam::ADAMW,
            Name::Adamax => &adam::ADAMAX,
            Name::RAdam => &adam::RADAM,
            Name::DiffGrad => &adam::DIFFGRAD,
            Name::AdamP => &projection::ADAMP,
            Name::Adagrad => &gradient::ADAGRAD,
            Name::RMSprop => &gradient::RMSPROP,
        };
        let slots = rule.slots.iter().map(|_| like.zeros_like()).collect();
        Self { rule, lr, steps: 0, slots }
    }

    /// Moves `z` [B, …] one step against its gradient, in place.
    pub fn step(&mut self, z: &mut Tensor, grad: &Tensor) {
        let rates = self.rates(self.steps).map(Number::Host);
        self.step_at(&rates, z, grad);
        self.steps += 1;
    }

    /// The numbers of the step after so many steps.
    pub(crate) fn rates(&self, steps: u32) -> Rates<f64> {
        (self.rule.rates)(&Moment { t: steps as i32 + 1, lr: self.lr })
    }

    /// As [`Optimizer::step`], with numbers that may lie on the device. Counts nothing.
    pub(crate) fn step_at(&mut self, rates: &Rates<Number>, z: &mut Tensor, grad: &Tensor) {
        tch::no_grad(|| (self.rule.step)(rates, &mut self.slots, z, grad));
    }

    /// Counts a step that [`Optimizer::step_at`] made.
    pub(crate) fn count(&mut self) {
        self.steps += 1;
    }

    /// What it remembers, to be written to.
    pub(crate) fn slots_mut(&mut self) -> &mut [Tensor] {
        &mut self.slots
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// What it remembers, by name.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        self.rule.slots.iter().copied().zip(&self.slots)
    }

    /// What it remembers of picture `b` of the batch.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn momentum(&self, b: i64) -> Result<Momentum> {
        let slot = |(name, slot): (&str, &Tensor)| {
            let own = slot.narrow(0, b, 1).contiguous().view(-1);
            Ok((name.to_owned(), Vec::<f32>::try_from(own)?))
        };
        let slots = self.state().map(slot).collect::<Result<_>>()?;
        Ok(Momentum { steps: self.steps, slots })
    }

    /// Goes on with what was remembered of each picture of the batch.
    ///
    /// # Errors
    /// It is of another optimiser, size or number of steps.
    pub fn carry(&mut self, momenta: &[&Momentum]) -> Result<()> {
        let steps = momenta.first().map_or(0, |momentum| momentum.steps);
        if momenta.iter().any(|momentum| momentum.steps != steps) {
            return Err(EngineError::State("optimisers after as many steps in a batch".into()));
        }
        if steps == 0 {
            return Ok(());
        }
        let find = |name: &str, size: &[i64]| {
            let own =
                |momentum: &&Momentum| momentum.slots.get(name).map(|s| Tensor::from_slice(s));
            let own: Option<Vec<_>> = momenta.iter().map(own).collect();
            Tensor::f_cat(&own?, 0).and_then(|all| all.f_view(size)).ok()
        };
        let sizes: Vec<_> = self.slots.iter().map(|slot| (slot.size(), slot.device())).collect();
        let mut sizes = sizes.into_iter();
        self.restore(steps, |name| {
            let (size, device) = sizes.next()?;
            Some(find(name, &size)?.to_device(device))
        })
    }

    /// Goes on from a saved state: `find` returns the tensor that [`Self::state`] named.
    pub fn restore(
        &mut self,
        steps: u32,
        mut find: impl FnMut(&str) -> Option<Tensor>,
    ) -> Result<()> {
        for (name, slot) in self.rule.slots.iter().zip(&mut self.slots) {
            let saved = find(name).filter(|t| t.size() == slot.size());
            let Some(saved) = saved else {
                return Err(EngineError::State(format!(
                    "optimiser tensor `{name}` of shape {:?}",
                    slot.size()
                )));
            };
            slot.f_copy_(&saved)?;
        }
        self.steps = steps;
        Ok(())
    }
}

/// `average ← β·average + (1 − β)·value`, in place.
fn average(average: &mut Tensor, beta: f64, value: &Tensor) {
    let _ = average.g_mul_scalar_(beta).g_add_(&(value * (1.0 - beta)));
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn numbers_on_the_device_step_as_the_hosts() {
        let names = [
            Name::Adam,
            Name::AdamW,
            Name::Adamax,
            Name::RAdam,
            Name::DiffGrad,
            Name::AdamP,
            Name::Adagrad,
            Name::RMSprop,
        ];
        tch::manual_seed(3);
        let normal = || Tensor::randn([2, 3, 4, 5], (Kind::Float, Device::Cpu));
        for name in names {
            let mut here = normal();
            let mut there = here.copy();
            let mut host = Optimizer::new(name, 0.1, &here);
            let mut device = Optimizer::new(name, 0.1, &here);
            for step in 0..12 {
                let grad = normal();
                let rates = device.rates(step);
                host.step(&mut here, &grad);
                let on_device = |rate: f64| Number::Device(Tensor::from_slice(&[rate as f32]));
                device.step_at(&rates.map(on_device), &mut there, &grad);
                device.count();
                let error = (&here - &there).abs().max().double_value(&[]);
                assert!(error < 1e-6, "{name:?}, step {step}: {error}");
            }
            assert_eq!(host.steps(), device.steps());
        }
    }
}
