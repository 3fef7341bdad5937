//! VQGAN+CLIP on libtorch: models, prompts, cutouts and one optimisation.
//!
//! Knows nothing of farms, storage or job files. Tensors are NCHW float32 unless said
//! otherwise; images are in [0, 1].

pub mod clamp;
pub mod cutouts;
pub mod device;
pub mod error;
pub mod feedback;
pub mod flops;
mod guard;
pub mod image_io;
mod init;
pub mod loss;
mod mask;
pub mod model;
pub mod models;
pub mod nest;
pub mod net;
pub mod optim;
pub mod perception;
pub mod picture;
mod prompts;
pub mod search;
pub mod session;
pub mod similarity;
mod text_repair;
pub mod tokenizer;
pub mod warp;
pub mod zoom;

pub use error::{EngineError, Result};
pub use models::{ModelWeights, Models};
pub use picture::Picture;
pub use session::Session;
