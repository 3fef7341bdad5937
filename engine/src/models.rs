//! The networks of one kind of picture, on one device.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::Precision;
use vqfarm_weights::Model;
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::memory::Networks;
use vqfarm_weights::vqgan::VqganConfig;

use crate::device;
use crate::error::Result;
use crate::guard::guard;
use crate::model::{Generator, Perceptor};
use crate::net::{Clip, SharedTensors, Sharing, Vqgan, Weights, can_fuse};
use crate::session::Options;

/// A generator with the perceptors that steer it.
pub struct Models {
    pub generator: Box<dyn Generator>,
    pub perceptors: Vec<Box<dyn Perceptor>>,
    /// How sessions of these models compute.
    pub options: Options,
    device: Device,
    sizes: Option<Sizes>,
    texts: RefCell<HashMap<(usize, String), (Tensor, bool)>>,
    /// What the networks' weights lie in. Last, so that it goes last.
    _bytes: Vec<Bytes>,
}

/// What the memory follows from that networks take.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes {
    pub networks: Networks,
    /// Whether they compute in bf16; in float32 otherwise.
    pub bf16: bool,
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
            sizes: None,
            texts: RefCell::default(),
            _bytes: Vec::new(),
        }
    }

    /// The same networks for sessions that compute in another way.
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// The same, of known sizes.
    pub fn sized(self, sizes: Sizes) -> Self {
        Self { sizes: Some(sizes), ..self }
    }

    /// Known for networks that were built from weights.
    pub fn sizes(&self) -> Option<&Sizes> {
        self.sizes.as_ref()
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

    /// As [`Loaded::new`], in memory that processes have in common
    /// ([`SharedTensors::among_processes`]); `name` says which model it is. For networks that
    /// compute with `precision`.
    ///
    /// # Errors
    /// The device has too little memory.
    pub fn among_processes(
        model: &Model<C>,
        device: Device,
        precision: Precision,
        name: &str,
    ) -> Result<(Self, Sharing)> {
        let kind = device::kind(device, precision);
        let (weights, sharing) = SharedTensors::among_processes(&model.state, device, kind, name)?;
        Ok((Self { config: model.config.clone(), weights }, sharing))
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
    /// Has weights on `device`, on a CPU where they are if they are float32, and sets its
    /// arithmetic. The second value warns when the device computes otherwise than asked
    /// ([`device::set_precision`]) or slower than it should.
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

    /// As [`ModelWeights::new`], of weights that are on `device` already. Tries what a GPU's kernels
    /// compute ([`can_fuse`]).
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
        let slower =
            |why| format!("{}: norms are computed in more steps: {why}", device::name(device));
        let fused = || can_fuse(device, kind).err().filter(|_| device.is_cuda()).map(slower);
        let warning = warning.or_else(fused);
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

    /// Builds the networks, for sessions that compute as `options` say.
    ///
    /// # Errors
    /// The weights do not fit their configuration.
    pub fn build(&self, options: Options) -> Result<Models> {
        let Loaded { config, weights } = &self.generator;
        let mut bytes = weights.bytes().to_vec();
        let generator = Vqgan::new(&self.network(weights, &options), config)?;
        let mut perceptors: Vec<Box<dyn Perceptor>> = Vec::new();
        for Loaded { config, weights } in &self.perceptors {
            bytes.extend_from_slice(weights.bytes());
            perceptors.push(Box::new(Clip::new(&self.network(weights, &options), config)?));
        }
        let networks = Networks {
            generator: config.clone(),
            perceptors: self.perceptors.iter().map(|loaded| loaded.config.clone()).collect(),
        };
        let sizes = Sizes { networks, bf16: self.kind == Kind::BFloat16 };
        let models = Models::new(Box::new(generator), perceptors, self.device).sized(sizes);
        Ok(Models { options, _bytes: bytes, ..models })
    }

    fn network<'a>(&self, tensors: &'a SharedTensors, options: &Options) -> Weights<'a> {
        tensors.weights(self.kind).quickest(self.device, options)
    }
}
