//! Named tensors of one network, looked up by their checkpoint's key and checked by shape.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};
use vqfarm_weights::StateDict;

use crate::error::{EngineError, Result};

/// Named tensors, seen from a prefix within their keys.
pub struct Weights<'a> {
    tensors: &'a BTreeMap<String, Tensor>,
    prefix: String,
    kind: Kind,
}

impl<'a> Weights<'a> {
    /// All of `tensors`; the network computes in `kind` (norms of a transformer stay float32).
    pub fn new(tensors: &'a BTreeMap<String, Tensor>, kind: Kind) -> Self {
        Self { tensors, prefix: String::new(), kind }
    }

    /// The view below `name`: `w.at("encoder").get("conv_in.weight", …)`.
    pub fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: format!("{}{name}.", self.prefix), ..*self }
    }

    /// What the network computes in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether `name` exists here.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(&format!("{}{name}", self.prefix))
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
        let tensor = self
            .tensors
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
    let mut out = BTreeMap::new();
    for (name, data) in state.iter() {
        let tensor = Tensor::f_from_slice(&data.to_f32())?.f_reshape(data.dims())?;
        out.insert(name.clone(), tensor.f_to_device(device)?);
    }
    Ok(out)
}
