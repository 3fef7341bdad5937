//! The text tower.

use tch::{Device, Tensor};
use vqfarm_weights::clip::ClipConfig;

use super::transformer::Transformer;
use crate::error::Result;
use crate::net::Weights;
use crate::net::layers::LayerNorm;

pub(super) struct TextTower {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    transformer: Transformer,
    ln_final: LayerNorm,
    text_projection: Tensor,
}

impl TextTower {
    pub fn new(w: &Weights, c: &ClipConfig) -> Result<Self> {
        let width = c.transformer_width;
        Ok(Self {
            token_embedding: w.get("token_embedding.weight", &[c.vocab_size, width])?,
            positional_embedding: w.get("positional_embedding", &[c.context_length, width])?,
            transformer: Transformer::new(
                w,
                c.transformer_layers,
                width,
                c.transformer_heads,
                true,
                c.activation,
            )?,
            ln_final: LayerNorm::new(&w.at("ln_final"), width)?,
            text_projection: w.get("text_projection", &[width, c.embed_dim])?,
        })
    }

    pub fn device(&self) -> Device {
        self.token_embedding.device()
    }

    /// int64 [N, context] → [N, d].
    pub fn forward(&self, tokens: &Tensor) -> Tensor {
        let x = Tensor::embedding(&self.token_embedding, tokens, -1, false, false);
        let x = self.transformer.forward(x + &self.positional_embedding);
        let x = self.ln_final.forward(&x);
        // One row a text: the position of its largest token, the end of text.
        let size = x.size();
        let end = tokens.argmax(-1, true).unsqueeze(-1).expand([size[0], 1, size[2]], false);
        x.gather(1, &end, false).squeeze_dim(1).matmul(&self.text_projection)
    }
}
