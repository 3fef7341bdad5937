//! Teaches a perceptor's gradient, which is all that a loop follows.
//!
//! Denoising score matching (Vincent 2011) with the length left free, since a loop's optimiser
//! does not see it: at pictures that are not finished, the gradient of the caption's score shall
//! point to the picture that should become of them.

use tch::{Device, Kind, Tensor};
use vqfarm_engine::net::Clip;

use super::augment;
use super::perceptor::features;

/// Unfinished pictures as a loop shows them, and what they should become as the same cutouts.
pub struct Unfinished {
    /// [B, 3, side, side].
    from: Tensor,
    toward: Tensor,
    /// The number of each one's caption, [B].
    captions: Tensor,
}

impl Unfinished {
    /// Images [B, 3, H, W] in [0, 1]; both sides are cut out and shaken alike. Draws from
    /// libtorch's generator.
    pub fn new(from: &Tensor, toward: &Tensor, captions: Tensor, side: i64) -> Self {
        let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]);
        let [from, toward] = [from, toward].map(|images| {
            tch::manual_seed(seed);
            augment::cutouts(images, side)
        });
        Self { from: from.detach(), toward: toward.detach(), captions }
    }

    /// The mean cosine, -1 to 1, of the gradient of each caption's score and the way to what
    /// should become of its picture, a scalar with a gradient; `texts` [N, d] are unit features.
    /// The network must be twice differentiable.
    pub fn alignment(&self, net: &Clip, texts: &Tensor) -> Tensor {
        let from = self.from.detach().set_requires_grad(true);
        let texts = texts.index_select(0, &self.captions);
        let score = (features(net, &from) * texts).sum(Kind::Float);
        let uphill = Tensor::run_backward(&[score], &[&from], true, true).remove(0).flatten(1, -1);
        let way = (&self.toward - &self.from).flatten(1, -1);
        Tensor::cosine_similarity(&uphill, &way, 1, 1e-8).mean(Kind::Float)
    }
}

#[cfg(test)]
mod tests {
    use vqfarm_engine::net::Weights;

    use super::*;
    use crate::train::layout;
    use crate::train::params::{AdamW, Params};
    use crate::train::perceptor::config;

    #[test]
    fn a_gradient_can_be_taught_to_point_somewhere() {
        tch::manual_seed(5);
        let config = config(84);
        let params = Params::start(&layout::clip(&config), 3, Device::Cpu);
        let options = (Kind::Float, Device::Cpu);
        let (from, toward) =
            (Tensor::rand([4, 3, 96, 96], options), Tensor::rand([4, 3, 96, 96], options));
        let captions = Tensor::arange(4, (Kind::Int64, Device::Cpu));
        let unfinished = Unfinished::new(&from, &toward, captions, config.image_resolution);
        let texts = Tensor::randn([4, config.embed_dim], options);
        let texts = &texts / texts.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
        let mut adam = AdamW::new(&params, (0.9, 0.98), 0.0);
        let mut alignments = Vec::new();
        for step in 0..12 {
            let weights = Weights::new(&params.tensors, Kind::Float).twice_differentiable();
            let net = Clip::new(&weights, &config).unwrap();
            let alignment = unfinished.alignment(&net, &texts);
            alignments.push(alignment.double_value(&[]));
            // The text tower has no part in it, so its gradient is nothing.
            let idle: Tensor = params.leaves().iter().map(|leaf| leaf.sum(Kind::Float) * 0.0).sum();
            let (gradient, _) = params.gradient(&(idle - alignment), &[]);
            adam.step(&params, &gradient, 1e-3, step);
        }
        let (first, last) = (alignments[0], alignments[11]);
        assert!(first.abs() < 0.1 && last > first + 0.05, "{alignments:?}");
    }
}
