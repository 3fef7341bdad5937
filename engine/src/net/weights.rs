//! Named tensors of one network, looked up by their checkpoint's key and checked by shape.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Purpose, Stream};
use vqfarm_weights::{Dtype, StateDict, TensorData};

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
        Self { source, prefix, kind, arithmetic, layout, folds: false, fuses: false, twice: false }
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
        Ok(self.get_f32(name, shape)?.to_kind(self.kind))
    }

    /// As [`Weights::get`], but left in float32.
    pub fn get_f32(&self, name: &str, shape: &[i64]) -> Result<Tensor> {
        let key = format!("{}{name}", self.prefix);
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

/// Where libtorch's own memory on a CPU begins: at multiples of this.
const ALIGNED: usize = 64;

/// A checkpoint's tensors on a device as float32, never to be written to: those of a CPU are the
/// checkpoint's own bytes where these are float32 and lie as libtorch's own would. What is made of them must not outlive them,
/// unless it holds [`SharedTensors::bytes`].
pub struct SharedTensors {
    pub tensors: BTreeMap<String, Tensor>,
    /// What the tensors lie in. Dropped after them.
    bytes: Vec<Bytes>,
}

impl SharedTensors {
    /// Half precisions travel to the device as they are and become float32 there.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn new(state: &StateDict, device: Device) -> Result<Self> {
        let mut shared = Self { tensors: BTreeMap::new(), bytes: Vec::new() };
        for (name, data) in state {
            let tensor = view(data)?.f_to_device(device)?.f_to_kind(Kind::Float)?;
            let tensor = match tensor.data_ptr().cast_const() == data.bytes.as_ptr().cast() {
                // libtorch adds in another order where memory begins elsewhere within a cache line
                // than its own does, and pictures must not depend on how weights were read.
                true if tensor.data_ptr().align_offset(ALIGNED) != 0 => tensor.f_detach_copy()?,
                true => {
                    shared.bytes.push(data.bytes.clone());
                    tensor
                }
                false => tensor,
            };
            shared.tensors.insert(name.clone(), tensor);
        }
        Ok(shared)
    }

    /// Keeps alive what the tensors lie in.
    pub fn bytes(&self) -> &[Bytes] {
        &self.bytes
    }

    /// The same tensors for another thread.
    pub fn share(&self) -> Self {
        let tensors = self.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone()));
        Self { tensors: tensors.collect(), bytes: self.bytes.clone() }
    }
}

/// A tensor on the CPU that lies in the data's own bytes and must not outlive them.
#[allow(unsafe_code, reason = "a tensor over memory that is not libtorch's")]
fn view(data: &TensorData) -> Result<Tensor> {
    let kind = match data.dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 => Kind::Uint8,
        Dtype::Bool => Kind::Bool,
    };
    // SAFETY: readers guarantee as many bytes as the shape says; who calls this keeps them alive
    // for as long as the tensor and does not write to it.
    Ok(unsafe { Tensor::f_from_blob(data.bytes.as_ptr(), &data.dims(), &[], kind, Device::Cpu) }?)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    /// One tensor of six numbers, whatever they are stored as.
    fn state(dtype: Dtype) -> StateDict {
        let numbers = [0.5f32, -1.0, 2.5, 3.0, -0.125, 1e-3];
        let bytes: Vec<u8> = match dtype {
            Dtype::F16 => numbers.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::BF16 => numbers.iter().flat_map(|x| bf16::from_f32(*x).to_le_bytes()).collect(),
            Dtype::F64 => numbers.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let tensor = TensorData { shape: vec![2, 3], dtype, bytes: placed(&bytes, 0) };
        [("w".to_owned(), tensor)].into_iter().collect()
    }

    /// Bytes so far behind an address that libtorch might have chosen.
    fn placed(bytes: &[u8], behind: usize) -> Bytes {
        let mut room = vec![0; bytes.len() + 2 * ALIGNED];
        let at = room.as_ptr().align_offset(ALIGNED) + behind;
        room[at..at + bytes.len()].copy_from_slice(bytes);
        Bytes::from(room).slice(at..at + bytes.len())
    }

    #[test]
    fn what_is_shared_is_what_is_copied() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
            let state = state(dtype);
            let shared = SharedTensors::new(&state, Device::Cpu).unwrap();
            assert_eq!(shared.tensors, to_tensors(&state, Device::Cpu).unwrap(), "{dtype:?}");
            let is_same = shared.tensors["w"].data_ptr().cast_const().cast()
                == state.get("w").unwrap().bytes.as_ptr();
            assert_eq!(is_same, dtype == Dtype::F32, "only float32 is used as it lies");
            assert_eq!(shared.bytes().len(), usize::from(is_same));
        }
    }

    #[test]
    fn tensors_keep_what_they_lie_in() {
        let state = state(Dtype::F32);
        let expected = to_tensors(&state, Device::Cpu).unwrap();
        let first = SharedTensors::new(&state, Device::Cpu).unwrap();
        let other = first.share();
        drop((state, first));
        assert_eq!(other.tensors, expected);
    }

    #[test]
    fn bytes_that_lie_otherwise_than_libtorchs_own_are_copied() {
        for behind in [1, 4, 16] {
            let mut state = state(Dtype::F32);
            let tensor = state.remove("w").unwrap();
            let bytes = placed(&tensor.bytes, behind);
            state.insert("w", TensorData { bytes, ..tensor });
            let shared = SharedTensors::new(&state, Device::Cpu).unwrap();
            assert_eq!(shared.tensors, to_tensors(&state, Device::Cpu).unwrap());
            assert!(shared.bytes().is_empty());
            assert_eq!(shared.tensors["w"].data_ptr().align_offset(ALIGNED), 0);
        }
    }
}
