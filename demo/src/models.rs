//! The demo models' files, read back as the farm reads them.

use std::path::Path;

use anyhow::{Context, Result};
use tch::{Device, Kind};
use vqfarm_engine::net::{Clip, Vqgan, Weights, to_tensors};
use vqfarm_weights::Model;
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::vqgan::VqganConfig;

pub const GENERATOR: &str = "demo-f8.safetensors";
pub const PERCEPTOR: &str = "demo-clip.safetensors";
/// Scores pictures; the loop never sees it.
pub const JUDGE: &str = "demo-judge.safetensors";

/// The pair that renders, and the judge.
pub struct Demo {
    pub generator: Model<VqganConfig>,
    pub perceptor: Model<ClipConfig>,
    pub judge: Model<ClipConfig>,
}

impl Demo {
    /// # Errors
    /// A file is missing, damaged or another model.
    pub fn read(dir: &Path) -> Result<Self> {
        Ok(Self {
            generator: read_vqgan(&dir.join(GENERATOR))?,
            perceptor: read_clip(&dir.join(PERCEPTOR))?,
            judge: read_clip(&dir.join(JUDGE))?,
        })
    }
}

fn read_clip(file: &Path) -> Result<Model<ClipConfig>> {
    Ok(vqfarm_weights::clip::canonical(vqfarm_weights::read(file)?, None)?)
}

/// # Errors
/// The file is missing, damaged or no VQGAN.
pub fn read_vqgan(file: &Path) -> Result<Model<VqganConfig>> {
    Ok(vqfarm_weights::vqgan::canonical(vqfarm_weights::read(file)?, None)?)
}

/// The network of a generator, computing in `kind`.
///
/// # Errors
/// libtorch is out of memory.
pub fn vqgan(model: &Model<VqganConfig>, kind: Kind, device: Device) -> Result<Vqgan> {
    let tensors = to_tensors(&model.state, device)?;
    Vqgan::new(&Weights::new(&tensors, kind), &model.config).context("build the generator")
}

/// The network of a perceptor, in float32.
///
/// # Errors
/// libtorch is out of memory.
pub fn clip(model: &Model<ClipConfig>, device: Device) -> Result<Clip> {
    let tensors = to_tensors(&model.state, device)?;
    Clip::new(&Weights::new(&tensors, Kind::Float), &model.config).context("build a perceptor")
}
