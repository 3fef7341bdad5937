//! What a machine can compute with: what `vqfarm-worker probe` tells `vqfarm doctor`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Of the worker.
    pub version: String,
    /// Cores that the process may use.
    pub cores: u64,
    /// Bytes of memory that it may use.
    pub memory: u64,
    pub gpus: Vec<Gpu>,
    /// Why GPUs cannot be used; none where they can, or where there is none.
    pub cuda: Option<String>,
    /// Films can be made.
    pub ffmpeg: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// As `--device` takes it.
    pub device: String,
    /// Bytes.
    pub memory: u64,
}
