//! CLIP: its sizes and its weights under OpenAI's names.

mod config;

pub use config::{Activation, ClipConfig, VisionLayers};
