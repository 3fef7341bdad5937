//! Models of the published sizes that have learned nothing: for measuring how long real ones take
//! to be fetched, checked and loaded.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result};
use half::f16;
use serde_json::json;
use vqfarm_core::rng::{Key, Purpose};
use vqfarm_weights::clip::ClipConfig;
use vqfarm_weights::vqgan::VqganConfig;
use vqfarm_weights::{Dtype, StateDict, TensorData};

use crate::train::layout;
use crate::train::params::{Spec, Start};

/// Writes `made-up-vqgan.safetensors`, a 16,384-row f16 VQGAN, and `made-up-clip.safetensors`, a
/// ViT-B/32, into `folder`: 480 MB in float16, twice that in float32.
///
/// # Errors
/// The files cannot be written.
pub fn write(folder: &Path, half: bool) -> Result<()> {
    let config: VqganConfig = serde_json::from_value(json!({
        "double_z": false, "z_channels": 256, "resolution": 256, "in_channels": 3, "out_ch": 3,
        "ch": 128, "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "attn_resolutions": [16],
        "dropout": 0.0, "embed_dim": 256, "n_embed": 16_384, "quantizer": "vq",
    }))?;
    let mut specs = layout::vqgan(&config);
    let codebook = Spec {
        name: "quantize.embedding.weight".into(),
        shape: vec![config.n_embed, config.embed_dim],
        start: Start::Normal(1.0),
    };
    specs.retain(|spec| spec.name != codebook.name);
    specs.push(codebook);
    let metadata = [("kind", "vqgan".to_owned()), ("config", serde_json::to_string(&config)?)];
    file(&folder.join("made-up-vqgan.safetensors"), metadata, &specs, half)?;

    let config: ClipConfig = serde_json::from_value(json!({
        "embed_dim": 512, "image_resolution": 224, "vision_layers": 12, "vision_width": 768,
        "vision_patch_size": 32, "context_length": 77, "vocab_size": 49_408,
        "transformer_width": 512, "transformer_heads": 8, "transformer_layers": 12,
        "activation": "quick_gelu",
    }))?;
    let metadata = [("kind", "clip".to_owned()), ("config", serde_json::to_string(&config)?)];
    file(&folder.join("made-up-clip.safetensors"), metadata, &layout::clip(&config), half)
}

fn file<const N: usize>(
    path: &Path,
    metadata: [(&str, String); N],
    specs: &[Spec],
    half: bool,
) -> Result<()> {
    let metadata: BTreeMap<String, String> =
        metadata.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    let state: StateDict =
        (0..).zip(specs).map(|(at, spec)| (spec.name.clone(), tensor(spec, at, half))).collect();
    let failed = || format!("write {}", path.display());
    let out = File::create(path).with_context(failed)?;
    vqfarm_weights::write_safetensors(BufWriter::new(out), &metadata, &state)
        .with_context(failed)?;
    println!("{}: {} tensors", path.display(), state.len());
    Ok(())
}

fn tensor(spec: &Spec, at: u32, half: bool) -> TensorData {
    let mut values = vec![0f32; spec.shape.iter().product::<i64>() as usize];
    match spec.start {
        Start::Constant(value) => values.fill(value as f32),
        Start::Normal(deviation) => {
            Key::new(1, Purpose::Weights).frame(at).stream().fill_normal(&mut values);
            values.iter_mut().for_each(|value| *value *= deviation as f32);
        }
    }
    let shape: Vec<usize> = spec.shape.iter().map(|&size| size as usize).collect();
    match half {
        true => TensorData {
            shape,
            dtype: Dtype::F16,
            bytes: values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
        },
        false => TensorData::from_f32(shape, &values),
    }
}
