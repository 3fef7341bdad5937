//! The sizes of a CLIP.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{InFile, Reason, Result};
use crate::fit::{check_depth, check_size};
use crate::source::read_text;

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
    /// The sizes of OpenAI's ViT-B/32.
    pub fn vit_b_32() -> Self {
        Self {
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

    /// Attention heads of the vision tower: width/64 for a ViT, width·32/64 for a ResNet's pooling,
    /// and at least one.
    pub fn vision_heads(&self) -> i64 {
        match self.vision_layers {
            VisionLayers::Vit(_) => (self.vision_width / 64).max(1),
            VisionLayers::ResNet(_) => (self.vision_width * 32 / 64).max(1),
        }
    }

    /// Reads a config file: a YAML or JSON of this struct's own fields.
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        serde_saphyr::from_str(&text)
            .map_err(|e| Reason::config("(YAML)", e.to_string()))
            .in_file(path)
    }

    /// Refuses sizes that no network can have, naming the field.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        for (field, value) in [
            ("embed_dim", self.embed_dim),
            ("image_resolution", self.image_resolution),
            ("vision_width", self.vision_width),
            ("context_length", self.context_length),
            ("vocab_size", self.vocab_size),
            ("transformer_width", self.transformer_width),
            ("transformer_heads", self.transformer_heads),
        ] {
            check_size(field, value)?;
        }
        check_depth("transformer_layers", self.transformer_layers)?;
        let cell = match self.vision_layers {
            VisionLayers::Vit(layers) => {
                check_depth("vision_layers", layers)?;
                let patch = self.vision_patch_size.unwrap_or(0);
                check_size("vision_patch_size", patch)?;
                divides("vision_width", self.vision_heads(), self.vision_width)?;
                patch
            }
            VisionLayers::ResNet(stages) => {
                stages.iter().try_for_each(|&blocks| check_depth("vision_layers", blocks))?;
                divides("vision_width", 2, self.vision_width)?;
                32
            }
        };
        divides("image_resolution", cell, self.image_resolution)?;
        divides("transformer_heads", self.transformer_heads, self.transformer_width)
    }
}

fn divides(field: &str, part: i64, whole: i64) -> Result<(), Reason> {
    if whole % part == 0 {
        return Ok(());
    }
    Err(Reason::config(field, format!("{whole} is no multiple of {part}")))
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

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::QuickGelu => "quick_gelu",
            Self::Gelu => "gelu",
        })
    }
}
