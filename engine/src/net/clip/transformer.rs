//! The pre-norm transformer that both towers use.

use tch::Tensor;
use vqfarm_weights::clip::Activation;

use crate::error::{EngineError, Result};
use crate::net::layers::{LayerNorm, Linear, attention, plain_attention, swish};
use crate::net::{Arithmetic, Weights};

struct ResidualAttentionBlock {
    ln_1: LayerNorm,
    in_proj: Linear,
    out_proj: Linear,
    ln_2: LayerNorm,
    c_fc: Linear,
    c_proj: Linear,
    heads: i64,
    width: i64,
    activation: Activation,
    arithmetic: Arithmetic,
    twice: bool,
}

/// QuickGELU's constant: x·σ(βx).
const BETA: f64 = 1.702;

impl ResidualAttentionBlock {
    fn new(w: &Weights, width: i64, heads: i64, activation: Activation) -> Result<Self> {
        let attn = w.at("attn");
        let mlp = w.at("mlp");
        let c_fc = |w: &Weights| Linear::new(w, width, 4 * width);
        let (ln_2, mut c_fc) = LayerNorm::before(&w.at("ln_2"), width, c_fc, &mlp.at("c_fc"))?;
        let mut c_proj = Linear::new(&mlp.at("c_proj"), 4 * width, width)?;
        if w.arithmetic() == Arithmetic::Fast && activation == Activation::QuickGelu {
            // β·x·σ(βx) is the swish of βx.
            (c_fc, c_proj) = (c_fc.times(BETA), c_proj.after_times(BETA));
        }
        let in_proj =
            |w: &Weights| Linear::named(w, "in_proj_weight", "in_proj_bias", width, 3 * width);
        let (ln_1, in_proj) = LayerNorm::before(&w.at("ln_1"), width, in_proj, &attn)?;
        Ok(Self {
            ln_1,
            in_proj,
            out_proj: Linear::new(&attn.at("out_proj"), width, width)?,
            ln_2,
            c_fc,
            c_proj,
            heads,
            width,
            activation,
            arithmetic: w.arithmetic(),
            twice: w.is_twice_differentiable(),
        })
    }

    /// [N, T, k·width] → k of [N, heads, T, d].
    fn split(&self, x: &Tensor) -> Vec<Tensor> {
        let (n, tokens) = (x.size()[0], x.size()[1]);
        let by_head = |t: &Tensor| t.view([n, tokens, self.heads, -1]).transpose(1, 2);
        x.split(self.width, 2).iter().map(by_head).collect()
    }

    /// Attention's output among queries, keys and values [N, heads, T, d], as [N, T, width].
    fn mix(&self, q: &Tensor, k: &Tensor, v: &Tensor, causal: bool) -> Tensor {
        let (n, tokens) = (q.size()[0], q.size()[2]);
        let out = match self.twice && !causal {
            true => plain_attention(q, k, v),
            false => attention(q, k, v, causal),
        };
        self.out_proj.forward(&out.transpose(1, 2).reshape([n, tokens, self.width]))
    }

    fn mlp(&self, x: &Tensor) -> Tensor {
        let h = self.c_fc.forward(x);
        let h = match (self.activation, self.arithmetic) {
            (Activation::QuickGelu, Arithmetic::Original) => &h * (&h * BETA).sigmoid(),
            (Activation::QuickGelu, Arithmetic::Fast) => swish(&h, self.arithmetic),
            (Activation::Gelu, _) => h.gelu("none"),
        };
        self.c_proj.forward(&h)
    }

    fn forward(&self, x: &Tensor, causal: bool) -> Tensor {
        let qkv = self.split(&self.in_proj.forward(&self.ln_1.forward(x)));
        let x = x + self.mix(&qkv[0], &qkv[1], &qkv[2], causal);
        &x + self.mlp(&self.ln_2.forward(&x))
    }

    /// What [`Self::forward`] makes of the first token, [N, 1, width]: only keys and values are
    /// needed of the others.
    fn first_token(&self, x: &Tensor) -> Tensor {
        let first = |x: &Tensor| x.narrow(1, 0, 1);
        let h = self.ln_1.forward(x);
        let q = self.split(&self.in_proj.outputs(0, self.width).forward(&first(&h)));
        let kv = self.split(&self.in_proj.outputs(self.width, 2 * self.width).forward(&h));
        let x = first(x) + self.mix(&q[0], &kv[0], &kv[1], false);
        &x + self.mlp(&self.ln_2.forward(&x))
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

    /// What [`Self::forward`] makes of the first token, [N, width].
    pub fn first_token(&self, x: Tensor) -> Tensor {
        match self.blocks.split_last() {
            Some((last, blocks)) if last.arithmetic == Arithmetic::Fast => {
                let x = blocks.iter().fold(x, |x, block| block.forward(&x, self.causal));
                last.first_token(&x).select(1, 0)
            }
            _ => self.forward(x).select(1, 0),
        }
    }
}
