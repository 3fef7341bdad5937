//! The tensors of a CLIP, by the constructors of OpenAI's code.

use super::config::{ClipConfig, VisionLayers};
use crate::fit::Spec;

pub(crate) fn spec(config: &ClipConfig) -> Spec {
    let mut spec = Spec::default();
    match config.vision_layers {
        VisionLayers::Vit(layers) => vit(&mut spec, config, layers),
        VisionLayers::ResNet(stages) => resnet(&mut spec, config, stages),
    }
    let width = config.transformer_width;
    spec.add("token_embedding.weight", &[config.vocab_size, width]);
    spec.add("positional_embedding", &[config.context_length, width]);
    transformer(&mut spec, "transformer", width, config.transformer_layers);
    spec.pair("ln_final", &[width]);
    spec.add("text_projection", &[width, config.embed_dim]);
    spec
}

fn vit(spec: &mut Spec, config: &ClipConfig, layers: i64) {
    let width = config.vision_width;
    let patch = config.vision_patch_size.unwrap_or(1);
    let grid = config.image_resolution / patch;
    spec.add("visual.class_embedding", &[width]);
    spec.add("visual.positional_embedding", &[grid * grid + 1, width]);
    spec.add("visual.conv1.weight", &[width, 3, patch, patch]);
    spec.pair("visual.ln_pre", &[width]);
    transformer(spec, "visual.transformer", width, layers);
    spec.pair("visual.ln_post", &[width]);
    spec.add("visual.proj", &[width, config.embed_dim]);
}

fn transformer(spec: &mut Spec, name: &str, width: i64, layers: i64) {
    for layer in 0..layers {
        let block = format!("{name}.resblocks.{layer}");
        spec.pair(&format!("{block}.ln_1"), &[width]);
        spec.add(format!("{block}.attn.in_proj_weight"), &[3 * width, width]);
        spec.add(format!("{block}.attn.in_proj_bias"), &[3 * width]);
        spec.pair(&format!("{block}.attn.out_proj"), &[width, width]);
        spec.pair(&format!("{block}.ln_2"), &[width]);
        spec.pair(&format!("{block}.mlp.c_fc"), &[4 * width, width]);
        spec.pair(&format!("{block}.mlp.c_proj"), &[width, 4 * width]);
    }
}

fn resnet(spec: &mut Spec, config: &ClipConfig, stages: [i64; 4]) {
    let width = config.vision_width;
    let half = width / 2;
    for (i, (from, to)) in [(3, half), (half, half), (half, width)].into_iter().enumerate() {
        convolve(spec, &format!("visual.conv{}", i + 1), [to, from, 3, 3]);
        normalise(spec, &format!("visual.bn{}", i + 1), to);
    }
    let mut from = width;
    for (stage, blocks) in stages.into_iter().enumerate() {
        let planes = width << stage;
        for block in 0..blocks {
            let name = format!("visual.layer{}.{block}", stage + 1);
            let shapes = [[planes, from, 1, 1], [planes, planes, 3, 3], [4 * planes, planes, 1, 1]];
            for (i, shape) in shapes.into_iter().enumerate() {
                convolve(spec, &format!("{name}.conv{}", i + 1), shape);
                normalise(spec, &format!("{name}.bn{}", i + 1), shape[0]);
            }
            // The first block of each stage changes the width or the resolution.
            if block == 0 {
                convolve(spec, &format!("{name}.downsample.0"), [4 * planes, from, 1, 1]);
                normalise(spec, &format!("{name}.downsample.1"), 4 * planes);
            }
            from = 4 * planes;
        }
    }
    let grid = config.image_resolution / 32;
    spec.add("visual.attnpool.positional_embedding", &[grid * grid + 1, from]);
    for part in ["q", "k", "v"] {
        spec.pair(&format!("visual.attnpool.{part}_proj"), &[from, from]);
    }
    spec.pair("visual.attnpool.c_proj", &[config.embed_dim, from]);
}

fn convolve(spec: &mut Spec, name: &str, shape: [i64; 4]) {
    spec.add(format!("{name}.weight"), &shape);
}

/// A batch normalisation, with the statistics that it uses when it does not train.
fn normalise(spec: &mut Spec, name: &str, channels: i64) {
    spec.pair(name, &[channels]);
    spec.add(format!("{name}.running_mean"), &[channels]);
    spec.add(format!("{name}.running_var"), &[channels]);
}
