//! Square crops of random size and place, resampled to the perceptor's size.

use tch::Tensor;
use vqfarm_core::rng::Stream;

use super::resample::resample;

/// A square piece of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    pub size: i64,
    /// Of the upper left corner.
    pub x: i64,
    pub y: i64,
}

impl Crop {
    /// NR's draw: the side is U^power between the cut's size and the image's shorter side
    /// (never more than that), the place uniform.
    pub fn draw(stream: &mut Stream, width: i64, height: i64, cut: i64, power: f64) -> Self {
        let max = width.min(height);
        let min = max.min(cut);
        let size = (stream.uniform().powf(power) * (max - min) as f64 + min as f64) as i64;
        let mut below = |n: i64| i64::from(stream.below(n as u32));
        Self { size, x: below(width - size + 1), y: below(height - size + 1) }
    }
}

/// Crops of one image [C, H, W] → [crops, C, cut, cut].
///
/// One crop after another: on a CPU that touches only the pixels of the crop, and no result
/// depends on how many there are.
pub fn cut_out(image: &Tensor, crops: &[Crop], cut: i64) -> Tensor {
    let pieces: Vec<Tensor> = crops
        .iter()
        .map(|c| {
            let piece = image.narrow(1, c.y, c.size).narrow(2, c.x, c.size);
            resample(&piece.unsqueeze(0), [cut, cut])
        })
        .collect();
    Tensor::cat(&pieces, 0)
}
