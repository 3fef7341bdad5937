//! CLIP (Radford et al. 2021): a vision tower, ViT or ResNet, and a text tower.
//!
//! Names follow OpenAI's checkpoints (`visual.transformer.resblocks.0.attn.in_proj_weight`).

mod resnet;
mod text;
mod transformer;
mod vit;

use tch::{Device, Kind, Tensor};
use vqfarm_weights::clip::{ClipConfig, VisionLayers};

use self::resnet::ModifiedResNet;
use self::text::TextTower;
use self::vit::VisionTransformer;
use super::Weights;
use crate::error::Result;
use crate::model::Perceptor;
use crate::tokenizer;

enum Visual {
    ViT(VisionTransformer),
    ResNet(Box<ModifiedResNet>),
}

/// A CLIP perceptor.
pub struct Clip {
    config: ClipConfig,
    visual: Visual,
    text: TextTower,
    kind: Kind,
    device: Device,
}

impl Clip {
    /// # Errors
    /// The weights do not fit the configuration; the message names the tensor.
    pub fn new(w: &Weights, config: &ClipConfig) -> Result<Self> {
        let visual = match &config.vision_layers {
            VisionLayers::Vit(_) => Visual::ViT(VisionTransformer::new(&w.at("visual"), config)?),
            VisionLayers::ResNet(_) => {
                Visual::ResNet(Box::new(ModifiedResNet::new(&w.at("visual"), config)?))
            }
        };
        let text = TextTower::new(w, config)?;
        let device = text.device();
        Ok(Self { config: config.clone(), visual, text, kind: w.kind(), device })
    }

    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// Features [N, d] of token rows, int64 [N, context]: each text's feature is taken at
    /// its largest token, the end of text.
    pub fn encode_tokens(&self, tokens: &Tensor) -> Tensor {
        self.text.forward(tokens).to_kind(Kind::Float)
    }
}

impl Perceptor for Clip {
    fn resolution(&self) -> i64 {
        self.config.image_resolution
    }

    fn encode_image(&self, normalised: &Tensor) -> Tensor {
        let x = normalised.to_kind(self.kind);
        match &self.visual {
            Visual::ViT(v) => v.forward(&x),
            Visual::ResNet(v) => v.forward(&x),
        }
        .to_kind(Kind::Float)
    }

    fn encode_text(&self, text: &str) -> Result<(Tensor, bool)> {
        let row = tokenizer::encode(text, self.config.context_length as usize);
        let tokens = Tensor::from_slice(&row.ids).unsqueeze(0).to_device(self.device);
        Ok((tch::no_grad(|| self.encode_tokens(&tokens)), row.truncated))
    }

    fn normalisation(&self) -> ([f64; 3], [f64; 3]) {
        ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    }
}
