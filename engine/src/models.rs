//! The networks of one kind of picture, on one device.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::Precision;
use vqfarm_weights::Model;
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::vqgan::VqganConfig;

use crate::device;
use crate::error::Result;
use crate::guard::guard;
use crate::model::{Generator, Perceptor};
use crate::net::{Clip, SharedTensors, Vqgan, Weights};

/// A generator with the perceptors that steer it.
pub struct Models {
    pub generator: Box<dyn Generator>,
    pub perceptors: Vec<Box<dyn Perceptor>>,
    device: Device,
    texts: RefCell<HashMap<(usize, String), (Tensor, bool)>>,
    /// What the networks' weights lie in. Last, so that it goes last.
    _bytes: Vec<Bytes>,
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
        Self { generator, perceptors, device, texts: RefCell::default(), _bytes: Vec::new() }
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

/// One model's weights in a device's memory.
pub struct Loaded<C> {
    config: C,
    pub weights: SharedTensors,
}

impl<C: Clone> Loaded<C> {
    /// # Errors
    /// The device has too little memory.
    pub fn new(model: &Model<C>, device: Device) -> Result<Self> {
        let weights = SharedTensors::new(&model.state, device)?;
        Ok(Self { config: model.config.clone(), weights })
    }

    /// The same weights for another thread, or for another set of models.
    pub fn share(&self) -> Self {
        Self { config: self.config.clone(), weights: self.weights.share() }
    }
}

/// Weights in one device's memory, from which any number of threads build [`Models`] of their
/// own: the networks share the tensors.
pub struct ModelWeights {
    pub generator: Loaded<VqganConfig>,
    pub perceptors: Vec<Loaded<ClipConfig>>,
    device: Device,
    kind: Kind,
}

impl ModelWeights {
    /// Has weights on `device`, on a CPU where they are if they are float32, and sets its arithmetic. The second value warns when the
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
        let perceptors = perceptors.iter().map(|model| Loaded::new(model, device));
        let perceptors = perceptors.collect::<Result<_>>()?;
        Self::of(Loaded::new(generator, device)?, perceptors, device, precision)
    }

    /// As [`ModelWeights::new`], of weights that are on `device` already.
    ///
    /// # Errors
    /// The device does not take its arithmetic.
    pub fn of(
        generator: Loaded<VqganConfig>,
        perceptors: Vec<Loaded<ClipConfig>>,
        device: Device,
        precision: Precision,
    ) -> Result<(Self, Option<String>)> {
        let (kind, warning) = device::set_precision(device, precision)?;
        Ok((Self { generator, perceptors, device, kind }, warning))
    }

    /// The same weights for another thread.
    pub fn share(&self) -> Self {
        Self {
            generator: self.generator.share(),
            perceptors: self.perceptors.iter().map(Loaded::share).collect(),
            ..*self
        }
    }

    /// Builds the networks.
    ///
    /// # Errors
    /// The weights do not fit their configuration.
    pub fn build(&self) -> Result<Models> {
        let Loaded { config, weights } = &self.generator;
        let mut bytes = weights.bytes().to_vec();
        let generator = Vqgan::new(&Weights::new(&weights.tensors, self.kind).fast(), config)?;
        let mut perceptors: Vec<Box<dyn Perceptor>> = Vec::new();
        for Loaded { config, weights } in &self.perceptors {
            bytes.extend_from_slice(weights.bytes());
            let weights = Weights::new(&weights.tensors, self.kind).fast();
            perceptors.push(Box::new(Clip::new(&weights, config)?));
        }
        Ok(Models { _bytes: bytes, ..Models::new(Box::new(generator), perceptors, self.device) })
    }
}
