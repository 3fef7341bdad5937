//! Pictures between files and tensors.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// A picture as a tensor [1, 3, H, W] in [0, 1].
///
/// # Errors
/// libtorch is out of memory.
pub fn to_tensor(picture: &RgbImage, device: Device) -> Result<Tensor> {
    let (width, height) = picture.dimensions();
    let bytes = Tensor::f_from_data_size(
        picture.as_raw(),
        &[i64::from(height), i64::from(width), 3],
        Kind::Uint8,
    )?;
    let planes = bytes.permute([2, 0, 1]).unsqueeze(0).to_device(device);
    Ok(planes.to_kind(Kind::Float) / 255.0)
}

/// Pictures of a tensor [B, 3, H, W]: clamped to [0, 1], then to bytes by truncation, as the
/// originals save them.
///
/// # Errors
/// The tensor has another shape, or its device fails.
pub fn to_pictures(images: &Tensor) -> Result<Vec<RgbImage>> {
    let (batch, _, height, width) = images.size4()?;
    let scaled = images.detach().clamp(0.0, 1.0) * 255.0;
    let bytes = scaled.to_kind(Kind::Uint8).permute([0, 2, 3, 1]).contiguous();
    let bytes = Vec::<u8>::try_from(&bytes.to_device(Device::Cpu).flatten(0, -1))?;
    let size = bytes.len() / batch.max(1) as usize;
    let pictures = bytes
        .chunks(size.max(1))
        .filter_map(|chunk| RgbImage::from_raw(width as u32, height as u32, chunk.to_vec()));
    Ok(pictures.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_survives_the_way_there_and_back() {
        // Every byte: truncation would darken one that float32 rounded down.
        let picture =
            RgbImage::from_fn(256, 2, |x, y| image::Rgb([x as u8, 255 - x as u8, y as u8]));
        let tensor = to_tensor(&picture, Device::Cpu).unwrap();
        assert_eq!(tensor.size(), [1, 3, 2, 256]);
        assert_eq!(to_pictures(&tensor).unwrap(), [picture]);
    }

    #[test]
    fn bytes_are_truncated_after_clamping() {
        let image = Tensor::from_slice(&[-1f32, 0.999, 2.0]).view([1, 3, 1, 1]);
        assert_eq!(to_pictures(&image).unwrap()[0].as_raw(), &[0, 254, 255]);
    }
}
