//! Adam and its kin: a running mean of gradients over a measure of their size.

use tch::Tensor;

use super::{Moment, Rates, Rule, average};
use crate::number::Number;

pub(super) const BETA1: f64 = 0.9;
pub(super) const BETA2: f64 = 0.999;
pub(super) const EPS: f64 = 1e-8;

const MOMENTS: &[&str] = &["mean", "square"];

/// Kingma and Ba 2015.
pub(super) static ADAM: Rule = Rule { slots: MOMENTS, rates: unbiased, step: adam };
/// Loshchilov and Hutter 2019, weight decay 0.01.
pub(super) static ADAMW: Rule = Rule { slots: MOMENTS, rates: decayed, step: adamw };
/// Kingma and Ba 2015, section 7.1.
pub(super) static ADAMAX: Rule =
    Rule { slots: &["mean", "largest"], rates: unbiased, step: adamax };
/// Liu et al. 2020.
pub(super) static RADAM: Rule = Rule { slots: MOMENTS, rates: rectified, step: radam };
/// Dubey et al. 2020, with NR's eps and weight decay of 1e-9.
pub(super) static DIFFGRAD: Rule =
    Rule { slots: &["mean", "square", "previous"], rates: scaled, step: diffgrad };

impl Moment {
    /// 1 − β₁ᵗ and 1 − β₂ᵗ: what running means that began at zero lack.
    fn bias(&self) -> (f64, f64) {
        (1.0 - BETA1.powi(self.t), 1.0 - BETA2.powi(self.t))
    }
}

/// How far to go, and √bias₂.
pub(super) fn unbiased(now: &Moment) -> Rates<f64> {
    let (bias1, bias2) = now.bias();
    [now.lr / bias1, bias2.sqrt(), 0.0]
}

/// Takes the gradient into both running means and returns `mean / (√(square/bias₂) + eps)`.
pub(super) fn direction(
    [_, root, _]: &Rates<Number>,
    slots: &mut [Tensor],
    grad: &Tensor,
) -> Tensor {
    average(&mut slots[0], BETA1, grad);
    average(&mut slots[1], BETA2, &grad.square());
    &slots[0] / (slots[1].sqrt() / root + EPS)
}

fn adam(rates: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    *z -= direction(rates, slots, grad) * &rates[0];
}

/// As [`unbiased`], and what is left of the parameter.
fn decayed(now: &Moment) -> Rates<f64> {
    const DECAY: f64 = 0.01;
    let [far, root, _] = unbiased(now);
    [far, root, 1.0 - now.lr * DECAY]
}

fn adamw(rates: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    *z *= &rates[2];
    adam(rates, slots, z, grad);
}

fn adamax([far, ..]: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    average(&mut slots[0], BETA1, grad);
    slots[1] = (&slots[1] * BETA2).maximum(&(grad.abs() + EPS));
    *z -= &slots[0] / &slots[1] * far;
}

/// How far to go by the size of the gradients, and how far without, of which one is 0.
fn rectified(now: &Moment) -> Rates<f64> {
    let (bias1, bias2) = now.bias();
    // Length of the average that has the variance of the running mean of squares.
    let limit = 2.0 / (1.0 - BETA2) - 1.0;
    let length = limit - 2.0 * f64::from(now.t) * BETA2.powi(now.t) / bias2;
    if length > 5.0 {
        let rectify = ((length - 4.0) * (length - 2.0) * limit
            / ((limit - 4.0) * (limit - 2.0) * length))
            .sqrt();
        [now.lr * rectify * bias2.sqrt() / bias1, 0.0, 0.0]
    } else {
        [0.0, now.lr / bias1, 0.0]
    }
}

fn radam(
    [by_size, without, _]: &Rates<Number>,
    slots: &mut [Tensor],
    z: &mut Tensor,
    grad: &Tensor,
) {
    average(&mut slots[0], BETA1, grad);
    average(&mut slots[1], BETA2, &grad.square());
    let size = slots[1].sqrt() + EPS;
    *z -= &slots[0] / size * by_size + &slots[0] * without;
}

/// How far to go.
fn scaled(now: &Moment) -> Rates<f64> {
    let (bias1, bias2) = now.bias();
    [now.lr * bias2.sqrt() / bias1, 0.0, 0.0]
}

fn diffgrad([far, ..]: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    const DECAY: f64 = 1e-9;
    const EPS: f64 = 1e-9;
    let grad = grad + &*z * DECAY;
    average(&mut slots[0], BETA1, &grad);
    average(&mut slots[1], BETA2, &grad.square());
    let friction = (&slots[2] - &grad).abs().sigmoid();
    slots[2] = grad;
    let size = slots[1].sqrt() + EPS;
    *z -= &slots[0] * friction / size * far;
}
