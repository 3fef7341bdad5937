//! The generator's adversary: a small network that tells drawn pictures from redrawn ones
//! (PatchGAN with the hinge loss, as VQGAN has; Isola et al. 2017, Esser et al. 2021).
//!
//! Squared error alone answers doubt with a blur; a blur is what a critic sees first.

use tch::{Kind, Tensor};

use super::params::{AdamW, Params, Spec, Start};

/// Channels after each convolution of stride two; the last one's cells see the whole picture.
const CHANNELS: [i64; 5] = [3, 32, 64, 128, 128];
const KERNEL: i64 = 4;
const RATE: f64 = 3e-4;
/// Steps between two penalties on the critic's slope at drawn pictures (R1: Mescheder et al.
/// 2018; in intervals: Karras et al. 2020), which keeps it from running ahead.
const PENALTY_EVERY: i64 = 8;
const PENALTY: f64 = 1.0;

pub struct Critic {
    pub params: Params,
    pub adam: AdamW,
    kind: Kind,
}

impl Critic {
    /// Weights drawn from the seed; computes in `kind`.
    pub fn new(seed: u64, kind: Kind, device: tch::Device) -> Self {
        let params = Params::start(&layout(), seed, device);
        let adam = AdamW::new(&params, (0.0, 0.99), 0.0);
        Self { params, adam, kind }
    }

    /// How much each part of images [B, 3, H, W] in [-1, 1] looks drawn: float32, about
    /// [B, 1, H/16, W/16].
    fn judge(&self, images: &Tensor) -> Tensor {
        let kind = self.kind;
        let part = |name: &str| self.params.tensors[name].to_kind(kind);
        let convolve = |x: &Tensor, name: &str, stride: i64| {
            let (weight, bias) = (part(&format!("{name}.weight")), part(&format!("{name}.bias")));
            x.conv2d(&weight, Some(&bias), stride, 1, 1, 1)
        };
        let mut x = images.to_kind(kind);
        for i in 0..CHANNELS.len() - 1 {
            x = convolve(&x, &format!("down.{i}"), 2);
            x = x.maximum(&(&x * 0.2));
        }
        convolve(&x, "out", 1).to_kind(Kind::Float)
    }

    /// How far each of `redrawn` [B, 3, H, W] is from passing: [B]; the generator's loss.
    pub fn objection(&self, redrawn: &Tensor) -> Tensor {
        -self.judge(redrawn).mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)
    }

    /// Learns from drawn and redrawn pictures; returns the share of parts it told apart.
    pub fn learn(&mut self, drawn: &Tensor, redrawn: &Tensor, step: i64) -> Tensor {
        let penalised = step % PENALTY_EVERY == 0;
        let drawn = drawn.detach().set_requires_grad(penalised);
        let (real, false_) = (self.judge(&drawn), self.judge(&redrawn.detach()));
        let short = |margin: Tensor| margin.relu().mean(Kind::Float);
        let mut loss = short(1.0 - &real) + short(1.0 + &false_);
        if penalised {
            let total = real.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float);
            let slope = Tensor::run_backward(&[total.sum(Kind::Float)], &[&drawn], true, true);
            let squared =
                slope[0].square().sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float);
            loss += squared.mean(Kind::Float) * (PENALTY * PENALTY_EVERY as f64);
        }
        let (gradient, _) = self.params.gradient(&loss, &[]);
        self.adam.step(&self.params, &gradient, RATE, step);
        let right = |t: Tensor| t.to_kind(Kind::Float).mean(Kind::Float);
        ((right(real.gt(0.0)) + right(false_.lt(0.0))) / 2.0).detach()
    }
}

fn layout() -> Vec<Spec> {
    let mut specs = Vec::new();
    let mut convolution = |name: String, inputs: i64, outputs: i64, kernel: i64| {
        let std = (2.0 / (inputs * kernel * kernel) as f64).sqrt();
        let shape = vec![outputs, inputs, kernel, kernel];
        specs.push(Spec { name: format!("{name}.weight"), shape, start: Start::Normal(std) });
        let (name, shape) = (format!("{name}.bias"), vec![outputs]);
        specs.push(Spec { name, shape, start: Start::Constant(0.0) });
    };
    for (i, pair) in CHANNELS.windows(2).enumerate() {
        convolution(format!("down.{i}"), pair[0], pair[1], KERNEL);
    }
    convolution("out".into(), CHANNELS[CHANNELS.len() - 1], 1, 3);
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_to_tell_stripes_from_their_blur() {
        tch::manual_seed(1);
        let mut critic = Critic::new(1, Kind::Float, tch::Device::Cpu);
        let line = Tensor::arange(48, (Kind::Float, tch::Device::Cpu));
        let stripes = (line * 1.5).sin().sign().expand([8, 3, 48, 48], true).contiguous();
        let blur =
            stripes.adaptive_avg_pool2d([12, 12]).upsample_bilinear2d([48, 48], false, None, None);
        let noise = || Tensor::randn([8, 3, 48, 48], (Kind::Float, tch::Device::Cpu)) * 0.1;
        for step in 0..40 {
            let _ = critic.learn(&(&stripes + noise()), &(&blur + noise()), step);
        }
        let of = |x: &Tensor| critic.objection(x).mean(Kind::Float).double_value(&[]);
        assert!(of(&blur) > of(&stripes));
    }
}
