//! The published networks' sizes, and a smaller pair of the same build.

use clap::ValueEnum;
use vqfarm_weights::clip::{Activation, ClipConfig, VisionLayers};
use vqfarm_weights::memory::Networks;
use vqfarm_weights::vqgan::{Quantizer, VqganConfig};

/// Which networks are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Models {
    /// The f16 VQGAN with 16,384 rows, and ViT-B/32
    Published,
    /// A fraction of their depth and width: to try the command out
    Small,
}

impl Models {
    pub fn networks(self) -> Networks {
        match self {
            Self::Published => published(),
            Self::Small => Networks {
                generator: VqganConfig {
                    ch: 32,
                    ch_mult: vec![1, 1, 2],
                    num_res_blocks: 1,
                    attn_resolutions: vec![64],
                    n_embed: 256,
                    ..imagenet_f16_16384()
                },
                perceptors: vec![ClipConfig {
                    vision_layers: VisionLayers::Vit(2),
                    vision_width: 128,
                    transformer_width: 64,
                    transformer_heads: 1,
                    transformer_layers: 1,
                    ..vit_b_32()
                }],
            },
        }
    }
}

pub(crate) fn published() -> Networks {
    Networks { generator: imagenet_f16_16384(), perceptors: vec![vit_b_32()] }
}

fn imagenet_f16_16384() -> VqganConfig {
    VqganConfig {
        double_z: false,
        z_channels: 256,
        resolution: 256,
        in_channels: 3,
        out_ch: 3,
        ch: 128,
        ch_mult: vec![1, 1, 2, 2, 4],
        num_res_blocks: 2,
        attn_resolutions: vec![16],
        dropout: 0.0,
        embed_dim: 256,
        n_embed: 16_384,
        quantizer: Quantizer::Vq,
    }
}

fn vit_b_32() -> ClipConfig {
    ClipConfig {
        embed_dim: 512,
        image_resolution: 224,
        vision_layers: VisionLayers::Vit(12),
        vision_width: 768,
        vision_patch_size: Some(32),
        context_length: 77,
        vocab_size: 49_408,
        transformer_width: 512,
        transformer_heads: 8,
        transformer_layers: 12,
        activation: Activation::QuickGelu,
    }
}
