//! The weights of a network in training: one flat vector, seen as named tensors.
//!
//! The optimiser then works on a single tensor, and a checkpoint holds a few.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor};
use vqfarm_core::rng::{Key, Purpose};

/// How a tensor starts.
#[derive(Clone, Copy, Debug)]
pub enum Start {
    Constant(f64),
    /// Centred normal of this standard deviation.
    Normal(f64),
}

/// Name, shape and start of one tensor.
#[derive(Clone, Debug)]
pub struct Spec {
    pub name: String,
    pub shape: Vec<i64>,
    pub start: Start,
}

/// Named trainable tensors that share one storage.
pub struct Params {
    /// Every weight, float32 [n]; updated in place.
    pub flat: Tensor,
    /// Leaves of the autograd graph, views of `flat`.
    pub tensors: BTreeMap<String, Tensor>,
    order: Vec<String>,
}

impl Params {
    /// Weights drawn from `seed`.
    pub fn start(specs: &[Spec], seed: u64, device: Device) -> Self {
        let mut values = Vec::new();
        for (i, spec) in (0..).zip(specs) {
            let n = spec.shape.iter().product::<i64>() as usize;
            let mut part = vec![0f32; n];
            match spec.start {
                Start::Constant(c) => part.fill(c as f32),
                Start::Normal(std) => {
                    Key::new(seed, Purpose::Weights).frame(i).stream().fill_normal(&mut part);
                    part.iter_mut().for_each(|v| *v *= std as f32);
                }
            }
            values.extend(part);
        }
        Self::over(Tensor::from_slice(&values).to_device(device), specs)
    }

    /// Takes over the values of `weights`, which has a tensor of each name and shape here.
    ///
    /// # Errors
    /// A tensor is missing or has another shape.
    pub fn take_over(&self, weights: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, tensor) in &self.tensors {
            let value = weights.get(name).with_context(|| format!("`{name}` is missing"))?;
            ensure!(
                value.size() == tensor.size(),
                "`{name}` has shape {:?}, this program makes {:?}",
                value.size(),
                tensor.size()
            );
            tch::no_grad(|| tensor.shallow_clone().copy_(value));
        }
        Ok(())
    }

    /// The named views of a flat vector.
    fn over(flat: Tensor, specs: &[Spec]) -> Self {
        let mut offset = 0;
        let mut tensors = BTreeMap::new();
        for spec in specs {
            let n = spec.shape.iter().product::<i64>();
            let view = flat.narrow(0, offset, n).view(spec.shape.as_slice()).detach();
            tensors.insert(spec.name.clone(), view.set_requires_grad(true));
            offset += n;
        }
        Self { flat, tensors, order: specs.iter().map(|s| s.name.clone()).collect() }
    }

    /// The named tensors again, sharing storage and gradients with these.
    pub fn shallow_clone(&self) -> BTreeMap<String, Tensor> {
        self.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()
    }

    /// A copy whose weights are `flat`, for instance a running mean of them.
    pub fn with_values(&self, flat: &Tensor) -> Self {
        let specs: Vec<Spec> = self
            .order
            .iter()
            .map(|name| Spec {
                name: name.clone(),
                shape: self.tensors[name].size(),
                start: Start::Constant(0.0),
            })
            .collect();
        Self::over(flat.copy(), &specs)
    }

    /// The leaves, in the order of `flat`.
    pub fn leaves(&self) -> Vec<&Tensor> {
        self.order.iter().map(|name| &self.tensors[name]).collect()
    }

    /// The gradient of `loss` as a vector like `flat`, and those of `others`.
    pub fn gradient(&self, loss: &Tensor, others: &[&Tensor]) -> (Tensor, Vec<Tensor>) {
        let mut inputs = self.leaves();
        let own = inputs.len();
        inputs.extend(others);
        let mut grads = Tensor::run_backward(&[loss], &inputs, false, false);
        let others = grads.split_off(own);
        let flat: Vec<Tensor> = grads.iter().map(|g| g.reshape([-1])).collect();
        (Tensor::cat(&flat, 0), others)
    }
}

/// AdamW (Loshchilov & Hutter 2019) on a flat vector, with a clipped gradient and a running
/// mean of the weights, which is what gets exported.
pub struct AdamW {
    pub mean: Tensor,
    pub square: Tensor,
    /// Running mean of the weights.
    pub average: Tensor,
    pub betas: (f64, f64),
    pub weight_decay: f64,
    /// Largest norm of the gradient.
    pub clip: f64,
    /// Decay of the running mean once training is under way.
    pub average_decay: f64,
}

impl AdamW {
    pub fn new(params: &Params, betas: (f64, f64), weight_decay: f64) -> Self {
        Self {
            mean: params.flat.zeros_like(),
            square: params.flat.zeros_like(),
            average: params.flat.copy(),
            betas,
            weight_decay,
            clip: 1.0,
            average_decay: 0.998,
        }
    }

    /// One update; `step` counts from 0.
    pub fn step(&mut self, params: &Params, gradient: &Tensor, rate: f64, step: i64) {
        tch::no_grad(|| {
            let (b1, b2) = self.betas;
            // On the device throughout: no waiting for the norm.
            let norm: Tensor = gradient.norm();
            let scale: Tensor = (self.clip / (norm + 1e-6)).clamp_max(1.0);
            let g = gradient * scale;
            let _ = self.mean.lerp_(&g, 1.0 - b1);
            let _ = self.square.lerp_(&g.square(), 1.0 - b2);
            let t = (step + 1) as i32;
            let (c1, c2) = (1.0 - b1.powi(t), 1.0 - b2.powi(t));
            let denominator: Tensor = (&self.square / c2).sqrt() + 1e-8;
            let mut flat = params.flat.shallow_clone();
            let _ = flat.g_mul_scalar_(1.0 - rate * self.weight_decay);
            flat -= (&self.mean / denominator) * (rate / c1);
            // Early on, average over the steps so far.
            let decay = self.average_decay.min((1.0 + step as f64) / (10.0 + step as f64));
            let _ = self.average.lerp_(&flat, 1.0 - decay);
        });
    }
}

/// Linear warm-up to `peak`, then half a cosine down to a twentieth of it at `total`.
pub fn rate(peak: f64, warm_up: i64, step: i64, total: i64) -> f64 {
    let (step, warm_up) = (step as f64, warm_up as f64);
    if step < warm_up {
        return peak * (step + 1.0) / warm_up;
    }
    let done = ((step - warm_up) / (total as f64 - warm_up).max(1.0)).min(1.0);
    peak * (0.05 + 0.95 * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()))
}
