//! The gradient over a measure of its size, without a running mean of it.

use tch::Tensor;

use super::{Moment, Rates, Rule, average};
use crate::number::Number;

/// Duchi et al. 2011.
pub(super) static ADAGRAD: Rule = Rule { slots: &["sum"], rates: constant, step: adagrad };
/// Tieleman and Hinton 2012, α = 0.99.
pub(super) static RMSPROP: Rule = Rule { slots: &["square"], rates: constant, step: rmsprop };

fn constant(now: &Moment) -> Rates<f64> {
    [now.lr, 0.0, 0.0]
}

fn adagrad([far, ..]: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    const EPS: f64 = 1e-10;
    slots[0] += grad.square();
    *z -= grad / (slots[0].sqrt() + EPS) * far;
}

fn rmsprop([far, ..]: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    const ALPHA: f64 = 0.99;
    const EPS: f64 = 1e-8;
    average(&mut slots[0], ALPHA, &grad.square());
    *z -= grad / (slots[0].sqrt() + EPS) * far;
}
