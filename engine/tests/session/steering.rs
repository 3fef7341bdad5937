//! What prompts, stops, phases, masks and starts do to a picture.

use image::{GrayImage, Luma};
use tch::{Kind, Tensor};
use vqfarm_core::render::{
    ImagePrompt, Init, InitWeightForm, NoisePrompt, Optimizer, RenderSettings,
};
use vqfarm_engine::{Picture, Session};

use crate::tiny::{latent, models, photo, picture, run, same, start, vit};

fn losses(picture: &Picture) -> Vec<f64> {
    let models = vit();
    let mut session = Session::new(&models, std::slice::from_ref(picture)).unwrap();
    let mut totals = Vec::new();
    while !session.done() {
        session.step().unwrap();
        totals.push(session.losses().unwrap()[0].total());
    }
    totals
}

#[test]
fn the_loss_falls() {
    let picture = picture(|s| {
        s.iterations = 12;
        s.cutouts.augmentations = Some(Vec::new());
        s.cutouts.noise = 0.0;
    });
    let losses = losses(&picture);
    assert!(losses[11] < losses[0], "{losses:?}");
}

#[test]
fn a_negative_weight_pushes_away() {
    let distance = |weight: f64| {
        let picture = picture(|s| {
            s.prompt = format!("a red sun:{weight}");
            s.iterations = 12;
            s.cutouts.augmentations = Some(Vec::new());
            s.cutouts.noise = 0.0;
        });
        let losses = losses(&picture);
        (losses[0] / weight, losses[11] / weight)
    };
    let (before, after) = distance(-1.0);
    assert!(after > before, "{before} to {after}");
    let (before, after) = distance(1.0);
    assert!(after < before, "{before} to {after}");
}

#[test]
fn a_stop_that_is_reached_leaves_the_picture_alone() {
    let models = vit();
    let stopped = picture(|s| s.prompt = "a red sun:1:9".into());
    assert!(same(&latent(&models, &stopped), &start(&models, &stopped)));
    let session = run(&models, &[stopped]);
    assert!(session.losses().unwrap()[0].total() > 0.0, "the loss itself is still told");
    let pulled = picture(|s| s.prompt = "a red sun:1:0".into());
    assert!(!same(&latent(&models, &pulled), &start(&models, &pulled)));
}

#[test]
fn phases_take_their_turns() {
    let models = vit();
    let after = |prompt: &str, phase: u32, steps: u32| {
        let picture = picture(|s| {
            s.prompt = prompt.into();
            s.phase_iterations = phase;
        });
        let mut session = Session::new(&models, &[picture]).unwrap();
        (0..steps).for_each(|_| session.step().unwrap());
        session.latents()
    };
    // Shared evenly, four iterations are two and two.
    assert!(same(&after("sun ^ moon", 0, 2), &after("sun", 0, 2)));
    assert!(!same(&after("sun ^ moon", 0, 3), &after("sun", 0, 3)));
    assert!(same(&after("sun ^ moon", 3, 3), &after("sun", 0, 3)));
    assert!(!same(&after("sun ^ moon", 1, 2), &after("sun", 0, 2)));
    // The last phase lasts to the end.
    assert!(same(&after("sun ^ sun", 1, 4), &after("sun", 0, 4)));
}

