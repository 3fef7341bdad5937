//! A clamp whose gradient lets escaped values come back.
//!
//! NR's `ClampWithGrad`: the forward value is `x.clamp(low, high)`; a gradient g passes where
//! g·(x − clamp(x)) ≥ 0, that is inside the bounds and wherever descent leads back to them.
//!
//! tch has no custom autograd, so whoever needs this cuts the graph there: run the rest of the
//! graph on a detached leaf `x.clamp(low, high)`, take the leaf's gradient, mask it with
//! [`masked_gradient`] and go on backwards from `x` with the result.

use tch::Tensor;

/// The gradient of `x` for a gradient `g` of `x.clamp(low, high)`; all of one shape.
pub fn masked_gradient(x: &Tensor, g: &Tensor, low: f64, high: f64) -> Tensor {
    let x = x.detach();
    let outside = &x - x.clamp(low, high);
    g * (g * outside).ge(0.0).to_kind(g.kind())
}
