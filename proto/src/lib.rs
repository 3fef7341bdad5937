//! `vqfarm.v1`: the service that a farm's coordinator offers, its messages, and how its
//! refusals travel.

#[cfg(test)]
mod reference;
mod refusal;
pub mod telling;
mod words;

pub use refusal::{Reason as RefusalReason, Refusal};

#[allow(clippy::all, clippy::unwrap_used, missing_docs)]
pub mod v1 {
    tonic::include_proto!("vqfarm.v1");

    /// The service's description, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("farm");
}
