//! CLIP's ResNet: a three-convolution stem, anti-aliased strides and attention pooling.

use tch::{Kind, Tensor};
use vqfarm_weights::clip::{ClipConfig, VisionLayers};

use crate::error::{EngineError, Result};
use crate::net::layers::{Conv2d, Linear, attention, channels_last};
use crate::net::{Arithmetic, Weights};

/// Batch normalisation with the statistics of training.
struct FrozenBatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl FrozenBatchNorm {
    const EPS: f64 = 1e-5;

    fn new(w: &Weights, channels: i64) -> Result<Self> {
        let get = |name| w.get_f32(name, &[channels]);
        Ok(Self {
            weight: get("weight")?,
            bias: get("bias")?,
            mean: get("running_mean")?,
            variance: get("running_var")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        let (mean, variance) = (Some(&self.mean), Some(&self.variance));
        x.batch_norm(weight, bias, mean, variance, false, 0.0, Self::EPS, false)
    }

    /// The convolution that is followed by this.
    fn folded_into(&self, conv: Conv2d, kind: Kind) -> Conv2d {
        let scale = &self.weight / (&self.variance + Self::EPS).sqrt();
        let shift = &self.bias - &self.mean * &scale;
        conv.then(&scale.to_kind(kind), shift.to_kind(kind))
    }
}

/// A convolution without bias and its normalisation, which may be part of it.
struct ConvNorm {
    conv: Conv2d,
    norm: Option<FrozenBatchNorm>,
}

impl ConvNorm {
    fn new(w: &Weights, names: [&str; 2], inputs: i64, outputs: i64, kernel: i64) -> Result<Self> {
        let conv = Conv2d::unbiased(&w.at(names[0]), inputs, outputs, kernel)?;
        let norm = FrozenBatchNorm::new(&w.at(names[1]), outputs)?;
        Ok(match w.arithmetic() {
            Arithmetic::Original => Self { conv, norm: Some(norm) },
            Arithmetic::Fast => Self { conv: norm.folded_into(conv, w.kind()), norm: None },
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        }
    }
}

fn average_pool(x: &Tensor, side: i64) -> Tensor {
    match side {
        1 => x.shallow_clone(),
        _ => x.avg_pool2d([side, side], [side, side], [0, 0], false, true, None),
    }
}

struct Bottleneck {
    conv1: ConvNorm,
    conv2: ConvNorm,
    conv3: ConvNorm,
    downsample: Option<ConvNorm>,
    stride: i64,
}

impl Bottleneck {
    fn new(w: &Weights, inputs: i64, planes: i64, stride: i64) -> Result<Self> {
        let outputs = 4 * planes;
        let downsample = match stride > 1 || inputs != outputs {
            true => Some(ConvNorm::new(&w.at("downsample"), ["0", "1"], inputs, outputs, 1)?),
            false => None,
        };
        Ok(Self {
            conv1: ConvNorm::new(w, ["conv1", "bn1"], inputs, planes, 1)?,
            conv2: ConvNorm::new(w, ["conv2", "bn2"], planes, planes, 3)?,
            conv3: ConvNorm::new(w, ["conv3", "bn3"], planes, outputs, 1)?,
            downsample,
            stride,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let h = self.conv1.forward(x).relu();
        let h = self.conv2.forward(&h).relu();
        let h = self.conv3.forward(&average_pool(&h, self.stride));
        let skip = match &self.downsample {
            Some(down) => down.forward(&average_pool(x, self.stride)),
            None => x.shallow_clone(),
        };
        (h + skip).relu()
    }
}

/// Attention from the mean of all positions to each of them.
struct AttentionPool {
    positional_embedding: Tensor,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    c_proj: Linear,
    heads: i64,
}

impl AttentionPool {
    fn new(w: &Weights, side: i64, width: i64, heads: i64, outputs: i64) -> Result<Self> {
        if heads < 1 || width % heads != 0 {
            return Err(EngineError::Architecture(format!(
                "a width of {width} cannot be split into {heads} heads"
            )));
        }
        Ok(Self {
            positional_embedding: w.get("positional_embedding", &[side * side + 1, width])?,
            q_proj: Linear::new(&w.at("q_proj"), width, width)?,
            k_proj: Linear::new(&w.at("k_proj"), width, width)?,
            v_proj: Linear::new(&w.at("v_proj"), width, width)?,
            c_proj: Linear::new(&w.at("c_proj"), width, outputs)?,
            heads,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = x.flatten(2, 3).transpose(1, 2);
        let mean = x.mean_dim([1i64].as_slice(), true, None);
        let x = Tensor::cat(&[&mean, &x], 1) + &self.positional_embedding;
        let size = x.size();
        let split = |t: Tensor| {
            let tokens = t.size()[1];
            t.view([size[0], tokens, self.heads, size[2] / self.heads]).transpose(1, 2)
        };
        let q = split(self.q_proj.forward(&x.select(1, 0)).unsqueeze(1));
        let (k, v) = (split(self.k_proj.forward(&x)), split(self.v_proj.forward(&x)));
        let out = attention(&q, &k, &v, false).transpose(1, 2).reshape([size[0], size[2]]);
        self.c_proj.forward(&out)
    }
}

pub(super) struct ModifiedResNet {
    stem: [ConvNorm; 3],
    blocks: Vec<Bottleneck>,
    attnpool: AttentionPool,
    arithmetic: Arithmetic,
}

impl ModifiedResNet {
    pub fn new(w: &Weights, c: &ClipConfig) -> Result<Self> {
        let VisionLayers::ResNet(layers) = &c.vision_layers else {
            return Err(EngineError::Architecture("a ResNet needs four layer counts".into()));
        };
        let width = c.vision_width;
        if width % 2 != 0 || c.image_resolution % 32 != 0 {
            return Err(EngineError::Architecture(
                "a ResNet needs an even width and a resolution that 32 divides".into(),
            ));
        }
        let stem = [
            ConvNorm::new(w, ["conv1", "bn1"], 3, width / 2, 3)?,
            ConvNorm::new(w, ["conv2", "bn2"], width / 2, width / 2, 3)?,
            ConvNorm::new(w, ["conv3", "bn3"], width / 2, width, 3)?,
        ];
        let [first, second, third] = stem;
        let first = ConvNorm { conv: first.conv.stride(2), ..first };
        let mut blocks = Vec::new();
        let mut inputs = width;
        for (i, count) in layers.iter().enumerate() {
            let planes = width << i;
            for j in 0..*count {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                let w = w.at(format_args!("layer{}", i + 1)).at(j);
                blocks.push(Bottleneck::new(&w, inputs, planes, stride)?);
                inputs = 4 * planes;
            }
        }
        let heads = width * 32 / 64;
        let side = c.image_resolution / 32;
        let attnpool = AttentionPool::new(&w.at("attnpool"), side, inputs, heads, c.embed_dim)?;
        let arithmetic = w.arithmetic();
        Ok(Self { stem: [first, second, third], blocks, attnpool, arithmetic })
    }

    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = match self.arithmetic {
            Arithmetic::Original => x.shallow_clone(),
            Arithmetic::Fast => channels_last(x),
        };
        let x = self.stem.iter().fold(x, |x, conv| conv.forward(&x).relu());
        let x = self.blocks.iter().fold(average_pool(&x, 2), |x, block| block.forward(&x));
        self.attnpool.forward(&x)
    }
}
