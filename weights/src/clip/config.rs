//! The sizes of a CLIP.

use serde::{Deserialize, Serialize};

/// Sizes of a CLIP, named as OpenAI's constructor names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipConfig {
    /// Length of a feature vector.
    pub embed_dim: i64,
    /// Side of the square input image in pixels.
    pub image_resolution: i64,
    pub vision_layers: VisionLayers,
    /// Channels of a ViT's residual stream; of a ResNet's first stage.
    pub vision_width: i64,
    /// Side of a ViT's patch in pixels; none for a ResNet.
    pub vision_patch_size: Option<i64>,
    /// Tokens of a text, padding included.
    pub context_length: i64,
    pub vocab_size: i64,
    pub transformer_width: i64,
    pub transformer_heads: i64,
    pub transformer_layers: i64,
    pub activation: Activation,
}

impl ClipConfig {
    /// Attention heads of the vision tower: width/64 for a ViT, width·32/64 for a ResNet's pooling,
    /// and at least one.
    pub fn vision_heads(&self) -> i64 {
        match self.vision_layers {
            VisionLayers::Vit(_) => (self.vision_width / 64).max(1),
            VisionLayers::ResNet(_) => (self.vision_width * 32 / 64).max(1),
        }
    }
}

/// Depth of the vision tower, which also tells its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum VisionLayers {
    /// Number of transformer blocks.
    Vit(i64),
    /// Bottleneck blocks of each of the four stages.
    ResNet([i64; 4]),
}

/// The non-linearity of the transformers' MLPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x·σ(1.702x), OpenAI's.
    QuickGelu,
    /// Exact GELU, in OpenCLIP's own models.
    Gelu,
}
