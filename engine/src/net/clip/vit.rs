//! The vision transformer.

use tch::Tensor;
use vqfarm_weights::clip::{ClipConfig, VisionLayers};

use super::transformer::Transformer;
use crate::error::{EngineError, Result};
use crate::net::Weights;
use crate::net::layers::{Conv2d, LayerNorm};

pub(super) struct VisionTransformer {
    conv1: Conv2d,
    class_embedding: Tensor,
    positional_embedding: Tensor,
    ln_pre: LayerNorm,
    transformer: Transformer,
    ln_post: LayerNorm,
    proj: Tensor,
}

impl VisionTransformer {
    pub fn new(w: &Weights, c: &ClipConfig) -> Result<Self> {
        let (VisionLayers::Vit(layers), Some(patch)) = (&c.vision_layers, c.vision_patch_size)
        else {
            return Err(EngineError::Architecture("a ViT needs vision_patch_size".into()));
        };
        if patch < 1 || c.image_resolution % patch != 0 {
            return Err(EngineError::Architecture(format!(
                "an image of {} pixels cannot be split into patches of {patch}",
                c.image_resolution
            )));
        }
        let width = c.vision_width;
        let side = c.image_resolution / patch;
        let heads = (width / 64).max(1);
        Ok(Self {
            conv1: Conv2d::unbiased(&w.at("conv1"), 3, width, patch)?.stride(patch).padding(0),
            class_embedding: w.get("class_embedding", &[width])?,
            positional_embedding: w.get("positional_embedding", &[side * side + 1, width])?,
            ln_pre: LayerNorm::new(&w.at("ln_pre"), width)?,
            transformer: Transformer::new(w, *layers, width, heads, false, c.activation)?,
            ln_post: LayerNorm::new(&w.at("ln_post"), width)?,
            proj: w.get("proj", &[width, c.embed_dim])?,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let patches = self.conv1.forward(x).flatten(2, 3).transpose(1, 2);
        let size = patches.size();
        let class = self.class_embedding.expand([size[0], 1, size[2]], false);
        let x = Tensor::cat(&[class, patches], 1) + &self.positional_embedding;
        let class = self.transformer.first_token(self.ln_pre.forward(&x));
        self.ln_post.forward(&class).matmul(&self.proj)
    }
}
