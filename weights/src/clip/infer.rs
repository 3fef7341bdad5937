//! A CLIP's sizes from the shapes of its tensors, as OpenAI's loader finds them.

use super::config::{Activation, ClipConfig, VisionLayers};
use crate::error::Reason;
use crate::fit::{count, dim};
use crate::tensor::StateDict;

/// The heads and the activation are the usual ones: shapes do not tell them.
pub(super) fn config(state: &StateDict) -> Result<ClipConfig, Reason> {
    let vit = state.contains("visual.proj");
    let (image_resolution, vision_layers, vision_width, vision_patch_size) = if vit {
        let patch = dim(state, "visual.conv1.weight", 2)?;
        let grid = grid(state, "visual.positional_embedding")?;
        let layers = count(state, "visual.transformer.resblocks.", ".attn.in_proj_weight");
        let width = dim(state, "visual.conv1.weight", 0)?;
        (grid.saturating_mul(patch), VisionLayers::Vit(layers), width, Some(patch))
    } else {
        let grid = grid(state, "visual.attnpool.positional_embedding")?;
        let stages = [1, 2, 3, 4]
            .map(|stage| count(state, &format!("visual.layer{stage}."), ".conv1.weight"));
        let width = dim(state, "visual.layer1.0.conv1.weight", 0)?;
        (grid.saturating_mul(32), VisionLayers::ResNet(stages), width, None)
    };
    let transformer_width = dim(state, "ln_final.weight", 0)?;
    Ok(ClipConfig {
        embed_dim: dim(state, "text_projection", 1)?,
        image_resolution,
        vision_layers,
        vision_width,
        vision_patch_size,
        context_length: dim(state, "positional_embedding", 0)?,
        vocab_size: dim(state, "token_embedding.weight", 0)?,
        transformer_width,
        transformer_heads: (transformer_width / 64).max(1),
        transformer_layers: count(state, "transformer.resblocks.", ".attn.in_proj_weight"),
        activation: Activation::QuickGelu,
    })
}

/// Side of the square of positions, of which there is one more than its area.
fn grid(state: &StateDict, name: &str) -> Result<i64, Reason> {
    let positions = dim(state, name, 0)?;
    let side = (positions - 1).max(0).isqrt();
    if side < 1 || side * side + 1 != positions {
        return Err(Reason::tensor(
            name,
            format!("{positions} positions are not a square and one"),
        ));
    }
    Ok(side)
}
