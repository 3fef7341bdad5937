//! A picture half made, to go on with later.

use std::collections::BTreeMap;

use tch::Tensor;

/// The state of one picture after some iteration, to the bit.
#[derive(Debug)]
pub struct SavedPicture {
    /// Iterations made.
    pub iteration: u32,
    /// Steps that the optimiser has taken, those before a picture that it was carried to
    /// included.
    pub steps: u32,
    /// Latent, start and what the optimiser remembers, each [1, e, h, w].
    pub tensors: BTreeMap<String, Tensor>,
}
