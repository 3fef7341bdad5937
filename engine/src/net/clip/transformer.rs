//! The pre-norm transformer that both towers use.

use tch::Tensor;
use vqfarm_weights::clip::Activation;

use crate::error::{EngineError, Result};
use crate::net::Weights;
use crate::net::layers::{LayerNorm, Linear, attention};

struct ResidualAttentionBlock {
    ln_1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    heads: i64,
    activation: Activation,
}

impl ResidualAttentionBlock {
    fn new(w: &Weights, width: i64, heads: i64, activation: Activation) -> Result<Self> {
        let attn = w.at("attn");
        let mlp = w.at("mlp");
        Ok(Self {
            ln_1: LayerNorm::new(&w.at("ln_1"), width)?,
            in_proj: Linear::named(&attn, "in_proj_weight", "in_proj_bias", width, 3 * width)?,
            out_proj: Linear::new(&attn.at("out_proj"), width, width)?,
            ln_2: LayerNorm::new(&w.at("ln_2"), width)?,
            c_fc: Linear::new(&mlp.at("c_fc"), width, 4 * width)?,
            c_proj: Linear::new(&mlp.at("c_proj"), 4 * width, width)?,
            heads,
            activation,
        })
    }

    fn attend(&self, x: &Tensor, causal: bool) -> Tensor {
        let size = x.size();
        let (n, tokens, width) = (size[0], size[1], size[2]);
        // [N, T, 3·width] → three of [N, heads, T, d].
        let qkv = self
            .in_proj
            .forward(x)
            .view([n, tokens, 3, self.heads, width / self.heads])
            .permute([2, 0, 3, 1, 4]);
        let out = attention(&qkv.get(0), &qkv.get(1), &qkv.get(2), causal);
        self.out_proj.forward(&out.transpose(1, 2).reshape([n, tokens, width]))
    }

    fn forward(&self, x: &Tensor, causal: bool) -> Tensor {
        let x = x + self.attend(&self.ln_1.forward(x), causal);
        let h = self.c_fc.forward(&self.ln_2.forward(&x));
        let h = match self.activation {
            Activation::QuickGelu => &h * (&h * 1.702).sigmoid(),
            Activation::Gelu => h.gelu("none"),
        };
        x + self.c_proj.forward(&h)
    }
}

/// A stack of blocks over [N, tokens, width].
pub(super) struct Transformer {
    blocks: Vec<ResidualAttentionBlock>,
    causal: bool,
}

impl Transformer {
    pub fn new(
        w: &Weights,
        layers: i64,
        width: i64,
        heads: i64,
        causal: bool,
        activation: Activation,
    ) -> Result<Self> {
        if heads < 1 || width % heads != 0 {
            return Err(EngineError::Architecture(format!(
                "a width of {width} cannot be split into {heads} heads"
            )));
        }
        let w = w.at("transformer").at("resblocks");
        let blocks = (0..layers)
            .map(|i| ResidualAttentionBlock::new(&w.at(i), width, heads, activation))
            .collect::<Result<_>>()?;
        Ok(Self { blocks, causal })
    }

    pub fn forward(&self, x: Tensor) -> Tensor {
        self.blocks.iter().fold(x, |x, block| block.forward(&x, self.causal))
    }
}
