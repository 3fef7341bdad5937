//! A VQGAN's sizes from the shapes of its tensors.

use super::config::{Quantizer, VqganConfig};
use crate::error::Reason;
use crate::fit::{count, dim};
use crate::tensor::StateDict;

/// The nominal resolution of all published VQGANs. No shape depends on it.
pub(super) const RESOLUTION: i64 = 256;

/// Which quantiser the file holds.
pub(super) fn quantizer(state: &StateDict) -> Result<Quantizer, Reason> {
    if state.contains("quantize.embedding.weight") {
        Ok(Quantizer::Vq)
    } else if state.contains("quantize.embed.weight") {
        Ok(Quantizer::Gumbel)
    } else {
        let name = "quantize.embedding.weight".into();
        Err(Reason::MissingTensor { name, hint: "the file holds no VQGAN".into() })
    }
}

pub(super) fn config(state: &StateDict) -> Result<VqganConfig, Reason> {
    let quantizer = quantizer(state)?;
    let codebook = match quantizer {
        Quantizer::Vq => "quantize.embedding.weight",
        Quantizer::Gumbel => "quantize.embed.weight",
    };
    let ch = dim(state, "encoder.conv_in.weight", 0)?;
    let levels = count(state, "encoder.down.", ".block.0.conv1.weight");
    let mut ch_mult = Vec::new();
    let mut attn_resolutions = Vec::new();
    for level in 0..levels {
        let name = format!("encoder.down.{level}.block.0.conv1.weight");
        let channels = dim(state, &name, 0)?;
        if ch == 0 || channels % ch != 0 {
            let problem = format!("{channels} channels are no multiple of the first level's {ch}");
            return Err(Reason::Tensor { name, problem });
        }
        ch_mult.push(channels / ch);
        if state.contains(&format!("encoder.down.{level}.attn.0.q.weight")) {
            attn_resolutions.push(RESOLUTION >> level.min(62));
        }
    }
    let z_channels = dim(state, "decoder.conv_in.weight", 1)?;
    Ok(VqganConfig {
        double_z: dim(state, "encoder.conv_out.weight", 0)? == z_channels.saturating_mul(2),
        z_channels,
        resolution: RESOLUTION,
        in_channels: dim(state, "encoder.conv_in.weight", 1)?,
        out_ch: dim(state, "decoder.conv_out.weight", 0)?,
        ch,
        ch_mult,
        num_res_blocks: count(state, "encoder.down.0.block.", ".conv1.weight"),
        attn_resolutions,
        dropout: 0.0,
        embed_dim: dim(state, codebook, 1)?,
        n_embed: dim(state, codebook, 0)?,
        quantizer,
    })
}
