//! What a CLIP's vision tower keeps of one cutout. Bytes.

use super::FLOAT32;
use crate::clip::{ClipConfig, VisionLayers};

pub(super) fn activations(config: &ClipConfig, bf16: bool) -> f64 {
    let width = if bf16 { 2.0 } else { FLOAT32 };
    let side = config.image_resolution as f64;
    // The normalised cutout and its gradient.
    let image = 3.0 * side * side * (FLOAT32 * 2.0 + width);
    image
        + match config.vision_layers {
            VisionLayers::Vit(layers) => vit(config, layers as f64, width, bf16),
            VisionLayers::ResNet(stages) => width * resnet(config, stages),
        }
}

fn vit(config: &ClipConfig, layers: f64, width: f64, bf16: bool) -> f64 {
    let patch = config.vision_patch_size.unwrap_or(1).max(1) as f64;
    let grid = (config.image_resolution as f64 / patch).floor();
    let numbers = (grid * grid + 1.0) * config.vision_width as f64;
    // Two inputs of norms and their outputs, queries, keys, values, attention in two layouts,
    // the wide layer twice.
    let kept = 2.0 + 2.0 + 3.0 + 2.0 + 8.0;
    // Norms are computed in float32, and keep their input so.
    let norms = if bf16 { 2.0 * FLOAT32 } else { 0.0 };
    // The wide layer's gradients, and the sum's.
    let back = 10.0 * width;
    numbers * (layers * (kept * width + norms) + back)
}

/// Numbers: the input of each convolution, which the ReLU before it shares.
fn resnet(config: &ClipConfig, stages: [i64; 4]) -> f64 {
    let width = config.vision_width as f64;
    let mut side = config.image_resolution as f64 / 2.0;
    let mut area = side * side;
    let mut kept = 2.0 * width * area;
    let mut largest = width * area;
    side /= 2.0;
    area = side * side;
    kept += width * area;
    for (stage, blocks) in stages.iter().enumerate() {
        let planes = width * f64::from(1 << stage);
        for block in 0..*blocks {
            let halves = stage > 0 && block == 0;
            let out = if halves { area / 4.0 } else { area };
            // Two narrow ones, the second at its pooled size as well, and the sum.
            kept += planes * (2.0 * area + if halves { out } else { 0.0 } + 4.0 * out);
            largest = largest.max(4.0 * planes * area);
            area = out;
        }
    }
    // The attention over what is left is small beside it.
    kept + 3.0 * largest
}
