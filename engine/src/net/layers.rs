//! The few layers that the networks share.

use tch::{Kind, Tensor};

use super::{Arithmetic, Weights};
use crate::error::Result;

/// A square 2-D convolution.
pub(super) struct Conv2d {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    /// `kernel`×`kernel`, from `inputs` to `outputs` channels, padded to keep the size.
    pub fn new(w: &Weights, inputs: i64, outputs: i64, kernel: i64) -> Result<Self> {
        Ok(Self {
            weight: w.lay_out(w.get("weight", &[outputs, inputs, kernel, kernel])?),
            bias: Some(w.get("bias", &[outputs])?),
            stride: 1,
            padding: kernel / 2,
        })
    }

    /// As [`Conv2d::new`], without a bias.
    pub fn unbiased(w: &Weights, inputs: i64, outputs: i64, kernel: i64) -> Result<Self> {
        let weight = w.lay_out(w.get("weight", &[outputs, inputs, kernel, kernel])?);
        Ok(Self { weight, bias: None, stride: 1, padding: kernel / 2 })
    }

    pub fn stride(self, stride: i64) -> Self {
        Self { stride, ..self }
    }

    pub fn padding(self, padding: i64) -> Self {
        Self { padding, ..self }
    }

    /// Followed by a scale and a shift a channel, in one.
    pub fn then(self, scale: &Tensor, shift: Tensor) -> Self {
        let shift = match self.bias {
            Some(bias) => bias * scale + shift,
            None => shift,
        };
        Self { weight: self.weight * scale.view([-1, 1, 1, 1]), bias: Some(shift), ..self }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (stride, padding) = (self.stride, self.padding);
        x.conv2d(&self.weight, self.bias.as_ref(), [stride, stride], [padding, padding], [1, 1], 1)
    }
}

/// What keeps GroupNorm from dividing by nothing.
pub(super) const GROUP_EPSILON: f64 = 1e-6;

/// VQGAN's normalisation: 32 groups.
pub(super) struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    pub fn new(w: &Weights, channels: i64) -> Result<Self> {
        if channels % 32 != 0 {
            return Err(crate::EngineError::Architecture(format!(
                "{channels} channels cannot be normalised in 32 groups"
            )));
        }
        Ok(Self { weight: w.get("weight", &[channels])?, bias: w.get("bias", &[channels])? })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(32, Some(&self.weight), Some(&self.bias), GROUP_EPSILON, true)
    }
}

/// CLIP's normalisation over the last dimension, always computed in float32.
pub(super) struct LayerNorm {
    width: i64,
    /// Scale and shift, float32; none when the next layer has them.
    affine: Option<[Tensor; 2]>,
}

impl LayerNorm {
    pub fn new(w: &Weights, width: i64) -> Result<Self> {
        let affine = [w.get_f32("weight", &[width])?, w.get_f32("bias", &[width])?];
        Ok(Self { width, affine: Some(affine) })
    }

    /// This and the layer that follows it, which takes over scale and shift if the weights are to
    /// be folded: libtorch then normalises in one kernel whatever the kind, by float32 statistics.
    pub fn before(
        w: &Weights,
        width: i64,
        next: impl FnOnce(&Weights) -> Result<Linear>,
        next_weights: &Weights,
    ) -> Result<(Self, Linear)> {
        let norm = Self::new(w, width)?;
        match norm.affine {
            Some([scale, shift]) if w.folds() => {
                let next = next(&next_weights.in_kind(Kind::Float))?;
                let next = next.after(&scale, &shift).in_kind(w.kind());
                Ok((Self { width, affine: None }, next))
            }
            _ => Ok((norm, next(next_weights)?)),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        match &self.affine {
            Some([scale, shift]) => x
                .to_kind(Kind::Float)
                .layer_norm([self.width], Some(scale), Some(shift), 1e-5, true)
                .to_kind(x.kind()),
            None => x.layer_norm([self.width], None::<Tensor>, None::<Tensor>, 1e-5, true),
        }
    }
}

/// x·Wᵀ + b over the last dimension.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
    convolves: bool,
}

impl Linear {
    pub fn new(w: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        Self::named(w, "weight", "bias", inputs, outputs)
    }

    /// For keys such as `in_proj_weight`.
    pub fn named(w: &Weights, weight: &str, bias: &str, inputs: i64, outputs: i64) -> Result<Self> {
        let weight = w.get(weight, &[outputs, inputs])?;
        // On a CPU libtorch's float32 convolutions are quicker than its products of matrices.
        let convolves = w.arithmetic() == Arithmetic::Fast
            && w.kind() == Kind::Float
            && !weight.device().is_cuda();
        Ok(Self { weight, bias: w.get(bias, &[outputs])?, convolves })
    }

