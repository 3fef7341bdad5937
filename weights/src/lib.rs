//! Model files as published, read without libtorch and without running anything in them,
//! and the library of models on disk.

pub mod clip;
pub mod library;
pub mod memory;
pub mod vqgan;

mod checkpoint;
mod error;
mod fit;
mod format;
mod model;
mod pickle;
mod select;
mod source;
mod tensor;
mod torch;

pub use checkpoint::{Checkpoint, map, read, read_bytes};
pub use error::{Reason, Result, WeightsError};
pub use format::safetensors::write as write_safetensors;
pub use model::{Kind, Model};
pub use tensor::{Dtype, StateDict, TensorData};
