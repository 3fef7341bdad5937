//! What a loop would make of the perceptor as it is now.
//!
//! A pool of latents climbs toward captions, one step of the loop at each step of training,
//! and what it shows is learnt as wrong answers: smears and textures that please the
//! perceptor stop pleasing it, until only the subject itself does. (Persistent chains for the
//! negatives, as in the training of energy-based models: Tieleman 2008, Du & Mordatch 2019.)

use std::path::Path;

use anyhow::Result;
use tch::{Device, Kind, Tensor};
use vqfarm_engine::model::Generator;
use vqfarm_engine::net::{Clip, Vqgan};

use super::augment;
use super::corrupt::noisy;
use super::perceptor::features;
use crate::data::SIZE;
use crate::models;

/// Steps after which a latent of the pool begins anew with another caption: as many as a loop
/// takes, since what is less far gone fools nobody. They begin in turns.
const ERA: i64 = 160;
/// Latents in the pool of a training with so many scenes a step, a multiple of sixteen.
pub fn count(batch: i64) -> i64 {
    batch / 16
}

/// How many times the `slot`-th of `count` latents has begun before or at `step`, and whether it
/// begins now.
pub fn era(step: i64, slot: i64, count: i64) -> (i64, bool) {
    let shifted = step + slot * ERA / count;
    (shifted / ERA, shifted % ERA == 0)
}

/// Whether the `slot`-th latent begins as its caption's scene under noise, to find back to it.
pub fn begins_near(slot: i64) -> bool {
    slot % 2 == 1
}

/// Cutouts of each picture.
const CUTOUTS: i64 = 1;
/// The loop's step size.
const RATE: f64 = 0.1;

pub struct Dreams {
    generator: Vqgan,
    /// [count, e, h, w], with Adam's two means.
    z: Tensor,
    mean: Tensor,
    square: Tensor,
    /// Steps since its beginning, [count, 1, 1, 1].
    age: Tensor,
}

impl Dreams {
    /// A pool of `count` latents.
    ///
    /// # Errors
    /// The generator's file is missing or damaged.
    pub fn new(generator: &Path, count: i64, kind: Kind, device: Device) -> Result<Self> {
        let generator = models::vqgan(&models::read_vqgan(generator)?, kind, device)?;
        let side = i64::from(SIZE) / generator.factor();
        let z = Tensor::zeros([count, generator.channels(), side, side], (Kind::Float, device));
        let age = z.zeros_like().narrow(1, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1);
        Ok(Self { generator, mean: z.zeros_like(), square: z.zeros_like(), z, age })
    }

    /// Images [B, 3, SIZE, SIZE] in [0, 1], the first `described` of which have captions. One
    /// in eight of those is shown as the generator redraws it, so that its touch is no sign of
    /// a wrong answer. Also pictures on their way there: those of `hazy` [H] redrawn from latents
    /// with a little noise, and then with much, [2H, 3, SIZE, SIZE].
    pub fn redraw(
        &self,
        images: &Tensor,
        described: i64,
        step: i64,
        hazy: &Tensor,
    ) -> (Tensor, Tensor) {
        tch::no_grad(|| {
            let place = (Kind::Int64, images.device());
            let some = Tensor::arange_start_step(step % 8, described, 8, place);
            let all =
                Tensor::cat(&[&images.index_select(0, &some), &images.index_select(0, hazy)], 0);
            let latents = self.generator.prequant(&(all * 2.0 - 1.0));
            let (count, few) = (some.size()[0], hazy.size()[0]);
            let (whole, own) = (latents.narrow(0, 0, count), latents.narrow(0, count, few));
            let thick = thickness(few, images.device());
            let thin = &thick * Tensor::rand_like(&thick) * 0.8;
            let rows = self.all_rows();
            let (thin, thick) = (noisy(&own, &rows, &thin), noisy(&own, &rows, &thick));
            let latents = Tensor::cat(&[whole, thin, thick], 0);
            let z = self.generator.rows(&self.generator.nearest(&latents));
            let shown = self.show(&z);
            let redrawn = images.index_copy(0, &some, &shown.narrow(0, 0, count));
            (redrawn, shown.narrow(0, count, 2 * few))
        })
    }

    /// The images of quantised latents. Channels first in memory, for the backward pass' sake.
    fn show(&self, z: &Tensor) -> Tensor {
        self.generator.decode(&z.contiguous()).clamp(0.0, 1.0)
    }

    /// Every row of the codebook, as a latent of one row.
    fn all_rows(&self) -> Tensor {
        let numbers = Tensor::arange(self.generator.codes(), (Kind::Int64, self.z.device()));
        self.generator.rows(&numbers.unsqueeze(0).unsqueeze(0))
    }

