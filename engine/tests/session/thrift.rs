//! With little memory the same pictures come out.

use std::num::NonZero;

use tch::{Device, Kind, Tensor};
use vqfarm_core::render::{CutoutMethod, Cutouts};
use vqfarm_engine::net::{Clip, RandomWeights, Vqgan, Weights};
use vqfarm_engine::session::{Losses, Stage};
use vqfarm_engine::{Models, Picture, Session};
use vqfarm_weights::clip::{Activation, ClipConfig, VisionLayers};
use vqfarm_weights::memory::{Decoder, Thrift};
use vqfarm_weights::vqgan::VqganConfig;

use crate::tiny::{models, photo, picture, same};

const CHECKPOINTED: Thrift = Thrift { decoder: Decoder::Checkpointed, cutouts_at_once: None };

/// Shares of so many cutouts: one by one, and such that the last is a smaller one.
fn shares(cutouts: u32) -> [Thrift; 2] {
    let of = |decoder, n| Thrift { decoder, cutouts_at_once: NonZero::new(n) };
    [of(Decoder::Whole, cutouts * 2 / 3), of(Decoder::Checkpointed, 1)]
}

struct Made {
    latents: Tensor,
    gradients: Tensor,
    losses: Vec<Losses>,
}

fn make(models: &Models, pictures: &[Picture], thrift: Thrift) -> Made {
    let mut session = Session::new(models, pictures).unwrap();
    session.set_thrift(thrift);
    while !session.done() {
        session.step().unwrap();
    }
    let gradients = session.gradients().unwrap();
    Made { latents: session.latents(), gradients, losses: session.losses().unwrap() }
}

/// Nothing changes where the same operations are done again.
fn assert_same(models: &Models, pictures: &[Picture]) {
    let plain = make(models, pictures, Thrift::default());
    let made = make(models, pictures, CHECKPOINTED);
    assert!(same(&made.gradients, &plain.gradients) && same(&made.latents, &plain.latents));
    assert_eq!(made.losses, plain.losses);
}

/// Where cutouts are looked at in shares libtorch rounds otherwise. An optimiser makes much of a
/// rounded gradient, so one iteration is compared.
fn assert_close(models: &Models, pictures: &[Picture], cutouts: u32) {
    let mut pictures = pictures.to_vec();
    pictures.iter_mut().for_each(|picture| picture.settings.iterations = 1);
    let plain = make(models, &pictures, Thrift::default());
    for thrift in shares(cutouts) {
        let made = make(models, &pictures, thrift);
        let error = (made.gradients - &plain.gradients).abs().max() / plain.gradients.abs().max();
        let error = error.double_value(&[]);
        assert!(error < 1e-5, "{thrift}: {error}");
        for (a, b) in made.losses.iter().zip(&plain.losses) {
            let close = (a.total() - b.total()).abs() <= 1e-6 * b.total().abs().max(1.0);
            assert!(close, "{thrift}: {a:?} and {b:?}");
        }
    }
}

#[test]
fn every_frugal_way_gives_the_same_pictures() {
    let models = models(&["clip_vit", "clip_rn"]);
    for method in [CutoutMethod::Latest, CutoutMethod::Original, CutoutMethod::Nrupdated] {
        let pictures: Vec<_> = (0..2)
            .map(|seed| {
                let mut picture = picture(|s| {
                    s.seed = seed;
                    s.iterations = 3;
                    s.init_weight = 0.3;
                    // The photograph has an embedding for each of its cutouts.
                    s.image_prompts = serde_json::from_str(r#"[{"image": "photo.png"}]"#).unwrap();
                    s.cutouts = Cutouts { method, count: 10, ..Cutouts::default() };
                });
                picture.image_prompts = vec![photo(40, 30)];
                picture
            })
            .collect();
        assert_same(&models, &pictures);
        assert_close(&models, &pictures, 10);
    }
}

#[test]
fn a_stop_holds_each_cutout_by_itself_whatever_is_looked_at_with_it() {
    let models = models(&["clip_vit"]);
    let of = |stop: &str| {
        picture(|s| {
            s.prompt = format!("a boat:1:{stop} | blurry:-0.4:-0.9");
            s.iterations = 1;
            s.cutouts.count = 10;
        })
    };
    let distance = |picture: &Picture| {
        let made = make(&models, std::slice::from_ref(picture), Thrift::default());
        made.losses[0].prompts[0][0]
    };
    // About half of the cutouts are nearer than their mean, and so at the stop.
    let picture = of(&format!("{:.3}", distance(&of("-9"))));
    let free = make(&models, &[of("-9")], Thrift::default());
    let held = make(&models, std::slice::from_ref(&picture), Thrift::default());
    let nothing = make(&models, &[of("9")], Thrift::default());
    assert!(!same(&held.gradients, &free.gradients), "some are held");
    assert!(!same(&held.gradients, &nothing.gradients), "and some are not");
    assert_same(&models, std::slice::from_ref(&picture));
    assert_close(&models, &[picture], 10);
}

#[test]
fn stages_are_told_for_each_share_of_the_cutouts() {
    let models = models(&["clip_vit"]);
    let mut session = Session::new(&models, &[picture(|s| s.cutouts.count = 9)]).unwrap();
    session.set_thrift(Thrift { cutouts_at_once: NonZero::new(4), ..Thrift::default() });
    let (told, heard) = std::sync::mpsc::channel();
    session.set_clock(Box::new(move |stage| told.send(stage).unwrap()));
    session.step().unwrap();
    drop(session);
    let perceived = heard.iter().filter(|stage| *stage == Stage::Perceive).count();
    assert_eq!(perceived, 3, "4, 4 and 1");
}

/// The published networks' widths at a fraction of their depth, where libtorch takes the kernels
/// that it takes for them.
fn wide() -> Models {
    let weights = RandomWeights::new(1, Device::Cpu);
    let weights = Weights::random(&weights, Kind::Float).fast();
    let generator = VqganConfig {
        ch_mult: vec![1, 2, 4],
        num_res_blocks: 1,
        attn_resolutions: vec![64],
        n_embed: 512,
        ..VqganConfig::imagenet_f16_16384()
    };
    let perceptor = ClipConfig {
        embed_dim: 512,
        image_resolution: 224,
        vision_layers: VisionLayers::Vit(2),
        vision_width: 768,
        vision_patch_size: Some(32),
        context_length: 77,
        vocab_size: 49_408,
        transformer_width: 64,
        transformer_heads: 1,
        transformer_layers: 1,
        activation: Activation::QuickGelu,
    };
    let generator = Vqgan::new(&weights, &generator).unwrap();
    let perceptor = Clip::new(&weights, &perceptor).unwrap();
    Models::new(Box::new(generator), vec![Box::new(perceptor)], Device::Cpu)
}

#[test]
fn networks_of_real_width_give_the_same_pictures() {
    let models = wide();
    let of = |side: u32, cutouts: u32| {
        picture(|s| {
            s.size = [side, side];
            s.iterations = 1;
            s.cutouts.count = cutouts;
        })
    };
    // One size for each number of threads.
    assert_same(&models, &[of(64, 4)]);
    assert_same(&models, &[of(176, 4)]);
    assert_close(&models, &[of(64, 12)], 12);
}
