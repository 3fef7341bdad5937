//! The decoder's way to the next resolution.

use tch::Tensor;

use super::layers::Conv2d;
use super::{Arithmetic, Weights};
use crate::error::Result;

/// Doubles both sides by repeating pixels, then convolves 3×3.
pub(super) enum Upsample {
    /// In these two steps.
    Steps(Conv2d),
    /// By a convolution of the small image for each of the four pixels that one becomes.
    Phases(Phases),
}

/// Of the nine pixels under the kernel only four are different ones, so a 2×2 kernel does.
/// Where those four lie depends on whether the output's row and column are even or odd.
pub(super) struct Phases {
    /// [C, C, 2, 2] by row, then column.
    weights: [[Tensor; 2]; 2],
    bias: Tensor,
}

impl Upsample {
    pub fn new(w: &Weights, channels: i64) -> Result<Self> {
        let conv = w.at("conv");
        Ok(match w.arithmetic() {
            Arithmetic::Original => Self::Steps(Conv2d::new(&conv, channels, channels, 3)?),
            Arithmetic::Fast => {
                let weight = conv.get("weight", &[channels, channels, 3, 3])?;
                let weights = phases(&weight, 2)
                    .map(|rows| phases(&rows, 3).map(|weight| conv.lay_out(weight)));
                Self::Phases(Phases { weights, bias: conv.get("bias", &[channels])? })
            }
        })
    }

    /// [B, C, h, w] → [B, C, 2h, 2w].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Steps(conv) => {
                let (height, width) = (x.size()[2] * 2, x.size()[3] * 2);
                conv.forward(&x.upsample_nearest2d([height, width], None, None))
            }
            Self::Phases(phases) => phases.forward(x),
        }
    }
}

/// A kernel's three taps along `dim` as they meet repeated pixels: for an even place the first
/// falls on the pixel before and the others on its own; for an odd one the last on the next.
fn phases(weight: &Tensor, dim: i64) -> [Tensor; 2] {
    let tap = |i| weight.narrow(dim, i, 1);
    let pair = |a: Tensor, b: Tensor| Tensor::cat(&[a, b], dim);
    [pair(tap(0), tap(1) + tap(2)), pair(tap(0) + tap(1), tap(2))]
}

impl Phases {
    fn forward(&self, x: &Tensor) -> Tensor {
        let shape = x.size();
        let (b, c, h, w) = (shape[0], shape[1], shape[2], shape[3]);
        let phase = |row: usize, column: usize| {
            let weight = &self.weights[row][column];
            x.conv2d(weight, Some(&self.bias), [1, 1], [1, 1], [1, 1], 1)
                .narrow(2, row as i64, h)
                .narrow(3, column as i64, w)
                .permute([0, 2, 3, 1])
        };
        // Even and odd columns side by side, then even and odd rows: [B, h, 2, 2w, C].
        let row = |row| Tensor::cat(&[phase(row, 0), phase(row, 1)], 3).view([b, h, 1, -1]);
        let rows = Tensor::cat(&[row(0), row(1)], 2);
        rows.view([b, 2 * h, 2 * w, c]).permute([0, 3, 1, 2])
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::net::RandomWeights;

    #[test]
    fn phases_equal_the_two_steps() {
        let x = Tensor::randn([2, 6, 3, 5], (Kind::Float, Device::Cpu));
        let make = |fast: bool| {
            let source = RandomWeights::new(7, Device::Cpu);
            let weights = Weights::random(&source, Kind::Float);
            Upsample::new(&if fast { weights.fast() } else { weights }, 6).unwrap()
        };
        let (steps, phases) = (make(false).forward(&x), make(true).forward(&x));
        let error = (&steps - phases).abs().max() / steps.abs().max();
        assert!(error.double_value(&[]) < 1e-6, "{error:?}");
    }
}
