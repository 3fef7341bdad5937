//! Tensors as plain bytes, and named collections of them.

use std::collections::BTreeMap;
use std::collections::btree_map;

use bytes::Bytes;
use half::{bf16, f16};

/// Most bytes of a tensor's name, and most dimensions: what is read is also told in errors.
pub(crate) const MAX_NAME: usize = 512;
pub(crate) const MAX_DIMENSIONS: usize = 16;

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Dtype {
    /// Bytes an element takes.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }
}

/// A dense tensor in row-major order, little-endian.
///
/// Readers guarantee `bytes.len() == product(shape) * dtype.size()`. The bytes may be part of a
/// mapped file ([`crate::map`]); clones share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData {
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub bytes: Bytes,
}

impl TensorData {
    /// A float32 tensor. The length of `values` must be the product of `shape`.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Self {
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { shape, dtype: Dtype::F32, bytes }
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// The shape as the integers that libtorch wants.
    pub fn dims(&self) -> Vec<i64> {
        self.shape.iter().map(|&d| d as i64).collect()
    }

    /// Elements as float32: exact from half precisions and small integers, rounded from float64.
    pub fn to_f32(&self) -> Vec<f32> {
        let b = &self.bytes;
        match self.dtype {
            Dtype::F64 => each(b, |x| f64::from_le_bytes(x) as f32),
            Dtype::F32 => each(b, f32::from_le_bytes),
            Dtype::F16 => each(b, |x| f16::from_le_bytes(x).to_f32()),
            Dtype::BF16 => each(b, |x| bf16::from_le_bytes(x).to_f32()),
            Dtype::I64 => each(b, |x| i64::from_le_bytes(x) as f32),
            Dtype::I32 => each(b, |x| i32::from_le_bytes(x) as f32),
            Dtype::I16 => each(b, |x| f32::from(i16::from_le_bytes(x))),
            Dtype::I8 => each(b, |x| f32::from(i8::from_le_bytes(x))),
            Dtype::U8 | Dtype::Bool => each(b, |[x]: [u8; 1]| f32::from(x)),
        }
    }

    /// Elements as integers, of an integer tensor; `None` for other types.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let b = &self.bytes;
        match self.dtype {
            Dtype::I64 => Some(each(b, i64::from_le_bytes)),
            Dtype::I32 => Some(each(b, |x| i64::from(i32::from_le_bytes(x)))),
            Dtype::I16 => Some(each(b, |x| i64::from(i16::from_le_bytes(x)))),
            Dtype::I8 => Some(each(b, |x| i64::from(i8::from_le_bytes(x)))),
            Dtype::U8 => Some(each(b, |[x]: [u8; 1]| i64::from(x))),
            _ => None,
        }
    }
}

fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// Tensors by name, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDict(BTreeMap<String, TensorData>);

impl StateDict {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&self, name: &str) -> Option<&TensorData> {
        self.0.get(name)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes a tensor out, so that a large model is not held twice while it is converted.
    pub fn remove(&mut self, name: &str) -> Option<TensorData> {
        self.0.remove(name)
    }

    /// Adds or replaces a tensor; the replaced one is returned.
    pub fn insert(&mut self, name: impl Into<String>, tensor: TensorData) -> Option<TensorData> {
        self.0.insert(name.into(), tensor)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn iter(&self) -> btree_map::Iter<'_, String, TensorData> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for StateDict {
    type Item = (String, TensorData);
    type IntoIter = btree_map::IntoIter<String, TensorData>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a StateDict {
    type Item = (&'a String, &'a TensorData);
    type IntoIter = btree_map::Iter<'a, String, TensorData>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<(String, TensorData)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (String, TensorData)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
