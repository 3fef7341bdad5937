//! The sizes of a VQGAN.

use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::fit::{check_depth, check_size};

/// Groups of the group normalisations.
const GROUPS: i64 = 32;

/// Sizes of a VQGAN, named as in its `.yaml`: `ddconfig` flattened, with the quantiser's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VqganConfig {
    /// Whether the encoder gives mean and variance (never so in published VQGANs).
    #[serde(default)]
    pub double_z: bool,
    /// Channels between encoder and `quant_conv`.
    pub z_channels: i64,
    /// Nominal side of the image in pixels; places the attention, does not limit the size.
    pub resolution: i64,
    pub in_channels: i64,
    pub out_ch: i64,
    /// Channels of the finest level.
    pub ch: i64,
    /// Channels of each level as a multiple of `ch`, finest first; each level but the first
    /// halves the resolution.
    pub ch_mult: Vec<i64>,
    pub num_res_blocks: i64,
    /// Levels with attention, named by the side they have at the nominal resolution.
    pub attn_resolutions: Vec<i64>,
    /// Used in training only.
    #[serde(default)]
    pub dropout: f64,
    /// Channels of the latent: length of a codebook row.
    pub embed_dim: i64,
    /// Rows in the codebook.
    pub n_embed: i64,
    pub quantizer: Quantizer,
}

impl VqganConfig {
    /// The sizes of the published VQGAN of ImageNet with f16 and 16,384 codebook rows.
    pub fn imagenet_f16_16384() -> Self {
        Self {
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

    /// Image pixels per latent cell along each side: 2^(levels − 1).
    pub fn factor(&self) -> i64 {
        1 << self.ch_mult.len().saturating_sub(1).min(30)
    }

    /// Refuses sizes that no network can have, naming the field.
    pub(crate) fn check(&self) -> Result<(), Reason> {
        for (field, value) in [
            ("z_channels", self.z_channels),
            ("resolution", self.resolution),
            ("in_channels", self.in_channels),
            ("out_ch", self.out_ch),
            ("ch", self.ch),
            ("embed_dim", self.embed_dim),
            ("n_embed", self.n_embed),
        ] {
            check_size(field, value)?;
        }
        check_depth("num_res_blocks", self.num_res_blocks)?;
        // Ten halvings bring any image down to a point.
        if !(1..=10).contains(&self.ch_mult.len()) {
            return Err(Reason::config("ch_mult", "it should have one to ten levels"));
        }
        for &mult in &self.ch_mult {
            check_size("ch_mult", mult)?;
            if self.ch * mult % GROUPS != 0 {
                let what =
                    format!("{} channels cannot be normalised in {GROUPS} groups", self.ch * mult);
                return Err(Reason::config("ch_mult", what));
            }
        }
        Ok(())
    }
}

/// How latents become codebook rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantizer {
    /// Nearest row of `quantize.embedding.weight`.
    Vq,
    /// Logits by `quantize.proj`, rows in `quantize.embed.weight`.
    Gumbel,
}
