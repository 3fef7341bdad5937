//! One fixture file: its metadata, its tensors, and which of them a check has read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use tch::{Device, Kind, Tensor};

pub struct Fixture {
    pub path: PathBuf,
    meta: HashMap<String, String>,
    tensors: BTreeMap<String, Tensor>,
    read: RefCell<BTreeSet<String>>,
}

/// Where the engine computes what is compared: the CPU, or what `VQFARM_PARITY_DEVICE` names.
pub fn device() -> Result<Device> {
    let named = std::env::var(DEVICE).unwrap_or_else(|_| "cpu".into());
    vqfarm_engine::device::choose(&named).context(DEVICE)
}

pub const DEVICE: &str = "VQFARM_PARITY_DEVICE";

impl Fixture {
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
        let (_, header) =
            SafeTensors::read_metadata(&bytes).with_context(|| format!("header of {shown}"))?;
        let device = device()?;
        let tensors = Tensor::read_safetensors(path)
            .with_context(|| format!("tensors of {shown}"))?
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_device(device)))
            .collect();
        Ok(Self {
            path: path.to_owned(),
            meta: header.metadata().clone().unwrap_or_default(),
            tensors,
            read: RefCell::default(),
        })
    }

    /// The fixture of that stem in the same directory.
    pub fn sibling(&self, stem: &str) -> Result<Self> {
        Self::open(&self.path.with_file_name(format!("{stem}.safetensors")))
    }

    /// A metadata entry as it stands.
    pub fn text(&self, name: &str) -> Result<String> {
        self.meta.get(name).cloned().with_context(|| format!("metadata lacks `{name}`"))
    }

    /// A metadata entry as JSON.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_str(&self.text(name)?).with_context(|| format!("metadata `{name}`"))
    }

    /// A tensor by name, half precision widened to float32; an error when it is missing.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        self.read.borrow_mut().insert(name.to_owned());
        let tensor =
            self.tensors.get(name).with_context(|| format!("tensor `{name}` is missing"))?;
        Ok(match tensor.kind() {
            Kind::Half => tensor.to_kind(Kind::Float),
            _ => tensor.shallow_clone(),
        })
    }

    /// A tensor of int64 by name, flat.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        Ok(Vec::try_from(self.tensor(name)?.to_device(Device::Cpu).flatten(0, -1))?)
    }

    /// The model's tensors under its own names, float32.
    pub fn weights(&self) -> BTreeMap<String, Tensor> {
        let own = |(name, tensor): (&String, &Tensor)| {
            let name = name.strip_prefix("weights.")?;
            let kind = if tensor.is_floating_point() { Kind::Float } else { tensor.kind() };
            Some((name.to_owned(), tensor.to_kind(kind)))
        };
        self.tensors.iter().filter_map(own).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Tensors that no check has asked for; weights are asked for all at once.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let names = self.tensors.keys();
        names.filter(|n| !n.starts_with("weights.") && !read.contains(*n)).cloned().collect()
    }
}
