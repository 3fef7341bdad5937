//! VQGAN+CLIP on libtorch: models, prompts, cutouts and one optimisation.
//!
//! Knows nothing of farms, storage or job files. Tensors are NCHW float32 unless said
//! otherwise; images are in [0, 1].

pub mod clamp;
pub mod cutouts;
pub mod error;
pub mod loss;
pub mod model;
pub mod net;
pub mod optim;
mod text_repair;
pub mod tokenizer;
pub mod warp;
pub mod zoom;

pub use error::{EngineError, Result};
