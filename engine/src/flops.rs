//! Floating-point operations of an iteration, from the networks' sizes alone.
//!
//! Counted is what a computation cannot do without: products of matrices, convolutions and
//! attention, a multiplication and an addition as two. What it does element by element
//! (normalisation, activations, cutouts, the optimiser) is bound by memory instead and left out.
//! Counted as [`crate::net::Arithmetic::Fast`] computes: an upsampling's convolution is four
//! 2×2 ones of the small image, and a ViT's last block serves the class token alone.

use vqfarm_weights::clip::{ClipConfig, VisionLayers};
use vqfarm_weights::vqgan::VqganConfig;

/// Operations of one iteration of one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    /// Search for the nearest codebook rows, which is always float32.
    pub quantise: u64,
    pub decoder_forward: u64,
    /// Gradients of the inputs only: weights take none.
    pub decoder_backward: u64,
    /// All perceptors, all cutouts.
    pub perceptor_forward: u64,
    /// Gradients of the inputs only.
    pub perceptor_backward: u64,
}

impl Flops {
    /// Of the whole iteration.
    pub fn total(&self) -> u64 {
        self.quantise
            + self.decoder_forward
            + self.decoder_backward
            + self.perceptor_forward
            + self.perceptor_backward
    }
}

/// One iteration of one picture of `size` (width and height in pixels, rounded down to the
/// generator's factor) that every perceptor sees in so many cutouts.
pub fn iteration(
    generator: &VqganConfig,
    perceptors: &[ClipConfig],
    size: [u32; 2],
    cutouts: u32,
) -> Flops {
    let factor = generator.factor();
    let [width, height] = size.map(|side| i64::from(side) / factor);
    let decoder = decode(generator, [width, height]);
    let seen = perceptors.iter().fold(Pass::default(), |sum, clip| sum.and(perceive(clip)));
    let cells = width * height;
    Flops {
        quantise: product(cells, generator.embed_dim, generator.n_embed),
        decoder_forward: decoder.forward,
        decoder_backward: decoder.backward,
        perceptor_forward: seen.forward * u64::from(cutouts),
        perceptor_backward: seen.backward * u64::from(cutouts),
    }
}

/// There, and back to the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pass {
    forward: u64,
    backward: u64,
}

impl Pass {
    /// A linear layer: the gradient of its input takes as much as the output.
    fn linear(forward: u64) -> Self {
        Self { forward, backward: forward }
    }

    fn and(self, other: Self) -> Self {
        Self { forward: self.forward + other.forward, backward: self.backward + other.backward }
    }

    fn times(self, n: i64) -> Self {
        let n = n.max(0) as u64;
        Self { forward: self.forward * n, backward: self.backward * n }
    }
}

/// [n, k] × [k, m].
fn product(n: i64, k: i64, m: i64) -> u64 {
    [2, n, k, m].iter().fold(1, |all, &n| all * n.max(0) as u64)
}

/// A square convolution, by the pixels that come out.
fn conv(pixels: i64, inputs: i64, outputs: i64, kernel: i64) -> Pass {
    Pass::linear(product(pixels, inputs * kernel * kernel, outputs))
}

/// q·kᵀ and the weights times v; the gradients of q, k, v and of the weights are four products
/// of the same sizes. What a fused kernel computes again on its way back is not counted.
fn attention(queries: i64, keys: i64, width: i64) -> Pass {
    let one = product(queries, width, keys);
    Pass { forward: 2 * one, backward: 4 * one }
}

/// `post_quant_conv` and the decoder, of `width` × `height` cells.
fn decode(c: &VqganConfig, [width, height]: [i64; 2]) -> Pass {
    let deepest = c.ch * c.ch_mult.last().copied().unwrap_or(1);
    let mut pixels = width * height;
    let mut resolution = c.resolution >> c.ch_mult.len().saturating_sub(1);
    let mut sum = conv(pixels, c.embed_dim, c.z_channels, 1)
        .and(conv(pixels, c.z_channels, deepest, 3))
        .and(resnet_block(pixels, deepest, deepest).times(2))
        .and(attention_block(pixels, deepest));
    let mut channels = deepest;
    for (level, mult) in c.ch_mult.iter().enumerate().rev() {
        let outputs = c.ch * mult;
        for _ in 0..=c.num_res_blocks {
            sum = sum.and(resnet_block(pixels, channels, outputs));
            channels = outputs;
            if c.attn_resolutions.contains(&resolution) {
                sum = sum.and(attention_block(pixels, channels));
            }
        }
        if level > 0 {
            sum = sum.and(conv(pixels, channels, channels, 2).times(4));
            pixels *= 4;
            resolution *= 2;
        }
    }
    sum.and(conv(pixels, channels, c.out_ch, 3))
}

