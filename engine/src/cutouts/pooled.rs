//! Cutouts that show the whole image, pooled to the perceptor's size.

use tch::Tensor;

/// The mean of adaptive average and adaptive max pooling: [B, C, H, W] → [B, C, size, size].
/// NR's `MakeCutouts` before its augmentations, computed once for all cutouts of an image.
pub fn pooled(images: &Tensor, size: i64) -> Tensor {
    let average = images.adaptive_avg_pool2d([size, size]);
    let (max, _) = images.adaptive_max_pool2d([size, size]);
    (average + max) / 2.0
}
