//! The tensors of a VQGAN and of a CLIP: names as published, shapes by the configuration,
//! and how they start.

use vqfarm_weights::clip::{ClipConfig, VisionLayers};
use vqfarm_weights::vqgan::VqganConfig;

use super::params::{Spec, Start};

struct Layout(Vec<Spec>);

impl Layout {
    fn add(&mut self, name: String, shape: &[i64], start: Start) {
        self.0.push(Spec { name, shape: shape.to_vec(), start });
    }

    /// Unit gain, or `gain` of it.
    fn conv(&mut self, name: &str, inputs: i64, outputs: i64, kernel: i64, gain: f64) {
        let std = gain / ((inputs * kernel * kernel) as f64).sqrt();
        let shape = [outputs, inputs, kernel, kernel];
        self.add(format!("{name}.weight"), &shape, Start::Normal(std));
        self.add(format!("{name}.bias"), &[outputs], Start::Constant(0.0));
    }

    fn norm(&mut self, name: &str, channels: i64) {
        self.add(format!("{name}.weight"), &[channels], Start::Constant(1.0));
        self.add(format!("{name}.bias"), &[channels], Start::Constant(0.0));
    }

    fn linear(&mut self, name: &str, inputs: i64, outputs: i64, std: f64) {
        self.add(format!("{name}.weight"), &[outputs, inputs], Start::Normal(std));
        self.add(format!("{name}.bias"), &[outputs], Start::Constant(0.0));
    }

    fn resnet_block(&mut self, name: &str, inputs: i64, outputs: i64) {
        self.norm(&format!("{name}.norm1"), inputs);
        self.conv(&format!("{name}.conv1"), inputs, outputs, 3, 1.4);
        self.norm(&format!("{name}.norm2"), outputs);
        // Blocks start near the identity.
        self.conv(&format!("{name}.conv2"), outputs, outputs, 3, 0.4);
        if inputs != outputs {
            self.conv(&format!("{name}.nin_shortcut"), inputs, outputs, 1, 1.0);
        }
    }

    fn attention(&mut self, name: &str, channels: i64) {
        self.norm(&format!("{name}.norm"), channels);
        for (part, gain) in [("q", 1.0), ("k", 1.0), ("v", 1.0), ("proj_out", 0.4)] {
            self.conv(&format!("{name}.{part}"), channels, channels, 1, gain);
        }
    }

    fn middle(&mut self, name: &str, channels: i64) {
        self.resnet_block(&format!("{name}.mid.block_1"), channels, channels);
        self.attention(&format!("{name}.mid.attn_1"), channels);
        self.resnet_block(&format!("{name}.mid.block_2"), channels, channels);
    }

    /// Returns the channels it leaves.
    fn level(
        &mut self,
        name: &str,
        blocks: i64,
        mut inputs: i64,
        outputs: i64,
        attend: bool,
    ) -> i64 {
        for i in 0..blocks {
            self.resnet_block(&format!("{name}.block.{i}"), inputs, outputs);
            if attend {
                self.attention(&format!("{name}.attn.{i}"), outputs);
            }
            inputs = outputs;
        }
        inputs
    }

    fn transformer(&mut self, name: &str, layers: i64, width: i64) {
        let w = width as f64;
        let residual = (w * 2.0 * layers as f64).powf(-0.5);
        for i in 0..layers {
            let block = format!("{name}.resblocks.{i}");
            self.norm(&format!("{block}.ln_1"), width);
            let weight = format!("{block}.attn.in_proj_weight");
            self.add(weight, &[3 * width, width], Start::Normal(w.powf(-0.5)));
            let bias = format!("{block}.attn.in_proj_bias");
            self.add(bias, &[3 * width], Start::Constant(0.0));
            self.linear(&format!("{block}.attn.out_proj"), width, width, residual);
            self.norm(&format!("{block}.ln_2"), width);
            self.linear(&format!("{block}.mlp.c_fc"), width, 4 * width, (2.0 * w).powf(-0.5));
            self.linear(&format!("{block}.mlp.c_proj"), 4 * width, width, residual);
        }
    }
}

/// The trainable tensors of a VQ VQGAN: all but the codebook, which follows running means.
pub fn vqgan(c: &VqganConfig) -> Vec<Spec> {
    let mut l = Layout(Vec::new());
    let levels = c.ch_mult.len();
    let attends = |level: usize| c.attn_resolutions.contains(&(c.resolution >> level));
    l.conv("encoder.conv_in", c.in_channels, c.ch, 3, 1.0);
    let mut channels = c.ch;
    for (i, mult) in c.ch_mult.iter().enumerate() {
        let name = format!("encoder.down.{i}");
        channels = l.level(&name, c.num_res_blocks, channels, c.ch * mult, attends(i));
        if i + 1 < levels {
            l.conv(&format!("{name}.downsample.conv"), channels, channels, 3, 1.0);
        }
    }
    l.middle("encoder", channels);
    l.norm("encoder.norm_out", channels);
    l.conv("encoder.conv_out", channels, c.z_channels, 3, 1.0);
    l.conv("quant_conv", c.z_channels, c.embed_dim, 1, 1.0);
    l.conv("post_quant_conv", c.embed_dim, c.z_channels, 1, 1.0);
    l.conv("decoder.conv_in", c.z_channels, channels, 3, 1.0);
    l.middle("decoder", channels);
    for (i, mult) in c.ch_mult.iter().enumerate().rev() {
        let name = format!("decoder.up.{i}");
        channels = l.level(&name, c.num_res_blocks + 1, channels, c.ch * mult, attends(i));
        if i > 0 {
            l.conv(&format!("{name}.upsample.conv"), channels, channels, 3, 1.0);
        }
    }
    l.norm("decoder.norm_out", channels);
    l.conv("decoder.conv_out", channels, c.out_ch, 3, 0.5);
    l.0
}

/// The trainable tensors of a CLIP with a ViT, started as in OpenAI's code.
pub fn clip(c: &ClipConfig) -> Vec<Spec> {
    let mut l = Layout(Vec::new());
    let (VisionLayers::Vit(layers), Some(patch)) = (&c.vision_layers, c.vision_patch_size) else {
        unreachable!("the demo's perceptors are ViTs");
    };
    let (width, side) = (c.vision_width, c.image_resolution / patch);
    let scale = Start::Normal((width as f64).powf(-0.5));
    let fan_in = (3 * patch * patch) as f64;
    l.add(
        "visual.conv1.weight".into(),
        &[width, 3, patch, patch],
        Start::Normal(fan_in.powf(-0.5)),
    );
    l.add("visual.class_embedding".into(), &[width], scale);
    l.add("visual.positional_embedding".into(), &[side * side + 1, width], scale);
    l.norm("visual.ln_pre", width);
    l.transformer("visual.transformer", *layers, width);
    l.norm("visual.ln_post", width);
    l.add("visual.proj".into(), &[width, c.embed_dim], scale);

    let width = c.transformer_width;
    l.add("token_embedding.weight".into(), &[c.vocab_size, width], Start::Normal(0.02));
    l.add("positional_embedding".into(), &[c.context_length, width], Start::Normal(0.01));
    l.transformer("transformer", c.transformer_layers, width);
    l.norm("ln_final", width);
    let std = (width as f64).powf(-0.5);
    l.add("text_projection".into(), &[width, c.embed_dim], Start::Normal(std));
    // exp of it multiplies the cosines.
    l.add("logit_scale".into(), &[], Start::Constant((1.0f64 / 0.07).ln()));
    l.0
}