fn resnet_block(pixels: i64, inputs: i64, outputs: i64) -> Pass {
    let both = conv(pixels, inputs, outputs, 3).and(conv(pixels, outputs, outputs, 3));
    match inputs == outputs {
        true => both,
        false => both.and(conv(pixels, inputs, outputs, 1)),
    }
}

/// q, k, v and the way out, around one head.
fn attention_block(pixels: i64, channels: i64) -> Pass {
    conv(pixels, channels, channels, 1).times(4).and(attention(pixels, pixels, channels))
}

/// One cutout's features.
fn perceive(c: &ClipConfig) -> Pass {
    match c.vision_layers {
        VisionLayers::Vit(layers) => vit(c, layers),
        VisionLayers::ResNet(stages) => resnet(c, stages),
    }
}

fn vit(c: &ClipConfig, layers: i64) -> Pass {
    let (width, patch) = (c.vision_width, c.vision_patch_size.unwrap_or(1).max(1));
    let patches = (c.image_resolution / patch).pow(2);
    let tokens = patches + 1;
    // Queries, the way out and the perceptron of `n` tokens; keys and values are of all.
    let block = |n: i64| {
        Pass::linear(product(n, width, 10 * width))
            .and(Pass::linear(product(tokens, width, 2 * width)))
            .and(attention(n, tokens, width))
    };
    conv(patches, 3, width, patch)
        .and(block(tokens).times(layers - 1))
        .and(block(1))
        .and(Pass::linear(product(1, width, c.embed_dim)))
}

fn resnet(c: &ClipConfig, stages: [i64; 4]) -> Pass {
    let width = c.vision_width;
    let mut pixels = (c.image_resolution / 2).pow(2);
    let mut sum = conv(pixels, 3, width / 2, 3)
        .and(conv(pixels, width / 2, width / 2, 3))
        .and(conv(pixels, width / 2, width, 3));
    pixels /= 4;
    let mut inputs = width;
    for (stage, blocks) in stages.into_iter().enumerate() {
        let (planes, outputs) = (width << stage, 4 * (width << stage));
        for block in 0..blocks {
            let smaller = if stage > 0 && block == 0 { pixels / 4 } else { pixels };
            sum = sum
                .and(conv(pixels, inputs, planes, 1))
                .and(conv(pixels, planes, planes, 3))
                .and(conv(smaller, planes, outputs, 1));
            if block == 0 {
                sum = sum.and(conv(smaller, inputs, outputs, 1));
            }
            (pixels, inputs) = (smaller, outputs);
        }
    }
    // Pooling by attention from the mean to every position.
    let tokens = pixels + 1;
    sum.and(Pass::linear(product(1, inputs, inputs)))
        .and(Pass::linear(product(tokens, inputs, 2 * inputs)))
        .and(attention(1, tokens, inputs))
        .and(Pass::linear(product(1, inputs, c.embed_dim)))
}

#[cfg(test)]
mod tests {
    use vqfarm_weights::clip::Activation;
    use vqfarm_weights::vqgan::Quantizer;

    use super::*;

    fn vqgan(ch_mult: &[i64], attn: &[i64]) -> VqganConfig {
        VqganConfig {
            double_z: false,
            z_channels: 3,
            resolution: 16,
            in_channels: 3,
            out_ch: 3,
            ch: 32,
            ch_mult: ch_mult.to_vec(),
            num_res_blocks: 0,
            attn_resolutions: attn.to_vec(),
            dropout: 0.0,
            embed_dim: 5,
            n_embed: 7,
            quantizer: Quantizer::Vq,
        }
    }

