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
use super::corrupt::corrupt;
use super::perceptor::features;
use crate::data::SIZE;
use crate::models;

/// Steps after which the pool begins anew, with other captions.
pub const ERA: i64 = 60;
/// Latents in the pool.
pub const COUNT: i64 = 8;

/// Cutouts of each picture.
const CUTOUTS: i64 = 2;
/// The loop's step size.
const RATE: f64 = 0.1;

pub struct Dreams {
    generator: Vqgan,
    /// [COUNT, e, h, w], with Adam's two means.
    z: Tensor,
    mean: Tensor,
    square: Tensor,
    age: i32,
}

impl Dreams {
    /// # Errors
    /// The generator's file is missing or damaged.
    pub fn new(generator: &Path, kind: Kind, device: Device) -> Result<Self> {
        let generator = models::vqgan(&models::read_vqgan(generator)?, kind, device)?;
        let side = i64::from(SIZE) / generator.factor();
        let z = Tensor::zeros([COUNT, generator.channels(), side, side], (Kind::Float, device));
        Ok(Self { generator, mean: z.zeros_like(), square: z.zeros_like(), z, age: 0 })
    }

    /// Images [B, 3, SIZE, SIZE] in [0, 1], the first `described` of which have captions. One
    /// in eight of those is shown as the generator redraws it, so that its touch is no sign of
    /// a wrong answer; half of them are added once more with codes of other scenes put in.
    pub fn redraw(&self, images: &Tensor, described: i64, step: i64) -> Tensor {
        tch::no_grad(|| {
            let place = (Kind::Int64, images.device());
            let some = Tensor::arange_start_step(step % 8, described, 8, place);
            let z = self.generator.encode(&images.index_select(0, &some));
            let few = z.size()[0] / 2;
            let torn = corrupt(&z).narrow(0, 0, few);
            let drawn = self.generator.decode(&Tensor::cat(&[z, torn], 0)).clamp(0.0, 1.0);
            let (whole, torn) =
                (drawn.narrow(0, 0, some.size()[0]), drawn.narrow(0, some.size()[0], few));
            Tensor::cat(&[images.index_copy(0, &some, &whole), torn], 0)
        })
    }

    /// Starts all latents again: half as random codes, half as soft gradients of colour.
    pub fn begin(&mut self) {
        let options = (Kind::Float, self.z.device());
        let side = self.z.size()[2];
        let codes = Tensor::randint(
            self.generator.codes(),
            [COUNT / 2, side, side],
            (Kind::Int64, self.z.device()),
        );
        let size = i64::from(SIZE);
        let colours = Tensor::rand([COUNT - COUNT / 2, 3, 2, 2], options).upsample_bilinear2d(
            [size, size],
            true,
            None,
            None,
        );
        self.z = Tensor::cat(&[self.generator.rows(&codes), self.generator.encode(&colours)], 0)
            .detach();
        (self.mean, self.square) = (self.z.zeros_like(), self.z.zeros_like());
        self.age = 0;
    }

    /// One step toward `texts`, unit features [COUNT, d]; returns the pictures before it,
    /// [COUNT, 3, SIZE, SIZE].
    pub fn advance(&mut self, net: &Clip, side: i64, texts: &Tensor) -> Tensor {
        let z = self.z.detach().set_requires_grad(true);
        let images = self.generator.decode(&self.generator.quantize(&z)).clamp(0.0, 1.0);
        let copies = images.repeat([CUTOUTS, 1, 1, 1]);
        let seen = features(net, &augment::cutouts(&copies, side));
        // Descends by −cosine, whose direction is that of the loop's spherical distance.
        let texts = texts.detach().repeat([CUTOUTS, 1]);
        let loss: Tensor = -(seen * texts).sum(Kind::Float) / CUTOUTS as f64;
        let gradient = Tensor::run_backward(&[loss], &[&z], false, false).remove(0);
        self.age += 1;
        tch::no_grad(|| {
            let _ = self.mean.lerp_(&gradient, 0.1);
            let _ = self.square.lerp_(&gradient.square(), 0.001);
            let (c1, c2) = (1.0 - 0.9f64.powi(self.age), 1.0 - 0.999f64.powi(self.age));
            let step = (&self.mean / c1) / ((&self.square / c2).sqrt() + 1e-8);
            let (low, high) = self.generator.bounds();
            self.z = (&self.z - step * RATE).clamp_tensor(Some(low), Some(high));
        });
        images.detach()
    }
}
