//! Every published file format gives the same weights as the fixture of the same stem.

#![allow(clippy::unwrap_used)]

mod common;

use common::{files, fixture};
use vqfarm_weights::clip::{self, Activation, ClipConfig, VisionLayers};
use vqfarm_weights::vqgan::{self, Quantizer, VqganConfig};
use vqfarm_weights::{Kind, Model, StateDict, read};

fn vqgan_fixture(stem: &str) -> Model<VqganConfig> {
    vqgan::canonical(read(&fixture(&format!("{stem}.safetensors"))).unwrap(), None).unwrap()
}

fn clip_fixture(stem: &str) -> Model<ClipConfig> {
    clip::canonical(read(&fixture(&format!("{stem}.safetensors"))).unwrap(), None).unwrap()
}

/// Equal names, shapes and values, whatever the precision they are stored in.
fn assert_same(found: &StateDict, expected: &StateDict) {
    assert_eq!(found.names().collect::<Vec<_>>(), expected.names().collect::<Vec<_>>());
    for (name, tensor) in found {
        let other = expected.get(name).unwrap();
        assert_eq!(tensor.shape, other.shape, "{name}");
        assert_eq!(tensor.to_f32(), other.to_f32(), "{name}");
    }
}

#[test]
fn lightning_checkpoints_old_and_new_hold_the_vqgan() {
    let expected = vqgan_fixture("vqgan_vq_f4");
    for (file, yaml) in [
        ("vqgan_vq_f4.lightning.ckpt", "vqgan_vq_f4.yaml"),
        ("vqgan_vq_f4.lightning-legacy.ckpt", "vqgan_vq_f4.yaml"),
        ("vqgan_vq_f4.net2net.ckpt", "vqgan_vq_f4.net2net.yaml"),
    ] {
        let config = VqganConfig::read(&files(yaml)).unwrap();
        assert_eq!(config, expected.config, "{yaml}");
        let checkpoint = read(&files(file)).unwrap();
        assert_eq!(Kind::of(&checkpoint), Some(Kind::Vqgan), "{file}");
        let model = vqgan::canonical(checkpoint, Some(config)).unwrap();
        assert_same(&model.state, &expected.state);
        assert!(model.assumed.is_empty(), "{file}");
    }
}

#[test]
fn all_forms_of_a_clip_are_brought_under_openai_names() {
    for (file, stem) in [
        ("clip_vit.openai.pt", "clip_vit"),
        ("clip_rn.openai.pt", "clip_rn"),
        ("clip_vit.hf", "clip_vit"),
        ("clip_vit.open_clip.safetensors", "clip_vit"),
    ] {
        let expected = clip_fixture(stem);
        let checkpoint = read(&files(file)).unwrap();
        assert_eq!(Kind::of(&checkpoint), Some(Kind::Clip), "{file}");
        let stated = clip::canonical(checkpoint.clone(), Some(expected.config.clone())).unwrap();
        assert_same(&stated.state, &expected.state);
        assert_eq!(stated.config, expected.config);

        // Without a config all but heads and activation is found, and these are said to be guesses.
        let inferred = clip::canonical(checkpoint, None).unwrap();
        assert_same(&inferred.state, &expected.state);
        let ClipConfig { transformer_heads, activation, .. } = expected.config;
        let same_sizes = ClipConfig { transformer_heads, activation, ..inferred.config.clone() };
        assert_eq!(same_sizes, expected.config, "{file}");
        if file.ends_with(".hf") {
            assert_eq!(inferred.config, expected.config, "its config.json says the rest");
            assert!(inferred.assumed.is_empty());
        } else {
            assert_eq!(inferred.assumed.len(), 2, "{:?}", inferred.assumed);
        }
    }
}

#[test]
fn batch_statistics_are_among_the_weights() {
    let model = clip::canonical(read(&files("clip_rn.openai.pt")).unwrap(), None).unwrap();
    assert_eq!(model.config.vision_layers, VisionLayers::ResNet([1, 1, 1, 1]));
    assert!(model.state.contains("visual.layer4.0.downsample.1.running_var"));
}

#[test]
fn open_clip_names_imply_gelu_and_openai_archives_quick_gelu() {
    let activation =
        |file| clip::canonical(read(&files(file)).unwrap(), None).unwrap().config.activation;
    assert_eq!(activation("clip_vit.open_clip.safetensors"), Activation::Gelu);
    assert_eq!(activation("clip_vit.openai.pt"), Activation::QuickGelu);
}

#[test]
fn vqgan_sizes_are_inferred_but_for_the_nominal_resolution() {
    for stem in ["vqgan_vq_f4", "vqgan_vq_f16", "vqgan_gumbel_f8"] {
        let mut checkpoint = read(&fixture(&format!("{stem}.safetensors"))).unwrap();
        let expected = vqgan::canonical(checkpoint.clone(), None).unwrap();
        checkpoint.metadata.clear();
        let inferred = vqgan::canonical(checkpoint, None).unwrap();
        assert_same(&inferred.state, &expected.state);
        assert_eq!(inferred.assumed.len(), 1);
        let stretch = 256 / expected.config.resolution;
        let attn_resolutions =
            expected.config.attn_resolutions.iter().map(|side| side * stretch).collect();
        let resolution = 256;
        assert_eq!(
            inferred.config,
            VqganConfig { resolution, attn_resolutions, ..expected.config }
        );
    }
    let gumbel = VqganConfig::read(&files("vqgan_gumbel_f8.yaml")).unwrap();
    assert_eq!(gumbel, vqgan_fixture("vqgan_gumbel_f8").config);
    assert_eq!((gumbel.quantizer, gumbel.factor()), (Quantizer::Gumbel, 8));
}

#[test]
fn weights_that_do_not_fit_the_config_are_refused_by_name() {
    let checkpoint = || read(&files("vqgan_vq_f4.lightning.ckpt")).unwrap();
    let right = VqganConfig::read(&files("vqgan_vq_f4.yaml")).unwrap();
    let refused = |config| vqgan::canonical(checkpoint(), Some(config)).unwrap_err().to_string();

    let message = refused(VqganConfig { n_embed: 1024, ..right.clone() });
    assert!(message.contains("quantize.embedding.weight"), "{message}");
    assert!(message.contains("vqgan_vq_f4.lightning.ckpt"), "{message}");
    let message = refused(VqganConfig { ch_mult: vec![1, 1, 2, 2], ..right.clone() });
    assert!(message.contains("no tensor `encoder."), "{message}");
    let message = refused(VqganConfig { quantizer: Quantizer::Gumbel, ..right.clone() });
    assert!(message.contains("quantizer"), "{message}");
    let message = refused(VqganConfig { ch: -1, ..right });
    assert!(message.contains("`ch`"), "{message}");

    let message = clip::canonical(checkpoint(), None).unwrap_err().to_string();
    assert!(message.contains("no tensor `visual."), "{message}");
}
