//! The networks: VQGAN generators and CLIP perceptors, named as their checkpoints are.
//!
//! A network is built from a [`Weights`] map and keeps shallow copies of its tensors, so a
//! trainer that marks the tensors of the map as trainable trains the network.

pub mod clip;
mod layers;
mod norm_swish;
mod shared;
mod upsample;
pub mod vqgan;
mod weights;

pub use clip::Clip;
pub use norm_swish::can_fuse;
pub use shared::{SharedTensors, Sharing};
pub use vqgan::Vqgan;
pub use weights::{Arithmetic, Layout, RandomWeights, Weights, to_tensors};