#[test]
fn losses_are_told_by_perceptor_and_prompt_and_added() {
    let both = models(&["clip_vit", "clip_rn"]);
    let picture = picture(|s| {
        s.prompt = "sun | sea:0.5 | fog:-0.1".into();
        s.perceptors = vec!["a".into(), "b".into()];
        s.noise_prompts = vec![NoisePrompt { seed: 4, weight: 0.2 }];
        s.init_weight = 0.1;
    });
    let session = run(&both, std::slice::from_ref(&picture));
    let losses = session.losses().unwrap().remove(0);
    assert_eq!(losses.prompts.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
    assert!(losses.prompts.iter().all(|p| p[0] > 0.0 && p[2] < 0.0 && p[3] > 0.0));
    assert!(losses.init > 0.0);
    let sum = losses.init + losses.prompts.iter().flatten().sum::<f64>();
    assert_eq!(losses.total(), sum);
    let (one, other) = (models(&["clip_vit"]), models(&["clip_rn"]));
    let moved = session.latents();
    assert!(!same(&moved, &latent(&one, &picture)) && !same(&moved, &latent(&other, &picture)));
}

#[test]
fn an_image_prompt_pulls_towards_the_picture() {
    let mut picture = picture(|s| {
        s.prompt = String::new();
        s.image_prompts = vec![ImagePrompt { image: "photo.png".into(), weight: 1.0, stop: None }];
        s.iterations = 12;
        s.cutouts.augmentations = Some(Vec::new());
        s.cutouts.noise = 0.0;
    });
    picture.image_prompts = vec![photo(64, 48)];
    let losses = losses(&picture);
    assert!(losses[11] < losses[0], "{losses:?}");
}

#[test]
fn what_a_mask_hides_does_not_move_by_a_bit() {
    let models = vit();
    // AdamW's weight decay would move also what has no gradient.
    for optimizer in [Optimizer::Adam, Optimizer::AdamW, Optimizer::AdamP, Optimizer::DiffGrad] {
        let mut picture = picture(|s| {
            s.optimizer = optimizer;
            s.mask = Some("mask.png".into());
        });
        picture.mask =
            Some(GrayImage::from_fn(48, 40, |x, _| Luma([if x < 24 { 0 } else { 255 }])));
        let (before, after) = (start(&models, &picture), latent(&models, &picture));
        let halves = |z: &Tensor| (z.narrow(3, 0, 6).contiguous(), z.narrow(3, 6, 6).contiguous());
        let ((left, right), (left_after, right_after)) = (halves(&before), halves(&after));
        assert!(same(&left, &left_after), "{optimizer:?}");
        assert!(!same(&right, &right_after), "{optimizer:?}");
    }
}

#[test]
fn a_white_mask_is_no_mask() {
    let models = vit();
    let plain = picture(|_| ());
    let mut white = picture(|s| s.mask = Some("mask.png".into()));
    white.mask = Some(GrayImage::from_pixel(3, 5, Luma([255])));
    assert!(same(&latent(&models, &plain), &latent(&models, &white)));
}

#[test]
fn init_weight_pulls_towards_the_start_or_towards_zero() {
    let models = vit();
    let norm = |z: &Tensor| z.square().mean(Kind::Float).double_value(&[]);
    let run = |weight: f64, form| {
        let picture = picture(|s| {
            s.init_weight = weight;
            s.init_weight_form = form;
            s.optimizer = Optimizer::Adagrad;
            s.iterations = 6;
        });
        (latent(&models, &picture), start(&models, &picture))
    };
    let (free, z0) = run(0.0, InitWeightForm::Mse);
    let (held, _) = run(1e6, InitWeightForm::Mse);
    assert!(norm(&(held - &z0)) < norm(&(&free - &z0)));
    let (shrunk, _) = run(1e6, InitWeightForm::Decay);
    assert!(norm(&shrunk) < norm(&free));
}

#[test]
fn every_start_is_a_latent_of_the_codebook_and_of_its_seed() {
    let models = vit();
    let of = |init: Init, seed: u64| {
        let mut picture = picture(|s| (s.init, s.seed) = (init, seed));
        if matches!(picture.settings.init, Init::Image(_)) {
            picture.init = Some(photo(20, 50));
        }
        start(&models, &picture)
    };
    for init in [Init::Random, Init::Noise, Init::Gradient, Init::Image("photo.png".into())] {
        let z = of(init.clone(), 1);
        assert_eq!(z.size(), [1, models.generator.channels(), 10, 12]);
        let nearest = models.generator.rows(&models.generator.nearest(&z));
        assert!(same(&z.contiguous(), &nearest.contiguous()), "{init:?}");
        let again = same(&z, &of(init.clone(), 2));
        assert_eq!(again, matches!(init, Init::Image(_)), "{init:?}");
    }
}

#[test]
fn sizes_round_down_to_the_factor() {
    let models = vit();
    let picture = picture(|s| s.size = [51, 43]);
    let session = Session::new(&models, &[picture]).unwrap();
    assert_eq!(session.size(), [48, 40]);
    assert_eq!(session.images().unwrap().size(), [1, 3, 40, 48]);
}

#[test]
fn scores_compare_pictures_with_their_texts() {
    let models = vit();
    let score = |prompt: &str| {
        let picture = picture(|s: &mut RenderSettings| {
            s.prompt = prompt.into();
            s.noise_prompts = vec![NoisePrompt { seed: 1, weight: 0.1 }];
        });
        let session = run(&models, &[picture]);
        assert_eq!(session.scores().unwrap(), session.scores().unwrap());
        session.scores().unwrap()[0]
    };
    assert!(score("a red sun").is_some_and(|s| (-1.0..=1.0).contains(&s)));
    assert_eq!(score("fog:-1"), None);
    assert_eq!(score(""), None);
}

#[test]
fn a_text_that_is_too_long_is_told() {
    let models = vit();
    let long = "word ".repeat(40);
    let session = Session::new(&models, &[picture(|s| s.prompt = long.clone())]).unwrap();
    assert!(matches!(session.warnings(), [one] if one.contains("only the beginning")));
    let short = Session::new(&models, &[picture(|_| ())]).unwrap();
    assert!(short.warnings().is_empty());
}

#[test]
fn each_stage_is_told_once_an_iteration() {
    use std::sync::mpsc;
    use vqfarm_engine::session::Stage::*;
    let models = vit();
    let (send, stages) = mpsc::channel();
    let mut session = Session::new(&models, &[picture(|s| s.iterations = 1)]).unwrap();
    session.set_clock(Box::new(move |stage| send.send(stage).unwrap()));
    session.step().unwrap();
    let order = [Synthesise, Cut, Perceive, PerceiveBack, CutBack, SynthesiseBack, Update];
    assert_eq!(stages.try_iter().collect::<Vec<_>>(), order);
}
