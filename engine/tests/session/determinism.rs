//! The same picture, whatever it is rendered with, on and after.

use tch::Device;
use vqfarm_core::render::{
    Augmentation, CutoutMethod, Cutouts, InitWeightForm, Optimizer, Precision,
};
use vqfarm_engine::session::Options;
use vqfarm_engine::{ModelWeights, Picture, Session};

use crate::tiny::{latent, latents, photo, picture, run, same, settings, vit};

/// Three pictures that differ in all that a batch may differ in.
fn different() -> Vec<Picture> {
    let mut shaped = picture(|s| {
        s.seed = 3;
        s.prompt = "a boat".into();
        s.mask = Some("mask.png".into());
        s.init = vqfarm_core::render::Init::Image("photo.png".into());
    });
    shaped.init = Some(photo(30, 20));
    shaped.mask = Some(image::GrayImage::from_fn(8, 8, |x, _| image::Luma([x as u8 * 36])));
    vec![
        picture(|s| s.seed = 1),
        picture(|s| {
            s.seed = 2;
            s.prompt = "the sea:2 | blurry:-0.4:-0.9 ^ a tower".into();
            s.init_weight = 0.3;
        }),
        shaped,
    ]
}

#[test]
fn a_batch_equals_its_pictures_alone_in_any_order() {
    let models = vit();
    let pictures = different();
    let together = latents(&models, &pictures);
    let back: Vec<_> = pictures.iter().rev().cloned().collect();
    let reversed = latents(&models, &back);
    for (b, picture) in pictures.iter().enumerate() {
        let alone = latent(&models, picture);
        assert!(same(&alone, &together.narrow(0, b as i64, 1)), "picture {b} in a batch");
        assert!(same(&alone, &reversed.narrow(0, 2 - b as i64, 1)), "picture {b} reversed");
    }
    let distinct = |a: i64, b: i64| !same(&together.narrow(0, a, 1), &together.narrow(0, b, 1));
    assert!(distinct(0, 1) && distinct(1, 2) && distinct(0, 2));
}

#[test]
fn the_number_of_threads_that_libtorch_is_told_changes_nothing() {
    let models = vit();
    // One small picture, and one that more than one thread computes.
    for side in [40, 176] {
        let picture = picture(|s| {
            s.size = [side, side];
            s.iterations = 2;
        });
        let runs: Vec<_> = [1, 2, 3]
            .into_iter()
            .map(|threads| {
                tch::set_num_threads(threads);
                latent(&models, &picture)
            })
            .collect();
        assert!(same(&runs[0], &runs[1]) && same(&runs[0], &runs[2]), "side {side}");
    }
}

#[test]
fn pictures_rendered_on_threads_of_their_own_equal_those_rendered_in_turn() {
    let read = |stem: &str| {
        let file = format!("{}/tests/fixtures/{stem}.safetensors", env!("CARGO_MANIFEST_DIR"));
        vqfarm_weights::read(file.as_ref()).unwrap()
    };
    let generator = vqfarm_weights::vqgan::canonical(read("vqgan_vq_f4"), None).unwrap();
    let clip = vqfarm_weights::clip::canonical(read("clip_vit"), None).unwrap();
    let (weights, warning) =
        ModelWeights::new(&generator, &[&clip], Device::Cpu, Precision::Float32).unwrap();
    assert_eq!(warning, None);

    // Without texts: this perceptor's vocabulary is too small for the tokenizer.
    let pictures: Vec<_> = (0..4)
        .map(|seed| {
            let mut picture = picture(|s| {
                s.seed = seed;
                s.prompt = String::new();
                s.size = [176, 160];
                s.iterations = 2;
                s.image_prompts = serde_json::from_str(r#"[{"image": "photo.png"}]"#).unwrap();
            });
            picture.image_prompts = vec![photo(40, 30)];
            picture
        })
        .collect();
    let in_turn = latents(&weights.build(Options::default()).unwrap(), &pictures);
    let at_once: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = pictures
            .iter()
            .map(|picture| {
                let weights = weights.share();
                scope.spawn(move || latent(&weights.build(Options::default()).unwrap(), picture))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (b, own) in at_once.iter().enumerate() {
        assert!(same(own, &in_turn.narrow(0, b as i64, 1)), "picture {b}");
    }
}

const OPTIMIZERS: [Optimizer; 8] = [
    Optimizer::Adam,
    Optimizer::AdamW,
    Optimizer::Adagrad,
    Optimizer::Adamax,
    Optimizer::RMSprop,
    Optimizer::RAdam,
    Optimizer::DiffGrad,
    Optimizer::AdamP,
];

#[test]
fn a_picture_saved_midway_goes_on_as_if_nothing_had_happened() {
    let models = vit();
    for optimizer in OPTIMIZERS {
        let mut pictures = different();
        // One batch is enough; the others show that each optimiser's memory is kept.
        pictures.truncate(if optimizer == Optimizer::Adam { 3 } else { 1 });
        pictures.iter_mut().for_each(|picture| picture.settings.optimizer = optimizer);
        let whole = latents(&models, &pictures);

        let mut first = Session::new(&models, &pictures).unwrap();
        first.step().unwrap();
        first.step().unwrap();
        let mut saved = first.save();
        drop(first);
        // Each goes on alone: the batch is no part of a picture.
        for (b, picture) in pictures.iter().enumerate().rev() {
            let mut session = Session::new(&models, std::slice::from_ref(picture)).unwrap();
            session.restore(&[saved.remove(b)]).unwrap();
            assert_eq!(session.iteration(), 2);
            while !session.done() {
                session.step().unwrap();
            }
            let resumed = session.latents();
            assert!(same(&resumed, &whole.narrow(0, b as i64, 1)), "{optimizer:?}, picture {b}");
        }
    }
}

#[test]
fn every_cutout_method_and_init_form_gives_the_same_in_a_batch() {
    let models = vit();
    for method in [
        CutoutMethod::Original,
        CutoutMethod::Updated,
        CutoutMethod::Nrupdated,
        CutoutMethod::Updatedpooling,
    ] {
        let pictures: Vec<_> = (0..2)
            .map(|seed| {
                picture(|s| {
                    s.seed = seed;
                    s.iterations = 2;
                    s.cutouts = Cutouts { method, count: 3, ..Cutouts::default() };
                    s.init_weight = 0.5;
                    s.init_weight_form = InitWeightForm::Decay;
                })
            })
            .collect();
        let together = latents(&models, &pictures);
        for (b, picture) in pictures.iter().enumerate() {
            let alone = latent(&models, picture);
            assert!(same(&alone, &together.narrow(0, b as i64, 1)), "{method:?}, picture {b}");
        }
    }
}

#[test]
fn seeds_frames_and_iterations_draw_different_numbers() {
    let models = vit();
    let first = latent(&models, &picture(|_| ()));
    assert!(!same(&first, &latent(&models, &picture(|s| s.seed = 9))));
    let mut next_frame = picture(|_| ());
    next_frame.frame = 1;
    assert!(!same(&first, &latent(&models, &next_frame)));
}

#[test]
fn every_augmentation_runs_in_the_loop() {
    use Augmentation::*;
    let models = vit();
    let all = picture(|s| {
        s.iterations = 2;
        s.cutouts.augmentations = Some(vec![Ji, Sh, Gn, Pe, Ro, Af, Et, Ts, Cr, Er, Re]);
    });
    let session = run(&models, std::slice::from_ref(&all));
    assert_eq!(session.pictures().unwrap()[0].dimensions(), (48, 40));
    assert!(same(&session.latents(), &latent(&models, &all)));
    assert_eq!(settings().size, [48, 40]);
}
