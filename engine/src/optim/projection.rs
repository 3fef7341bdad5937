//! AdamP (Heo et al. 2021): Adam without the part of a step that only lengthens the weights,
//! when the gradient says that their length does not matter.

use tch::{Kind, Tensor};

use super::adam::{EPS, direction, unbiased};
use super::{Rates, Rule};
use crate::number::Number;

/// torch_optimizer's AdamP: δ = 0.1, no weight decay.
pub(super) static ADAMP: Rule = Rule { slots: &["mean", "square"], rates: unbiased, step };

const DELTA: f64 = 0.1;

fn step(rates: &Rates<Number>, slots: &mut [Tensor], z: &mut Tensor, grad: &Tensor) {
    let perturbation = direction(rates, slots, grad);
    *z -= project(z, grad, &perturbation) * &rates[0];
}

/// The originals look at the parameter once by its first dimension and once as a whole. A
/// latent's first dimension is the picture, so for one picture the two are the same.
fn project(z: &Tensor, grad: &Tensor, perturbation: &Tensor) -> Tensor {
    let flat = |t: &Tensor| t.flatten(1, -1);
    let (z_rows, grad_rows, moves) = (flat(z), flat(grad), flat(perturbation));
    let length = |t: &Tensor| t.norm_scalaropt_dim(2, [1], true) + EPS;
    let dot = |a: &Tensor, b: &Tensor| (a * b).sum_dim_intlist(1, true, Kind::Float);

    let cosine = dot(&grad_rows, &z_rows).abs() / length(&grad_rows) / length(&z_rows);
    let limit = DELTA / (z_rows.size()[1] as f64).sqrt();
    let radial = &z_rows / length(&z_rows);
    let tangent = &moves - &radial * dot(&radial, &moves);
    // Chosen on the device: asking the host would make it wait.
    tangent.where_self(&cosine.lt(limit), &moves).view_as(z)
}