    /// The layer that computes `count` of the outputs from `first` on.
    pub fn outputs(&self, first: i64, count: i64) -> Self {
        let some = |t: &Tensor| t.narrow(0, first, count);
        Self { weight: some(&self.weight), bias: some(&self.bias), ..*self }
    }

    /// Its outputs times `factor`.
    pub fn times(self, factor: f64) -> Self {
        Self { weight: self.weight * factor, bias: self.bias * factor, ..self }
    }

    /// The same outputs for inputs that lack this scale and shift.
    fn after(self, scale: &Tensor, shift: &Tensor) -> Self {
        let bias = self.bias + self.weight.mv(shift);
        Self { weight: self.weight * scale, bias, ..self }
    }

    fn in_kind(self, kind: Kind) -> Self {
        Self { weight: self.weight.to_kind(kind), bias: self.bias.to_kind(kind), ..self }
    }

    /// The same outputs for inputs that are `factor` times as large.
    pub fn after_times(self, factor: f64) -> Self {
        Self { weight: self.weight / factor, ..self }
    }

    /// [N, …, inputs] → [N, …, outputs].
    pub fn forward(&self, x: &Tensor) -> Tensor {
        match x.size().as_slice() {
            &[n, tokens, inputs] if self.convolves => {
                let pixels = x.reshape([n, tokens, 1, inputs]).permute([0, 3, 1, 2]);
                let weight = self.weight.unsqueeze(-1).unsqueeze(-1);
                pixels
                    .conv2d(&weight, Some(&self.bias), [1, 1], [0, 0], [1, 1], 1)
                    .permute([0, 2, 3, 1])
                    .reshape([n, tokens, -1])
            }
            _ => x.linear(&self.weight, Some(&self.bias)),
        }
    }
}

/// `softmax(q·kᵀ/√d)·v` over [..., heads, tokens, d], fused where libtorch can.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<Tensor>, 0.0, causal, None, false)
}

/// As [`attention`] without a mask, in steps each of which can be differentiated twice.
pub(super) fn plain_attention(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let scale = (q.size().last().copied().unwrap_or(1) as f64).powf(-0.5);
    (q.matmul(&k.transpose(-2, -1)) * scale).softmax(-1, q.kind()).matmul(v)
}

/// x·σ(x).
pub(super) fn swish(x: &Tensor, arithmetic: Arithmetic) -> Tensor {
    match arithmetic {
        Arithmetic::Original => x * x.sigmoid(),
        Arithmetic::Fast => x.silu(),
    }
}

/// The same numbers, laid out in memory position by position instead of channel by channel.
pub(super) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// Attention of one head among the positions of [B, c, h, w].
pub(super) fn attention_over_positions([q, k, v]: [&Tensor; 3], arithmetic: Arithmetic) -> Tensor {
    let tokens = |t: &Tensor| t.flatten(2, 3).transpose(1, 2);
    if arithmetic == Arithmetic::Fast {
        let one_head = |t: &Tensor| tokens(t).unsqueeze(1);
        let out = attention(&one_head(q), &one_head(k), &one_head(v), false);
        return out.squeeze_dim(1).transpose(1, 2).view_as(v);
    }
    let scale = (v.size()[1] as f64).powf(-0.5);
    let weights = (tokens(q).bmm(&k.flatten(2, 3)) * scale).softmax(2, q.kind());
    v.flatten(2, 3).bmm(&weights.transpose(1, 2)).reshape(v.size())
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::net::{Layout, RandomWeights};

    #[test]
    fn a_convolution_laid_out_by_pixels_gives_pixels() {
        // As GroupNorm hands them on on a GPU.
        let planes = Tensor::randn([1, 4, 5, 6], (Kind::Float, Device::Cpu));
        let random = RandomWeights::new(1, Device::Cpu);
        let strides = |layout| {
            let weights = Weights::random(&random, Kind::Float).fast().laid_out(layout);
            Conv2d::new(&weights, 4, 8, 3).unwrap().forward(&planes).stride()
        };
        assert_eq!(strides(Layout::Pixels), [240, 1, 48, 8]);
        assert_eq!(strides(Layout::Planes), [240, 30, 6, 1]);
    }

    #[test]
    fn attention_in_steps_is_the_fused_one_and_its_gradient_has_a_gradient() {
        tch::manual_seed(2);
        let random = || Tensor::randn([2, 3, 7, 8], (Kind::Float, Device::Cpu));
        let [q, k, v] = [random(), random(), random()].map(|t| t.set_requires_grad(true));
        let plain = plain_attention(&q, &k, &v);
        assert!(plain.allclose(&attention(&q, &k, &v, false), 1e-5, 1e-6, false));
        let first = Tensor::run_backward(&[plain.square().sum(Kind::Float)], &[&q], true, true);
        let second =
            Tensor::run_backward(&[first[0].square().sum(Kind::Float)], &[&k], false, false);
        assert!(second[0].abs().max().double_value(&[]) > 0.0);
    }
}