    fn clip(vision_layers: VisionLayers, resolution: i64, width: i64) -> ClipConfig {
        ClipConfig {
            embed_dim: 10,
            image_resolution: resolution,
            vision_layers,
            vision_width: width,
            vision_patch_size: Some(2),
            context_length: 4,
            vocab_size: 9,
            transformer_width: 8,
            transformer_heads: 1,
            transformer_layers: 1,
            activation: Activation::QuickGelu,
        }
    }

    #[test]
    fn a_decoder_of_one_level_by_hand() {
        // 2 × 3 cells: 5→3 by 1×1, 3→32 by 3×3, then three blocks of two 3×3 at 32 channels,
        // attention in the middle and after the level's only block, 32→3 by 3×3.
        let convs = 5 * 3 + 27 * 32 + 3 * 2 * 288 * 32 + 2 * 4 * 32 * 32 + 288 * 3;
        let attention = 2 * 2 * 6 * 32;
        let flops = iteration(&vqgan(&[1], &[16]), &[], [2, 3], 4);
        assert_eq!(flops.decoder_forward, 2 * 6 * (convs + attention));
        assert_eq!(flops.decoder_backward, 2 * 6 * (convs + 2 * attention));
        assert_eq!(flops.quantise, 2 * 6 * 5 * 7);
        assert_eq!(flops.perceptor_forward, 0);
    }

    #[test]
    fn a_second_level_upsamples_and_changes_its_channels() {
        // 1 × 1 cell; the coarse level has 64 channels, the fine one 32 and 4 pixels.
        let coarse = 5 * 3 + 27 * 64 + 3 * 2 * 576 * 64 + 4 * 64 * 64 + 2 * 64;
        let upsample = 4 * 4 * 64 * 64;
        let fine = 4 * (576 * 32 + 288 * 32 + 64 * 32 + 288 * 3);
        let flops = iteration(&vqgan(&[1, 2], &[]), &[], [3, 3], 4);
        assert_eq!(flops.decoder_forward, 2 * (coarse + upsample + fine));
    }

    #[test]
    fn a_vit_by_hand() {
        // 4 × 4 pixels in 4 patches of 2 × 2, so 5 tokens of width 64, two layers.
        let patches = 4 * 12 * 64;
        let whole = 5 * 12 * 64 * 64 + 2 * 5 * 5 * 64;
        let last = 10 * 64 * 64 + 5 * 2 * 64 * 64 + 2 * 5 * 64;
        let forward = 2 * (patches + whole + last + 64 * 10);
        let clip = clip(VisionLayers::Vit(2), 4, 64);
        let flops = iteration(&vqgan(&[1], &[]), &[clip.clone(), clip], [1, 1], 3);
        assert_eq!(flops.perceptor_forward, 2 * 3 * forward);
        let attention = 2 * (2 * 5 * 5 * 64 + 2 * 5 * 64);
        assert_eq!(flops.perceptor_backward, 2 * 3 * (forward + attention));
    }

    #[test]
    fn a_resnet_by_hand() {
        // 32 × 32 pixels, width 4, one block a stage: the stem leaves 16 × 16, then 8 × 8, and
        // the stages 8, 4, 2 and 1 pixels a side.
        let stem = 256 * (27 * 2 + 18 * 2 + 18 * 4);
        let block = |before: u64, after: u64, inputs: u64, planes: u64| {
            let convs = before * (inputs * planes + 9 * planes * planes);
            convs + after * (planes * 4 * planes + inputs * 4 * planes)
        };
        let blocks =
            block(64, 64, 4, 4) + block(64, 16, 16, 8) + block(16, 4, 32, 16) + block(4, 1, 64, 32);
        // One position and the mean, 128 channels.
        let pool = 128 * 128 + 2 * 2 * 128 * 128 + 2 * 2 * 128 + 128 * 10;
        let clip = clip(VisionLayers::ResNet([1; 4]), 32, 4);
        let flops = iteration(&vqgan(&[1], &[]), &[clip], [1, 1], 1);
        assert_eq!(flops.perceptor_forward, 2 * (stem + blocks + pool));
    }
}
