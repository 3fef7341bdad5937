//! VQGAN (Esser et al. 2021, "Taming Transformers"): encoder, codebook, decoder.
//!
//! Names follow the published checkpoints (`encoder.down.0.block.1.conv1.weight`).

use tch::{Kind, Tensor};
use vqfarm_weights::vqgan::{Quantizer, VqganConfig};

use super::layers::{Conv2d, GroupNorm, attention_over_positions, channels_last};
use super::norm_swish::NormSwish;
use super::upsample::Upsample;
use super::{Arithmetic, Weights};
use crate::error::{EngineError, Result};
use crate::model::{Generator, Step};

/// GroupNorm, swish, convolution, twice, around a skip connection.
struct ResnetBlock {
    norm1: NormSwish,
    conv1: Conv2d,
    norm2: NormSwish,
    conv2: Conv2d,
    shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    fn new(w: &Weights, inputs: i64, outputs: i64) -> Result<Self> {
        Ok(Self {
            norm1: NormSwish::new(&w.at("norm1"), inputs)?,
            conv1: Conv2d::new(&w.at("conv1"), inputs, outputs, 3)?,
            norm2: NormSwish::new(&w.at("norm2"), outputs)?,
            conv2: Conv2d::new(&w.at("conv2"), outputs, outputs, 3)?,
            shortcut: match inputs == outputs {
                true => None,
                false => Some(Conv2d::new(&w.at("nin_shortcut"), inputs, outputs, 1)?),
            },
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.conv1.forward(&self.norm1.forward(x));
        let h = self.conv2.forward(&self.norm2.forward(&h));
        match &self.shortcut {
            Some(conv) => conv.forward(x) + h,
            None => x + h,
        }
    }
}

/// Single-head self-attention over all positions, by 1×1 convolutions.
struct AttnBlock {
    norm: GroupNorm,
    q: Conv2d,
    k: Conv2d,
    v: Conv2d,
    proj_out: Conv2d,
    arithmetic: Arithmetic,
}

impl AttnBlock {
    fn new(w: &Weights, channels: i64) -> Result<Self> {
        let conv = |name| Conv2d::new(&w.at(name), channels, channels, 1);
        Ok(Self {
            norm: GroupNorm::new(&w.at("norm"), channels)?,
            q: conv("q")?,
            k: conv("k")?,
            v: conv("v")?,
            proj_out: conv("proj_out")?,
            arithmetic: w.arithmetic(),
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.norm.forward(x);
        let (q, k, v) = (self.q.forward(&h), self.k.forward(&h), self.v.forward(&h));
        let h = attention_over_positions([&q, &k, &v], self.arithmetic);
        x + self.proj_out.forward(&h)
    }
}

/// The blocks of one resolution, each followed by attention where the config asks for it.
struct Level {
    blocks: Vec<(ResnetBlock, Option<AttnBlock>)>,
}

impl Level {
    fn new(w: &Weights, blocks: i64, mut inputs: i64, outputs: i64, attend: bool) -> Result<Self> {
        let mut list = Vec::new();
        for i in 0..blocks {
            let block = ResnetBlock::new(&w.at("block").at(i), inputs, outputs)?;
            let attn = match attend {
                true => Some(AttnBlock::new(&w.at("attn").at(i), outputs)?),
                false => None,
            };
            list.push((block, attn));
            inputs = outputs;
        }
        Ok(Self { blocks: list })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = x.shallow_clone();
        for (block, attn) in &self.blocks {
            h = block.forward(&h);
            if let Some(attn) = attn {
                h = attn.forward(&h);
            }
        }
        h
    }
}

/// The bottleneck that encoder and decoder both have.
struct Middle {
    block_1: ResnetBlock,
    attn_1: AttnBlock,
    block_2: ResnetBlock,
}

impl Middle {
    fn new(w: &Weights, channels: i64) -> Result<Self> {
        Ok(Self {
            block_1: ResnetBlock::new(&w.at("block_1"), channels, channels)?,
            attn_1: AttnBlock::new(&w.at("attn_1"), channels)?,
            block_2: ResnetBlock::new(&w.at("block_2"), channels, channels)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.block_2.forward(&self.attn_1.forward(&self.block_1.forward(x)))
    }
}

struct Encoder {
    conv_in: Conv2d,
    /// With the way to the next coarser resolution.
    down: Vec<(Level, Option<Conv2d>)>,
    mid: Middle,
    norm_out: NormSwish,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(w: &Weights, c: &VqganConfig) -> Result<Self> {
        let mut channels = c.ch;
        let mut resolution = c.resolution;
        let mut down = Vec::new();
        for (i, mult) in c.ch_mult.iter().enumerate() {
            let w = w.at("down").at(i);
            let outputs = c.ch * mult;
            let attend = c.attn_resolutions.contains(&resolution);
            let level = Level::new(&w, c.num_res_blocks, channels, outputs, attend)?;
            channels = outputs;
            let mut downsample = None;
            if i + 1 < c.ch_mult.len() {
                let conv = Conv2d::new(&w.at("downsample").at("conv"), channels, channels, 3)?;
                downsample = Some(conv.stride(2).padding(0));
                resolution /= 2;
            }
            down.push((level, downsample));
        }
        let outputs = if c.double_z { 2 * c.z_channels } else { c.z_channels };
        Ok(Self {
            conv_in: Conv2d::new(&w.at("conv_in"), c.in_channels, c.ch, 3)?,
            down,
            mid: Middle::new(&w.at("mid"), channels)?,
            norm_out: NormSwish::new(&w.at("norm_out"), channels)?,
            conv_out: Conv2d::new(&w.at("conv_out"), channels, outputs, 3)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut h = self.conv_in.forward(x);
        for (level, downsample) in &self.down {
            h = level.forward(&h);
            if let Some(conv) = downsample {
                h = conv.forward(&h.constant_pad_nd([0, 1, 0, 1]));
            }
        }
        self.conv_out.forward(&self.norm_out.forward(&self.mid.forward(&h)))
    }
}

struct Decoder {
    conv_in: Conv2d,
    mid: Middle,
    /// From the coarsest resolution to the finest, the order of use, each with the way to the
    /// next.
    up: Vec<(Level, Option<Upsample>)>,
    norm_out: NormSwish,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(w: &Weights, c: &VqganConfig) -> Result<Self> {
        let levels = c.ch_mult.len();
        let deepest = c.ch * c.ch_mult.last().copied().unwrap_or(1);
        let mut channels = deepest;
        let mut resolution = c.resolution >> (levels - 1);
        let mut up = Vec::new();
        for (i, mult) in c.ch_mult.iter().enumerate().rev() {
            let w = w.at("up").at(i);
            let outputs = c.ch * mult;
            let attend = c.attn_resolutions.contains(&resolution);
            let level = Level::new(&w, c.num_res_blocks + 1, channels, outputs, attend)?;
            channels = outputs;
            let mut upsample = None;
            if i > 0 {
                upsample = Some(Upsample::new(&w.at("upsample"), channels)?);
                resolution *= 2;
            }
            up.push((level, upsample));
        }
        Ok(Self {
            conv_in: Conv2d::new(&w.at("conv_in"), c.z_channels, deepest, 3)?,
            mid: Middle::new(&w.at("mid"), deepest)?,
            up,
            norm_out: NormSwish::new(&w.at("norm_out"), channels)?,
            conv_out: Conv2d::new(&w.at("conv_out"), channels, c.out_ch, 3)?,
        })
    }

    fn forward(&self, z: &Tensor) -> Tensor {
        self.steps().iter().fold(z.shallow_clone(), |h, step| step(&h))
    }

    /// Each block by itself: what one computes on the way is several times its input.
    fn steps(&self) -> Vec<Step<'_>> {
        let middle = &self.mid;
        let mut steps: Vec<Step<'_>> = vec![
            Box::new(|z| self.conv_in.forward(z)),
            Box::new(|h| middle.block_1.forward(h)),
            Box::new(|h| middle.attn_1.forward(h)),
            Box::new(|h| middle.block_2.forward(h)),
        ];
        for (level, upsample) in &self.up {
            for (block, attn) in &level.blocks {
                steps.push(Box::new(|h| block.forward(h)));
                if let Some(attn) = attn {
                    steps.push(Box::new(|h| attn.forward(h)));
                }
            }
            if let Some(upsample) = upsample {
                steps.push(Box::new(|h| upsample.forward(h)));
            }
        }
        steps.push(Box::new(|h| self.conv_out.forward(&self.norm_out.forward(h))));
        steps
    }
}

/// A VQGAN generator with either quantiser.
pub struct Vqgan {
    config: VqganConfig,
    encoder: Encoder,
    quant_conv: Conv2d,
    post_quant_conv: Conv2d,
    decoder: Decoder,
    /// [n, e], float32.
    codebook: Tensor,
    /// The Gumbel quantiser's projection to a logit for each code.
    proj: Option<Conv2d>,
    bounds: (Tensor, Tensor),
    kind: Kind,
    arithmetic: Arithmetic,
}

impl Vqgan {
    /// # Errors
    /// The weights do not fit the configuration; the message names the tensor.
    pub fn new(w: &Weights, config: &VqganConfig) -> Result<Self> {
        if config.ch_mult.is_empty() || config.ch_mult.len() > 8 {
            return Err(EngineError::Architecture("ch_mult must have 1 to 8 entries".into()));
        }
        let (n, e, z) = (config.n_embed, config.embed_dim, config.z_channels);
        let (codebook, proj) = match config.quantizer {
            Quantizer::Vq => (w.get_f32("quantize.embedding.weight", &[n, e])?, None),
            Quantizer::Gumbel => (
                w.get_f32("quantize.embed.weight", &[n, e])?,
                Some(Conv2d::new(&w.at("quantize").at("proj"), z, n, 1)?),
            ),
        };
        let bounds = tch::no_grad(|| {
            let shaped = |t: Tensor| t.view([1, e, 1, 1]);
            (
                shaped(codebook.amin([0i64].as_slice(), false)),
                shaped(codebook.amax([0i64].as_slice(), false)),
            )
        });
        let encoded = if config.double_z { 2 * z } else { z };
        let quant_conv = Conv2d::new(&w.at("quant_conv"), encoded, e, 1)?;
        Ok(Self {
            encoder: Encoder::new(&w.at("encoder"), config)?,
            quant_conv,
            post_quant_conv: Conv2d::new(&w.at("post_quant_conv"), e, z, 1)?,
            decoder: Decoder::new(&w.at("decoder"), config)?,
            codebook,
            proj,
            bounds,
            kind: w.kind(),
            arithmetic: w.arithmetic(),
            config: config.clone(),
        })
    }

    pub fn config(&self) -> &VqganConfig {
        &self.config
    }

    /// The codebook, float32 [n, e].
    pub fn codebook(&self) -> &Tensor {
        &self.codebook
    }

    /// What the convolutions get: in their kind, and laid out as they are quickest.
    fn input(&self, x: &Tensor) -> Tensor {
        let x = x.to_kind(self.kind);
        match self.arithmetic {
            Arithmetic::Original => x,
            Arithmetic::Fast => channels_last(&x),
        }
    }

    /// The encoder alone: x in [-1, 1] [B, 3, H, W] → [B, z, H/f, W/f].
    pub fn encoder_out(&self, x: &Tensor) -> Tensor {
        self.encoder.forward(&self.input(x)).to_kind(Kind::Float)
    }

    /// The encoder and `quant_conv`: x in [-1, 1] → [B, e, H/f, W/f], before quantising.
    pub fn prequant(&self, x: &Tensor) -> Tensor {
        let h = self.encoder.forward(&self.input(x));
        self.quant_conv.forward(&h).to_kind(Kind::Float)
    }

    /// The Gumbel quantiser's logits for `prequant` output, [B, n, h, w]; none for VQ.
    pub fn gumbel_logits(&self, prequant: &Tensor) -> Option<Tensor> {
        let proj = self.proj.as_ref()?;
        Some(proj.forward(&prequant.to_kind(self.kind)).to_kind(Kind::Float))
    }

    /// The code of each cell that encoding picks, int64 [B, h, w]: the nearest row, or the
    /// largest logit (without noise, so that encoding is deterministic).
    pub fn encode_indices(&self, prequant: &Tensor) -> Tensor {
        match self.gumbel_logits(prequant) {
            Some(logits) => logits.argmax(1, false),
            None => self.nearest(prequant),
        }
    }

    /// The decoder's own output, in about [-1, 1].
    pub fn decoder_out(&self, z_q: &Tensor) -> Tensor {
        let h = self.post_quant_conv.forward(&self.input(z_q));
        self.decoder.forward(&h).to_kind(Kind::Float)
    }
}

impl Generator for Vqgan {
    fn factor(&self) -> i64 {
        self.config.factor()
    }

    fn channels(&self) -> i64 {
        self.config.embed_dim
    }

    fn codes(&self) -> i64 {
        self.config.n_embed
    }

    fn rows(&self, indices: &Tensor) -> Tensor {
        let size = indices.size();
        self.codebook
            .index_select(0, &indices.flatten(0, -1))
            .view([size[0], size[1], size[2], self.config.embed_dim])
            // Channels last in memory, and so the decoder computes: as the original's does.
            .permute([0, 3, 1, 2])
    }

    /// By ‖x‖² + ‖c‖² − 2x·c, in float32 whatever the networks compute in.
    fn nearest(&self, z: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let square = |t: &Tensor, keep| -> Tensor {
                t.square().sum_dim_intlist([-1i64].as_slice(), keep, None)
            };
            let x = z.permute([0, 2, 3, 1]);
            let distance: Tensor = square(&x, true) + square(&self.codebook, false)
                - 2.0 * x.matmul(&self.codebook.tr());
            distance.argmin(-1, false)
        })
    }

    fn bounds(&self) -> (&Tensor, &Tensor) {
        (&self.bounds.0, &self.bounds.1)
    }

    fn decode(&self, z_q: &Tensor) -> Tensor {
        (self.decoder_out(z_q) + 1.0) / 2.0
    }

    fn decode_steps(&self) -> Vec<Step<'_>> {
        let mut steps: Vec<Step<'_>> =
            vec![Box::new(|z_q| self.post_quant_conv.forward(&self.input(z_q)))];
        steps.extend(self.decoder.steps());
        steps.push(Box::new(|h| (h.to_kind(Kind::Float) + 1.0) / 2.0));
        steps
    }

    fn encode(&self, image: &Tensor) -> Tensor {
        tch::no_grad(|| {
            let prequant = self.prequant(&(image * 2.0 - 1.0));
            self.rows(&self.encode_indices(&prequant))
        })
    }
}