    /// Starts a latent again: near its caption's scene [1, 3, SIZE, SIZE], or else as random
    /// codes or a soft gradient of colours.
    pub fn begin(&mut self, slot: i64, scene: &Tensor) {
        let (device, side) = (self.z.device(), self.z.size()[2]);
        let start = if begins_near(slot) {
            let latent = tch::no_grad(|| self.generator.prequant(&(scene * 2.0 - 1.0)));
            noisy(&latent, &self.all_rows(), &thickness(1, device))
        } else if slot % 4 == 0 {
            let codes = (self.generator.codes(), [1, side, side], (Kind::Int64, device));
            self.generator.rows(&Tensor::randint(codes.0, codes.1, codes.2))
        } else {
            let size = [i64::from(SIZE); 2];
            let corners = Tensor::rand([1, 3, 2, 2], (Kind::Float, device));
            self.generator.encode(&corners.upsample_bilinear2d(size, true, None, None))
        };
        tch::no_grad(|| {
            self.z.narrow(0, slot, 1).copy_(&start);
            for t in [&self.mean, &self.square, &self.age] {
                let _ = t.narrow(0, slot, 1).zero_();
            }
        });
    }

    /// One step toward `texts`, unit features [count, d]; returns the pictures before it,
    /// [count, 3, SIZE, SIZE].
    pub fn advance(&mut self, net: &Clip, side: i64, texts: &Tensor) -> Tensor {
        let z = self.z.detach().set_requires_grad(true);
        let images = self.show(&self.generator.quantize(&z));
        let copies = images.repeat([CUTOUTS, 1, 1, 1]);
        let seen = features(net, &augment::cutouts(&copies, side));
        // Descends by −cosine, whose direction is that of the loop's spherical distance.
        let texts = texts.detach().repeat([CUTOUTS, 1]);
        let loss: Tensor = -(seen * texts).sum(Kind::Float) / CUTOUTS as f64;
        let gradient = Tensor::run_backward(&[loss], &[&z], false, false).remove(0);
        tch::no_grad(|| {
            self.age += 1.0;
            let _ = self.mean.lerp_(&gradient, 0.1);
            let _ = self.square.lerp_(&gradient.square(), 0.001);
            let correction = |beta: f64| -> Tensor { 1.0 - (&self.age * beta.ln()).exp() };
            let size = (&self.square / correction(0.999)).sqrt() + 1e-8;
            let step = (&self.mean / correction(0.9)) / size;
            let (low, high) = self.generator.bounds();
            self.z = (&self.z - step * RATE).clamp_tensor(Some(low), Some(high));
        });
        images.detach()
    }
}

/// How much noise hides a picture, as a share of the codebook's spread: [count, 1, 1, 1].
fn thickness(count: i64, device: Device) -> Tensor {
    Tensor::rand([count, 1, 1, 1], (Kind::Float, device)) * 1.3 + 0.3
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: i64 = 4;

    #[test]
    fn latents_begin_in_turns_and_live_for_an_era() {
        let begin: Vec<i64> = (0..2 * ERA).filter(|step| era(*step, 1, COUNT).1).collect();
        assert_eq!(begin, [ERA - ERA / COUNT, 2 * ERA - ERA / COUNT]);
        for step in 0..2 * ERA {
            assert!((0..COUNT).filter(|slot| era(step, *slot, COUNT).1).count() <= 1);
        }
    }

    #[test]
    fn a_dream_comes_nearer_to_its_caption() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/models/");
        let file = Path::new(models).join(models::GENERATOR);
        tch::manual_seed(1);
        let mut pool = Dreams::new(&file, COUNT, Kind::Float, Device::Cpu).unwrap();
        let scene = Tensor::rand([1, 3, 96, 96], (Kind::Float, Device::Cpu));
        (0..COUNT).for_each(|slot| pool.begin(slot, &scene));
        let clip = vqfarm_weights::read(&Path::new(models).join(models::PERCEPTOR)).unwrap();
        let clip = vqfarm_weights::clip::canonical(clip, None).unwrap();
        let net = models::clip(&clip, Device::Cpu).unwrap();
        let text = vqfarm_engine::model::Perceptor::encode_text(&net, "a red sun over the sea");
        let text = text.unwrap().0;
        let texts = (&text / text.norm()).repeat([COUNT, 1]);
        let score = |shown: &Tensor| {
            let seen = features(&net, &shown.adaptive_avg_pool2d([64, 64]));
            (seen * &texts).sum(Kind::Float).double_value(&[])
        };
        let first = score(&pool.advance(&net, 64, &texts));
        (0..8).for_each(|_| drop(pool.advance(&net, 64, &texts)));
        assert!(score(&pool.advance(&net, 64, &texts)) > first);
    }
}
