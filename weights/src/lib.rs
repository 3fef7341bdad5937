//! Model files as published, read without libtorch and without running anything in them,
//! and the library of models on disk.

pub mod clip;
pub mod vqgan;

mod checkpoint;
mod error;
mod tensor;

pub use checkpoint::Checkpoint;
pub use error::{Reason, Result, WeightsError};
pub use tensor::{Dtype, StateDict, TensorData};
