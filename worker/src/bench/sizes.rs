//! The published networks' sizes, and a smaller pair of the same build.

use clap::ValueEnum;
use vqfarm_weights::clip::{ClipConfig, VisionLayers};
use vqfarm_weights::memory::Networks;
use vqfarm_weights::vqgan::VqganConfig;

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
                    ..VqganConfig::imagenet_f16_16384()
                },
                perceptors: vec![ClipConfig {
                    vision_layers: VisionLayers::Vit(2),
                    vision_width: 128,
                    transformer_width: 64,
                    transformer_heads: 1,
                    transformer_layers: 1,
                    ..ClipConfig::vit_b_32()
                }],
            },
        }
    }
}

pub(crate) fn published() -> Networks {
    Networks {
        generator: VqganConfig::imagenet_f16_16384(),
        perceptors: vec![ClipConfig::vit_b_32()],
    }
}
