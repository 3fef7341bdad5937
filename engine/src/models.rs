//! The networks of one kind of picture, on one device.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use tch::{Device, Kind, Tensor};
use vqfarm_core::render::Precision;
use vqfarm_weights::Model;
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::vqgan::VqganConfig;

use crate::device;
use crate::error::Result;
use crate::guard::guard;
use crate::model::{Generator, Perceptor};
use crate::net::{Clip, Layout, Vqgan, Weights, to_tensors};
use crate::session::Options;

/// A generator with the perceptors that steer it.
pub struct Models {
    pub generator: Box<dyn Generator>,
    pub perceptors: Vec<Box<dyn Perceptor>>,
    /// How sessions of these models compute.
    pub options: Options,
    device: Device,
    texts: RefCell<HashMap<(usize, String), (Tensor, bool)>>,
}

/// Texts whose features are kept; a sweep's next cells mostly say the same again.
const KEPT_TEXTS: usize = 4096;

impl Models {
    /// Networks that are all on `device`.
    pub fn new(
        generator: Box<dyn Generator>,
        perceptors: Vec<Box<dyn Perceptor>>,
        device: Device,
    ) -> Self {
        Self {
            generator,
            perceptors,
            options: Options::default(),
            device,
            texts: RefCell::default(),
        }
    }

    /// The same networks for sessions that compute in another way.
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    pub fn device(&self) -> Device {
        self.device
    }

    /// Features [1, d] of a text for one perceptor, and whether its tail was cut off.
    /// Computed once for each distinct text.
    ///
    /// # Errors
    /// libtorch fails.
    pub fn text(&self, perceptor: usize, text: &str) -> Result<(Tensor, bool)> {
        let key = (perceptor, text.to_owned());
        if let Some((features, cut)) = self.texts.borrow().get(&key) {
            return Ok((features.shallow_clone(), *cut));
        }
        let (features, cut) =
            guard(|| self.perceptors[perceptor].encode_text(text)).and_then(|result| result)?;
        let mut texts = self.texts.borrow_mut();
        if texts.len() >= KEPT_TEXTS {
            texts.clear();
        }
        texts.insert(key, (features.shallow_clone(), cut));
        Ok((features, cut))
    }
}

/// Weights in one device's memory, from which any number of threads build [`Models`] of their
/// own: the networks share the tensors.
pub struct ModelWeights {
    generator: (VqganConfig, BTreeMap<String, Tensor>),
    perceptors: Vec<(ClipConfig, BTreeMap<String, Tensor>)>,
    device: Device,
    kind: Kind,
}

impl ModelWeights {
    /// Copies weights to `device` and sets its arithmetic. The second value warns when the
    /// device computes otherwise than asked ([`device::set_precision`]).
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn new(
        generator: &Model<VqganConfig>,
        perceptors: &[&Model<ClipConfig>],
        device: Device,
        precision: Precision,
    ) -> Result<(Self, Option<String>)> {
        let (kind, warning) = device::set_precision(device, precision)?;
        let perceptors = perceptors
            .iter()
            .map(|model| Ok((model.config.clone(), to_tensors(&model.state, device)?)))
            .collect::<Result<_>>()?;
        let generator = (generator.config.clone(), to_tensors(&generator.state, device)?);
        Ok((Self { generator, perceptors, device, kind }, warning))
    }

    /// The same weights for another thread.
    pub fn share(&self) -> Self {
        let shared = |tensors: &BTreeMap<String, Tensor>| {
            tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()
        };
        let clips = self.perceptors.iter();
        Self {
            generator: (self.generator.0.clone(), shared(&self.generator.1)),
            perceptors: clips.map(|(config, t)| (config.clone(), shared(t))).collect(),
            ..*self
        }
    }

    /// Builds the networks.
    ///
    /// # Errors
    /// The weights do not fit their configuration.
    pub fn build(&self) -> Result<Models> {
        let weights = |tensors| {
            let weights = Weights::new(tensors, self.kind).fast();
            match self.device.is_cuda() {
                true => weights.laid_out(Layout::Pixels).folded(),
                false => weights,
            }
        };
        let (config, tensors) = &self.generator;
        let generator = Vqgan::new(&weights(tensors), config)?;
        let mut perceptors: Vec<Box<dyn Perceptor>> = Vec::new();
        for (config, tensors) in &self.perceptors {
            perceptors.push(Box::new(Clip::new(&weights(tensors), config)?));
        }
        Ok(Models::new(Box::new(generator), perceptors, self.device))
    }
}
