//! How much memory a picture takes, from the sizes of its networks: arithmetic only.
//!
//! The terms follow the engine's computation step by step: what each keeps for the way back, and
//! what is alive besides at the worst moment. They are checked against what processes really
//! take (`engine/examples/memory.rs`).

mod generator;
mod perceptor;
mod thrift;

use std::collections::BTreeMap;

use crate::clip::{self, ClipConfig};
use crate::fit::Spec;
use crate::library::Config;
use crate::vqgan::{self, VqganConfig};
pub use thrift::{Decoder, Thrift};

/// What a process needs before it has a model: libtorch. Some 50 MiB of it are pages of that file
/// which the kernel may map beyond those that are asked for, or may not, as its cache has them.
pub const PROGRAM: u64 = 300 << 20;
/// As [`PROGRAM`], of the GPU's memory: the context and the libraries' work space.
pub const PROGRAM_CUDA: u64 = 900 << 20;
/// What the C library's allocator loses between tensors, as a share of them, with room above the
/// worst run seen: how much depends on which thread gives back first.
const LOST: f64 = 0.35;
/// The same of libtorch's own for GPUs.
const LOST_CUDA: f64 = 0.15;
/// Copies of the cutouts that are alive at their worst moment, the way back included: by
/// measurement, for the augmentations that need most.
const CUTOUTS: f64 = 24.0;
/// The same of the image itself, in float32 whatever the precision.
const IMAGES: f64 = 8.0;
const FLOAT32: f64 = 4.0;

/// The sizes of the networks that make a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Networks {
    pub generator: VqganConfig,
    pub perceptors: Vec<ClipConfig>,
}

/// Pictures that are made together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    pub pictures: u32,
    /// Width and height in pixels.
    pub size: [u32; 2],
    /// Cutouts of each picture.
    pub cutouts: u32,
    /// Whether the networks compute in bf16; in float32 otherwise.
    pub bf16: bool,
    /// On a GPU; else on a CPU, where they are computed one after another.
    pub cuda: bool,
}

/// Bytes at the worst moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Of the program itself.
    pub program: u64,
    /// Of the networks, which all lanes of a device share.
    pub weights: u64,
    /// Of what is computed.
    pub activations: u64,
}

impl Batch {
    /// One picture, wherever it is made.
    pub fn single(size: [u32; 2], cutouts: u32, bf16: bool) -> Self {
        Self { pictures: 1, size, cutouts, bf16, cuda: false }
    }
}

impl Networks {
    /// Those of these names; none where one is not known, or is of the other kind.
    pub fn named(
        generator: &str,
        perceptors: &[String],
        configs: &BTreeMap<String, Config>,
    ) -> Option<Self> {
        let Config::Vqgan(generator) = configs.get(generator)? else { return None };
        let perceptor = |name: &String| match configs.get(name)? {
            Config::Clip(config) => Some(config.clone()),
            Config::Vqgan(_) => None,
        };
        let perceptors = perceptors.iter().map(perceptor).collect::<Option<_>>()?;
        Some(Self { generator: generator.clone(), perceptors })
    }

    /// What pictures take that are made together.
    pub fn estimate(&self, batch: &Batch, thrift: Thrift) -> Estimate {
        let lost = if batch.cuda { LOST_CUDA } else { LOST };
        let activations = self.activations(batch, thrift) * (1.0 + lost);
        Estimate {
            program: if batch.cuda { PROGRAM_CUDA } else { PROGRAM },
            weights: self.weights(batch.bf16) as u64,
            activations: activations as u64,
        }
    }

    /// The quickest way that takes no more than `limit` bytes of activations.
    pub fn cheapest(&self, batch: &Batch, limit: u64) -> Option<Thrift> {
        batch.ways().find(|way| self.estimate(batch, *way).activations <= limit)
    }

    /// Bytes without which no device can make one picture of a batch.
    pub fn least(&self, batch: &Batch) -> u64 {
        let on = |cuda| {
            let batch = Batch { pictures: 1, cuda, ..*batch };
            self.estimate(&batch, batch.most_frugal()).total()
        };
        on(false).min(on(true))
    }

    fn weights(&self, bf16: bool) -> f64 {
        let clips = self.perceptors.iter().map(|config| of_spec(&clip::spec::spec(config), bf16));
        of_spec(&vqgan::spec::spec(&self.generator), bf16) + clips.sum::<f64>()
    }

    fn activations(&self, batch: &Batch, thrift: Thrift) -> f64 {
        let width = if batch.bf16 { 2.0 } else { FLOAT32 };
        let pictures = f64::from(if batch.cuda { batch.pictures } else { 1 });
        let [w, h] = batch.size.map(f64::from);
        let image = pictures * 3.0 * w * h * FLOAT32;
        let generator = generator::activations(&self.generator, [w, h], thrift.decoder);
        let latents = generator::distances(&self.generator, [w, h]) * pictures * FLOAT32;

        let at_once = thrift.cutouts_at_once.map_or(batch.cutouts, |n| n.get().min(batch.cutouts));
        let (all, some) = (pictures * f64::from(batch.cutouts), pictures * f64::from(at_once));
        // Those of one resolution share their cutouts, and are let go before the next one's.
        let looking = |config: &ClipConfig| {
            let side = config.image_resolution as f64;
            let cutouts = all * 3.0 * side * side * FLOAT32;
            let seeing = some * perceptor::activations(config, batch.bf16);
            CUTOUTS * cutouts + seeing
        };
        let looking = self.perceptors.iter().map(looking).fold(0.0, f64::max);
        let kept = pictures * width * generator.kept;
        let back = pictures * width * generator.back;
        IMAGES * image + latents.max(kept + looking.max(back))
    }
}

impl Estimate {
    pub fn total(&self) -> u64 {
        self.without_activations().saturating_add(self.activations)
    }

    /// What is there once, however many pictures are computed side by side.
    pub fn without_activations(&self) -> u64 {
        self.program.saturating_add(self.weights)
    }
}

/// Bytes of weights as they are read, float32, and of those that the engine makes of them.
fn of_spec(spec: &Spec, bf16: bool) -> f64 {
    let of = |(name, shape): &(String, Vec<i64>)| {
        let numbers: f64 = shape.iter().map(|&n| n as f64).product();
        let is_weight = shape.len() > 1;
        let made = match name.as_str() {
            name if name.ends_with("upsample.conv.weight") => 16.0 / 9.0,
            name if name.contains(".mlp.c_") && is_weight => 1.0,
            name if name.starts_with("visual.layer") && is_weight => 1.0,
            _ => 0.0,
        };
        match bf16 {
            true => numbers * (FLOAT32 + 2.0 * (1.0 + made)),
            false => numbers * FLOAT32 * (1.0 + made),
        }
    };
    spec.0.iter().map(of).sum()
}

#[cfg(test)]
mod tests;
