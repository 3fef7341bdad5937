//! Adam and its kin: a running mean of gradients over a measure of their size.

use tch::Tensor;

use super::{Moment, Rule, average};

pub(super) const BETA1: f64 = 0.9;
pub(super) const BETA2: f64 = 0.999;
pub(super) const EPS: f64 = 1e-8;

const MOMENTS: &[&str] = &["mean", "square"];

/// Kingma and Ba 2015.
pub(super) static ADAM: Rule = Rule { slots: MOMENTS, step: adam };
/// Loshchilov and Hutter 2019, weight decay 0.01.
pub(super) static ADAMW: Rule = Rule { slots: MOMENTS, step: adamw };
/// Kingma and Ba 2015, section 7.1.
pub(super) static ADAMAX: Rule = Rule { slots: &["mean", "largest"], step: adamax };
/// Liu et al. 2020.
pub(super) static RADAM: Rule = Rule { slots: MOMENTS, step: radam };
/// Dubey et al. 2020, with NR's eps and weight decay of 1e-9.
pub(super) static DIFFGRAD: Rule = Rule { slots: &["mean", "square", "previous"], step: diffgrad };

impl Moment {
    /// 1 − β₁ᵗ and 1 − β₂ᵗ: what running means that began at zero lack.
    pub(super) fn bias(&self) -> (f64, f64) {
        (1.0 - BETA1.powi(self.t), 1.0 - BETA2.powi(self.t))
    }
}

/// Takes the gradient into both running means and returns `mean / (√(square/bias₂) + eps)`.
pub(super) fn direction(now: &Moment, slots: &mut [Tensor], grad: &Tensor) -> Tensor {
    average(&mut slots[0], BETA1, grad);
    average(&mut slots[1], BETA2, &grad.square());
    let (_, bias2) = now.bias();
    &slots[0] / (slots[1].sqrt() / bias2.sqrt() + EPS)
}

fn adam(now: &Moment, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    let (bias1, _) = now.bias();
    *z -= direction(now, slots, grad) * (now.lr / bias1);
}

fn adamw(now: &Moment, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    const DECAY: f64 = 0.01;
    *z *= 1.0 - now.lr * DECAY;
    adam(now, slots, z, grad);
}

fn adamax(now: &Moment, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    average(&mut slots[0], BETA1, grad);
    slots[1] = (&slots[1] * BETA2).maximum(&(grad.abs() + EPS));
    let (bias1, _) = now.bias();
    *z -= &slots[0] / &slots[1] * (now.lr / bias1);
}

fn radam(now: &Moment, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    average(&mut slots[0], BETA1, grad);
    average(&mut slots[1], BETA2, &grad.square());
    let (bias1, bias2) = now.bias();
    // Length of the average that has the variance of the running mean of squares.
    let limit = 2.0 / (1.0 - BETA2) - 1.0;
    let length = limit - 2.0 * f64::from(now.t) * BETA2.powi(now.t) / bias2;
    if length > 5.0 {
        let rectify = ((length - 4.0) * (length - 2.0) * limit
            / ((limit - 4.0) * (limit - 2.0) * length))
            .sqrt();
        let size = slots[1].sqrt() + EPS;
        *z -= &slots[0] / size * (now.lr * rectify * bias2.sqrt() / bias1);
    } else {
        *z -= &slots[0] * (now.lr / bias1);
    }
}

fn diffgrad(now: &Moment, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    const DECAY: f64 = 1e-9;
    const EPS: f64 = 1e-9;
    let grad = grad + &*z * DECAY;
    average(&mut slots[0], BETA1, &grad);
    average(&mut slots[1], BETA2, &grad.square());
    let friction = (&slots[2] - &grad).abs().sigmoid();
    slots[2] = grad;
    let (bias1, bias2) = now.bias();
    let size = slots[1].sqrt() + EPS;
    *z -= &slots[0] * friction / size * (now.lr * bias2.sqrt() / bias1);
}
