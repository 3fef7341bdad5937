//! The models that cells ask for, loaded once and shared by the lanes.

use std::sync::{Mutex, PoisonError};

use tch::Device;
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_engine::EngineError;
use vqfarm_engine::models::{ModelWeights, Models};
use vqfarm_weights::clip::{self, ClipConfig};
use vqfarm_weights::library::{Config, Library, LibraryError};
use vqfarm_weights::{Model, WeightsError, vqgan};

/// Sets of models that stay in memory; a sweep over generators asks for several.
const KEPT: usize = 4;

/// Why models cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("`{name}` is not a {wanted}; it is a {found}")]
    Kind { name: String, wanted: &'static str, found: &'static str },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What cells must agree on to use the same networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    generator: String,
    perceptors: Vec<String>,
    precision: Precision,
}

impl ModelKey {
    pub fn of(settings: &RenderSettings) -> Self {
        Self {
            generator: settings.generator.clone(),
            perceptors: settings.perceptors.clone(),
            precision: settings.precision,
        }
    }
}

/// The models in one device's memory.
pub struct Shelf {
    library: Library,
    device: Device,
    kept: Mutex<Vec<(ModelKey, ModelWeights)>>,
}

impl Shelf {
    pub fn new(library: Library, device: Device) -> Self {
        Self { library, device, kept: Mutex::default() }
    }

    /// Networks of the calling thread's own; the weights are shared with other threads. The
    /// second value warns when the device computes otherwise than asked.
    ///
    /// # Errors
    /// A model is not in the library, damaged, of the other kind, or too large for the device.
    pub fn networks(&self, key: &ModelKey) -> Result<(Models, Option<String>), ModelError> {
        // Whoever comes first loads; the others wait here and share.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| known == key) {
            let found = kept.remove(at);
            let networks = found.1.build()?;
            kept.push(found);
            return Ok((networks, None));
        }
        let (weights, warning) = self.load(key)?;
        let networks = weights.build()?;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((key.clone(), weights));
        Ok((networks, warning))
    }

    fn load(&self, key: &ModelKey) -> Result<(ModelWeights, Option<String>), ModelError> {
        let generator = self.library.open(&key.generator)?;
        let Config::Vqgan(config) = generator.record.config else {
            return Err(wrong_kind(&key.generator, "generator", "perceptor"));
        };
        let generator = vqgan::canonical(vqfarm_weights::read(&generator.path)?, Some(config))?;
        let mut perceptors: Vec<Model<ClipConfig>> = Vec::new();
        for name in &key.perceptors {
            let perceptor = self.library.open(name)?;
            let Config::Clip(config) = perceptor.record.config else {
                return Err(wrong_kind(name, "perceptor", "generator"));
            };
            let checkpoint = vqfarm_weights::read(&perceptor.path)?;
            perceptors.push(clip::canonical(checkpoint, Some(config))?);
        }
        let perceptors: Vec<_> = perceptors.iter().collect();
        Ok(ModelWeights::new(&generator, &perceptors, self.device, key.precision)?)
    }
}

fn wrong_kind(name: &str, wanted: &'static str, found: &'static str) -> ModelError {
    ModelError::Kind { name: name.to_owned(), wanted, found }
}
