//! Named tensors of one network, looked up by their checkpoint's key and checked by shape.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Purpose, Stream};
use vqfarm_weights::{StateDict, TensorData};

use super::layers::channels_last;
use crate::error::{EngineError, Result};
use crate::session::Options;

/// In which steps a network computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// The originals' own, in their order: equal to them to the bit on a processor like theirs.
    /// The weights are used as they are and can be trained.
    Original,
    /// Fewer ones: fused, with constants folded into the weights, and nothing computed that
    /// nobody looks at. Equal up to rounding; for weights that stay as they are.
    Fast,
}

/// How the weights of convolutions lie in memory, and so what comes out of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channel by channel (NCHW).
    Planes,
    /// Position by position (NHWC, "channels last"): what a GPU's matrix units compute in.
    Pixels,
}

/// Named tensors, seen from a prefix within their keys.
pub struct Weights<'a> {
    source: Source<'a>,
    prefix: String,
    kind: Kind,
    arithmetic: Arithmetic,
    layout: Layout,
    /// Some of the tensors in bf16, by their whole names.
    bf16: Option<&'a BTreeMap<String, Tensor>>,
    folds: bool,
    fuses: bool,
    twice: bool,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Given(&'a BTreeMap<String, Tensor>),
    Random(&'a RandomWeights),
}

/// Makes up every tensor that a network asks for: real sizes without real weights, for
/// measuring speed and memory.
pub struct RandomWeights {
    stream: RefCell<Stream>,
    device: Device,
}

impl RandomWeights {
    pub fn new(seed: u64, device: Device) -> Self {
        Self { stream: RefCell::new(Key::new(seed, Purpose::Weights).stream()), device }
    }

    /// Scales are one, shifts zero, and matrices keep the variance of what they multiply.
    fn make(&self, name: &str, shape: &[i64]) -> Tensor {
        let options = (Kind::Float, self.device);
        let shape: Vec<i64> = shape.iter().map(|d| (*d).max(1)).collect();
        match shape.as_slice() {
            [_] if name.ends_with("weight") || name.ends_with("var") => {
                Tensor::ones(shape, options)
            }
            [_] => Tensor::zeros(shape, options),
            _ => {
                let fan_in: i64 = shape[1..].iter().product();
                let values = match self.device {
                    // A GPU makes up its own at once.
                    Device::Cuda(_) => Tensor::randn(&shape, options),
                    _ => {
                        let mut values = vec![0f32; shape.iter().product::<i64>() as usize];
                        self.stream.borrow_mut().fill_normal(&mut values);
                        Tensor::from_slice(&values).reshape(&shape).to_device(self.device)
                    }
                };
                values / (fan_in as f64).sqrt()
            }
        }
    }
}

impl<'a> Weights<'a> {
    /// All of `tensors`; the network computes in `kind` (norms of a transformer stay float32),
    /// by [`Arithmetic::Original`].
    pub fn new(tensors: &'a BTreeMap<String, Tensor>, kind: Kind) -> Self {
        Self::of(Source::Given(tensors), kind)
    }

    /// Tensors made up as they are asked for.
    pub fn random(source: &'a RandomWeights, kind: Kind) -> Self {
        Self::of(Source::Random(source), kind)
    }

    fn of(source: Source<'a>, kind: Kind) -> Self {
        let prefix = String::new();
        let (arithmetic, layout) = (Arithmetic::Original, Layout::Planes);
        let (bf16, folds, fuses, twice) = (None, false, false, false);
        Self { source, prefix, kind, arithmetic, layout, bf16, folds, fuses, twice }
    }

    /// The same weights, some of which are there in bf16 already.
    pub(crate) fn with_bf16(self, bf16: &'a BTreeMap<String, Tensor>) -> Self {
        Self { bf16: Some(bf16), ..self }
    }

    /// The same weights for a network that computes by [`Arithmetic::Fast`].
    pub fn fast(self) -> Self {
        Self { arithmetic: Arithmetic::Fast, ..self }
    }

    /// The same weights, those of convolutions laid out so.
    pub fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The same weights, the scale and shift of a transformer's norms folded into the layers that
    /// follow them.
    pub fn folded(self) -> Self {
        Self { folds: true, ..self }
    }

    /// The same weights for a network whose norms are one operation with the swish after them,
    /// where its device can.
    pub fn fused(self) -> Self {
        Self { fuses: true, ..self }
    }

    /// The same weights for a network whose weights stay as they are, in the way that is quickest
    /// on a device, but for what `options` switch off.
    pub fn quickest(self, device: Device, options: &Options) -> Self {
        let weights = self.fast();
        match device {
            Device::Cuda(_) => {
                let weights = weights.laid_out(Layout::Pixels).folded();
                if options.fused == Some(false) { weights } else { weights.fused() }
            }
            _ => weights,
        }
    }

    pub(super) fn folds(&self) -> bool {
        self.folds
    }

    pub(super) fn fuses(&self) -> bool {
        self.fuses
    }

    /// The same weights in another kind.
    pub(super) fn in_kind(&self, kind: Kind) -> Self {
        Self { prefix: self.prefix.clone(), kind, ..*self }
    }

    /// A convolution's weight [outputs, inputs, h, w] as this network's lie.
    pub(super) fn lay_out(&self, weight: Tensor) -> Tensor {
        match self.layout {
            Layout::Planes => weight,
            Layout::Pixels => channels_last(&weight),
        }
    }

    /// The same weights for a transformer whose gradient has a gradient, for training: libtorch's
    /// fused attention has none.
    pub fn twice_differentiable(self) -> Self {
        Self { twice: true, ..self }
    }

    /// The view below `name`: `w.at("encoder").get("conv_in.weight", …)`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..*self }
    }

    /// What the network computes in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How the network computes.
    pub fn arithmetic(&self) -> Arithmetic {
        self.arithmetic
    }

    /// Whether the network's gradient must have a gradient.
    pub(super) fn is_twice_differentiable(&self) -> bool {
        self.twice
    }

    /// The tensor `name`, in the network's kind; -1 in `shape` accepts any size.
    ///
    /// # Errors
    /// The tensor is missing or has another shape.
    pub fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let tensor = self.get_f32(name, shape)?;
        let there = self.bf16.filter(|_| self.kind == Kind::BFloat16);
        let there = there.and_then(|bf16| bf16.get(&self.key(name)));
        Ok(there.map_or_else(|| tensor.to_kind(self.kind), Tensor::shallow_clone))
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// As [`Weights::get`], but left in float32.
    pub fn get_f32(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let key = self.key(name);
        let tensors = match self.source {
            Source::Given(tensors) => tensors,
            Source::Random(random) => return Ok(random.make(name, shape)),
        };
        let tensor = tensors
            .get(&key)
            .ok_or_else(|| EngineError::Architecture(format!("there is no tensor `{key}`")))?;
        let found = tensor.size();
        let fits = found.len() == shape.len()
            && found.iter().zip(shape).all(|(f, want)| *want == -1 || f == want);
        if !fits {
            return Err(EngineError::Architecture(format!(
                "`{key}` has shape {found:?}, the configuration asks for {shape:?}"
            )));
        }
        Ok(tensor.shallow_clone())
    }
}

/// Copies a checkpoint's tensors to `device` as float32.
///
/// # Errors
/// libtorch is out of memory.
pub fn to_tensors(state: &StateDict, device: Device) -> Result<BTreeMap<String, Tensor>> {
    let copy = |(name, data): (&String, &TensorData)| {
        let tensor = Tensor::f_from_slice(&data.to_f32())?.f_reshape(data.dims())?;
        Ok((name.clone(), tensor.f_to_device(device)?))
    };
    state.iter().map(copy).collect()
}
