//! Training of the demo models. Everything is drawn from seeds: data, first weights,
//! augmentation; a run may be interrupted and continued.

use tch::{Device, Kind, Tensor};

pub mod augment;
mod codebook;
mod corrupt;
mod critic;
mod dreams;
mod feed;
pub mod generator;
pub mod layout;
mod log;
pub mod params;
pub mod perceptor;
mod ruin;
pub mod run;
mod score_matching;
pub mod vocabulary;

/// Bytes of square pictures, row by row, to images in [0, 1], [B, 3, size, size].
pub fn to_images(bytes: &[u8], batch: i64, device: Device) -> Tensor {
    let side = i64::from(crate::data::SIZE);
    let bytes = Tensor::from_slice(bytes).to_device(device).view([batch, side, side, 3]);
    bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float).contiguous() / 255.0
}
