//! The tensors of a VQGAN, by the constructors of its published code.

use super::config::{Quantizer, VqganConfig};
use crate::fit::Spec;

pub(crate) fn spec(config: &VqganConfig) -> Spec {
    let VqganConfig { z_channels, embed_dim, n_embed, .. } = *config;
    let mut spec = Spec::default();
    encoder(&mut spec, config);
    decoder(&mut spec, config);
    let encoded = if config.double_z { 2 * z_channels } else { z_channels };
    spec.pair("quant_conv", &[embed_dim, encoded, 1, 1]);
    spec.pair("post_quant_conv", &[z_channels, embed_dim, 1, 1]);
    match config.quantizer {
        Quantizer::Vq => spec.add("quantize.embedding.weight", &[n_embed, embed_dim]),
        Quantizer::Gumbel => {
            spec.add("quantize.embed.weight", &[n_embed, embed_dim]);
            spec.pair("quantize.proj", &[n_embed, z_channels, 1, 1]);
        }
    }
    spec
}

/// Channels and attention of each level, finest first.
fn levels(config: &VqganConfig) -> Vec<(i64, bool)> {
    let level = |(i, mult): (usize, &i64)| {
        (config.ch * mult, config.attn_resolutions.contains(&(config.resolution >> i)))
    };
    config.ch_mult.iter().enumerate().map(level).collect()
}

fn encoder(spec: &mut Spec, config: &VqganConfig) {
    spec.pair("encoder.conv_in", &[config.ch, config.in_channels, 3, 3]);
    let levels = levels(config);
    let mut channels = config.ch;
    for (i, &(width, attention)) in levels.iter().enumerate() {
        let level = format!("encoder.down.{i}");
        for block in 0..config.num_res_blocks {
            residual(spec, &format!("{level}.block.{block}"), channels, width);
            channels = width;
            if attention {
                attend(spec, &format!("{level}.attn.{block}"), width);
            }
        }
        if i + 1 < levels.len() {
            spec.pair(&format!("{level}.downsample.conv"), &[width, width, 3, 3]);
        }
    }
    middle(spec, "encoder", channels);
    spec.pair("encoder.norm_out", &[channels]);
    let encoded = if config.double_z { 2 * config.z_channels } else { config.z_channels };
    spec.pair("encoder.conv_out", &[encoded, channels, 3, 3]);
}

fn decoder(spec: &mut Spec, config: &VqganConfig) {
    let levels = levels(config);
    let mut channels = levels.last().map_or(config.ch, |&(width, _)| width);
    spec.pair("decoder.conv_in", &[channels, config.z_channels, 3, 3]);
    middle(spec, "decoder", channels);
    for (i, &(width, attention)) in levels.iter().enumerate().rev() {
        let level = format!("decoder.up.{i}");
        // One block more than the encoder has.
        for block in 0..=config.num_res_blocks {
            residual(spec, &format!("{level}.block.{block}"), channels, width);
            channels = width;
            if attention {
                attend(spec, &format!("{level}.attn.{block}"), width);
            }
        }
        if i > 0 {
            spec.pair(&format!("{level}.upsample.conv"), &[width, width, 3, 3]);
        }
    }
    spec.pair("decoder.norm_out", &[channels]);
    spec.pair("decoder.conv_out", &[config.out_ch, channels, 3, 3]);
}

fn middle(spec: &mut Spec, side: &str, channels: i64) {
    residual(spec, &format!("{side}.mid.block_1"), channels, channels);
    attend(spec, &format!("{side}.mid.attn_1"), channels);
    residual(spec, &format!("{side}.mid.block_2"), channels, channels);
}

fn residual(spec: &mut Spec, name: &str, from: i64, to: i64) {
    spec.pair(&format!("{name}.norm1"), &[from]);
    spec.pair(&format!("{name}.conv1"), &[to, from, 3, 3]);
    spec.pair(&format!("{name}.norm2"), &[to]);
    spec.pair(&format!("{name}.conv2"), &[to, to, 3, 3]);
    if from != to {
        spec.pair(&format!("{name}.nin_shortcut"), &[to, from, 1, 1]);
    }
}

fn attend(spec: &mut Spec, name: &str, channels: i64) {
    spec.pair(&format!("{name}.norm"), &[channels]);
    for part in ["q", "k", "v", "proj_out"] {
        spec.pair(&format!("{name}.{part}"), &[channels, channels, 1, 1]);
    }
}
