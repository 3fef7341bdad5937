//! The models that cells ask for, loaded once and shared by the lanes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tch::Device;
use tracing::trace_span;
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_core::speed::Workload;
use vqfarm_engine::EngineError;
use vqfarm_engine::models::{Loaded, ModelWeights, Models};
use vqfarm_engine::net::Sharing;
use vqfarm_engine::session::Options;
use vqfarm_service::trace::TARGET as TRACE;
use vqfarm_weights::clip::{self, ClipConfig};
use vqfarm_weights::library::{Config, Library, LibraryError};
use vqfarm_weights::vqgan::{self, VqganConfig};
use vqfarm_weights::{Checkpoint, Model, WeightsError};

use crate::budget::Budget;
use crate::cache::ModelCache;

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

/// A model by the name that a job uses, and the weights that the name meant at its submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    pub name: String,
    pub sha256: String,
}

/// What cells must agree on to use the same networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    generator: ModelRef,
    perceptors: Vec<ModelRef>,
    precision: Precision,
}

impl ModelKey {
    /// `hashes` holds the SHA-256 of each name ([`vqfarm_core::record::JobRecord::models`]).
    pub fn of(settings: &RenderSettings, hashes: &BTreeMap<String, String>) -> Self {
        let model = |name: &String| ModelRef {
            name: name.clone(),
            sha256: hashes.get(name).cloned().unwrap_or_default(),
        };
        Self {
            generator: model(&settings.generator),
            perceptors: settings.perceptors.iter().map(model).collect(),
            precision: settings.precision,
        }
    }

    /// What decides how long its pictures take.
    pub fn workload(&self, settings: &RenderSettings) -> Workload {
        let hash = |model: &ModelRef| (model.name.clone(), model.sha256.clone());
        Workload::of(settings, &self.models().map(hash).collect())
    }

    pub fn models(&self) -> impl Iterator<Item = &ModelRef> {
        std::iter::once(&self.generator).chain(&self.perceptors)
    }
}

/// Where weights are read from.
#[derive(Clone)]
pub enum Source {
    /// By name.
    Library(Library),
    /// By hash; they must be there already ([`ModelCache::ensure`]).
    Cache(Arc<ModelCache>),
}

impl Source {
    fn generator(&self, model: &ModelRef) -> Result<(PathBuf, Option<VqganConfig>), ModelError> {
        match self {
            Self::Library(library) => {
                let entry = library.open(&model.name)?;
                match entry.record.config {
                    Config::Vqgan(config) => Ok((entry.path, Some(config))),
                    Config::Clip(_) => Err(wrong_kind(&model.name, "generator", "perceptor")),
                }
            }
            // A farm's weights say themselves what they are.
            Self::Cache(cache) => Ok((cache.path(&model.sha256), None)),
        }
    }

    /// Maps what nobody writes to. Files of people's own are read: whoever overwrote one would
    /// change the pictures or end the process.
    fn read(&self, path: &Path) -> Result<Checkpoint, WeightsError> {
        match self {
            Self::Library(_) => vqfarm_weights::read(path),
            Self::Cache(_) => vqfarm_weights::map(path),
        }
    }

    fn perceptor(&self, model: &ModelRef) -> Result<(PathBuf, Option<ClipConfig>), ModelError> {
        match self {
            Self::Library(library) => {
                let entry = library.open(&model.name)?;
                match entry.record.config {
                    Config::Clip(config) => Ok((entry.path, Some(config))),
                    Config::Vqgan(_) => Err(wrong_kind(&model.name, "perceptor", "generator")),
                }
            }
            Self::Cache(cache) => Ok((cache.path(&model.sha256), None)),
        }
    }
}

/// What was loaded for cells that agree.
type Set = (ModelKey, ModelWeights);

/// The models in one device's memory.
pub struct Shelf {
    source: Source,
    device: Device,
    options: Options,
    budget: Option<Budget>,
    shares: bool,
    kept: Mutex<Vec<Set>>,
    /// Names of the kept models; may be asked for while others are being loaded.
    names: Mutex<BTreeSet<String>>,
}

