//! Masks: which part of the latent may move.

use image::GrayImage;
use tch::{Kind, Tensor};

use crate::error::{EngineError, Result};

/// The mask of a latent of `height`×`width` cells, [1, 1, h, w] in [0, 1]: the picture is
/// stretched over the latent and each cell is the mean brightness of what it covers.
///
/// A cell at 0 keeps its start exactly, one at 1 moves freely; one between them goes that
/// part of each step.
///
/// # Errors
/// The mask is black everywhere.
pub fn latent_mask(mask: &GrayImage, height: i64, width: i64) -> Result<Tensor> {
    let (w, h) = mask.dimensions();
    let size = [1, 1, i64::from(h), i64::from(w)];
    let bytes = Tensor::f_from_data_size(mask.as_raw(), &size, Kind::Uint8)?;
    let cells = (bytes.to_kind(Kind::Float) / 255.0).f_adaptive_avg_pool2d([height, width])?;
    if cells.max().double_value(&[]) == 0.0 {
        let reason = "the picture is black everywhere, so nothing could move; \
                      paint white where the picture may change";
        return Err(EngineError::Setting { field: "mask", reason: reason.into() });
    }
    Ok(cells)
}