impl Shelf {
    pub fn new(source: Source, device: Device) -> Self {
        Self {
            source,
            device,
            options: Options::default(),
            budget: None,
            shares: false,
            kept: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// The same for networks that compute in another way.
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// The same on a device of so much memory.
    pub fn within(self, budget: Budget) -> Self {
        Self { budget: Some(budget), ..self }
    }

    /// The same, whose weights are in memory that processes have in common, if `share` says so.
    pub fn sharing(self, share: bool) -> Self {
        Self { shares: share, ..self }
    }

    /// The memory of the device, where it is known.
    pub fn budget(&self) -> Option<Budget> {
        self.budget
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// Names of the models in memory.
    pub fn loaded(&self) -> BTreeSet<String> {
        lock(&self.names).clone()
    }

    /// Networks of the calling thread's own; the weights are shared with other threads. The
    /// second value warns when the device computes otherwise than asked.
    ///
    /// # Errors
    /// A model is not there, damaged, of the other kind, or too large for the device.
    pub fn networks(&self, key: &ModelKey) -> Result<(Models, Option<String>), ModelError> {
        // Whoever comes first loads; the others wait here and share.
        let mut kept = lock(&self.kept);
        if let Some(at) = kept.iter().position(|(known, _)| known == key) {
            let found = kept.remove(at);
            let networks = found.1.build(self.options)?;
            kept.push(found);
            return Ok((networks, None));
        }
        let (weights, warning) = self.load(key, &kept)?;
        let networks = weights.build(self.options)?;
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((key.clone(), weights));
        let models = kept.iter().flat_map(|(key, _)| key.models());
        *lock(&self.names) = models.map(|model| model.name.clone()).collect();
        Ok((networks, warning))
    }

    /// Models that are on the device for another set are not loaded once more.
    fn load(
        &self,
        key: &ModelKey,
        kept: &[Set],
    ) -> Result<(ModelWeights, Option<String>), ModelError> {
        let _loading = trace_span!(target: TRACE, "load models").entered();
        let generator = kept.iter().find(|(known, _)| known.generator == key.generator);
        let generator = match generator {
            Some((_, weights)) => weights.generator.share(),
            None => {
                let (path, config) = self.source.generator(&key.generator)?;
                let model = vqgan::canonical(self.source.read(&path)?, config)?;
                self.on_device(&model, &key.generator, key.precision)?
            }
        };
        let perceptors =
            key.perceptors.iter().map(|model| self.perceptor(model, key.precision, kept));
        let perceptors = perceptors.collect::<Result<_, _>>()?;
        Ok(ModelWeights::of(generator, perceptors, self.device, key.precision)?)
    }

    fn perceptor(
        &self,
        model: &ModelRef,
        precision: Precision,
        kept: &[Set],
    ) -> Result<Loaded<ClipConfig>, ModelError> {
        let all =
            kept.iter().flat_map(|(key, weights)| key.perceptors.iter().zip(&weights.perceptors));
        if let Some((_, loaded)) = all.into_iter().find(|(known, _)| *known == model) {
            return Ok(loaded.share());
        }
        let (path, config) = self.source.perceptor(model)?;
        let read = clip::canonical(self.source.read(&path)?, config)?;
        self.on_device(&read, model, precision)
    }

    fn on_device<C: Clone>(
        &self,
        read: &Model<C>,
        model: &ModelRef,
        precision: Precision,
    ) -> Result<Loaded<C>, ModelError> {
        let ModelRef { name, sha256 } = model;
        if !self.shares || sha256.is_empty() {
            return Ok(Loaded::new(read, self.device)?);
        }
        let (loaded, sharing) = Loaded::among_processes(read, self.device, precision, sha256)?;
        match sharing {
            Sharing::Joined => {
                tracing::info!(model = name, "its weights are in memory, by another process");
            }
            Sharing::Alone(why) => {
                tracing::warn!(
                    model = name,
                    why,
                    "its weights are not shared with other processes"
                );
            }
            Sharing::File | Sharing::Offered => {}
        }
        Ok(loaded)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wrong_kind(name: &str, wanted: &'static str, found: &'static str) -> ModelError {
    ModelError::Kind { name: name.to_owned(), wanted, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_models_share_what_they_have_in_common() {
        let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
        let library = Library::at("/nonexistent", Some(bundled));
        let shelf = Shelf::new(Source::Library(library), Device::Cpu);
        for perceptors in [vec!["demo-clip"], vec!["demo-judge", "demo-clip"]] {
            let settings = RenderSettings {
                generator: "demo-f8".into(),
                perceptors: perceptors.into_iter().map(str::to_owned).collect(),
                ..RenderSettings::default()
            };
            shelf.networks(&ModelKey::of(&settings, &BTreeMap::new())).unwrap();
        }
        let kept = lock(&shelf.kept);
        let [(_, one), (_, two)] = &kept[..] else { panic!("{} sets", kept.len()) };
        let place = |tensors: &BTreeMap<String, tch::Tensor>| {
            tensors.values().map(|tensor| tensor.data_ptr()).collect::<Vec<_>>()
        };
        assert_eq!(place(&one.generator.weights.tensors), place(&two.generator.weights.tensors));
        let clips = [&one.perceptors[0], &two.perceptors[1]];
        let [first, second] = clips.map(|loaded| place(&loaded.weights.tensors));
        assert_eq!(first, second);
        assert_ne!(place(&two.perceptors[0].weights.tensors), second);
    }
}
