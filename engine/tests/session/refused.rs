//! What cannot be rendered is refused with the name of the field.

use image::GrayImage;
use vqfarm_core::render::{Init, NoisePrompt, RenderSettings};
use vqfarm_engine::{Picture, Session};

use crate::tiny::{models, picture, vit};

fn refusal(pictures: &[Picture]) -> String {
    match Session::new(&vit(), pictures) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn settings_out_of_range_are_named() {
    type Change = fn(&mut RenderSettings);
    let table: &[(&str, Change)] = &[
        ("size[0]", |s| s.size = [0, 40]),
        ("size[1]", |s| s.size = [48, 100_000]),
        ("iterations", |s| s.iterations = 0),
        ("step_size", |s| s.step_size = f64::NAN),
        ("step_size", |s| s.step_size = -1.0),
        ("step_size", |s| s.step_size = f64::INFINITY),
        ("init_weight", |s| s.init_weight = f64::NAN),
        ("cutouts.count", |s| s.cutouts.count = 0),
        ("cutouts.power", |s| s.cutouts.power = 0.0),
        ("cutouts.noise", |s| s.cutouts.noise = f64::NAN),
        ("prompt", |s| s.prompt = String::new()),
        ("prompt", |s| s.prompt = "sun ^ ^ moon".into()),
        ("perceptors", |s| s.perceptors.clear()),
        ("noise_prompts[0].weight", |s| {
            s.noise_prompts = vec![NoisePrompt { seed: 1, weight: f64::NAN }];
        }),
        ("image_prompts", |s| {
            s.image_prompts = serde_json::from_str(r#"[{"image": "a.png"}]"#).unwrap();
        }),
        ("init", |s| s.init = Init::Image("a.png".into())),
        ("mask", |s| s.mask = Some("a.png".into())),
    ];
    for (field, change) in table {
        let message = refusal(&[picture(change)]);
        assert!(message.starts_with(field), "{field}: {message}");
    }
}

#[test]
fn a_black_mask_is_refused() {
    let mut black = picture(|s| s.mask = Some("mask.png".into()));
    black.mask = Some(GrayImage::new(4, 4));
    assert!(refusal(&[black]).starts_with("mask: the picture is black everywhere"));
}

#[test]
fn pictures_that_share_no_batch_are_refused() {
    let message = refusal(&[picture(|_| ()), picture(|s| s.size = [64, 40])]);
    assert!(message.starts_with("pictures"), "{message}");
    assert!(refusal(&[]).starts_with("pictures"));
}

#[test]
fn a_session_without_perceptors_is_refused() {
    let models = models(&[]);
    let refused = Session::new(&models, &[picture(|_| ())]).err().unwrap().to_string();
    assert!(refused.starts_with("perceptors"), "{refused}");
}

#[test]
fn a_latent_that_ran_off_is_told_and_not_saved_as_a_picture() {
    let models = vit();
    let mut session = Session::new(&models, &[picture(|_| ())]).unwrap();
    let mut saved = session.save();
    let broken = saved[0].tensors["z"].full_like(f64::NAN);
    saved[0].tensors.insert("z".into(), broken);
    session.restore(&saved).unwrap();
    assert!(session.pictures().unwrap_err().to_string().contains("step_size"));
}

#[test]
fn a_state_of_another_picture_is_refused() {
    let models = vit();
    let small = Session::new(&models, &[picture(|_| ())]).unwrap();
    let mut large = Session::new(&models, &[picture(|s| s.size = [64, 64])]).unwrap();
    let message = large.restore(&small.save()).unwrap_err().to_string();
    assert!(message.contains("`z`"), "{message}");
    assert!(large.restore(&[]).is_err());

    let mut saved = small.save();
    saved[0].tensors.remove("square");
    let mut other = Session::new(&models, &[picture(|_| ())]).unwrap();
    let message = other.restore(&saved).unwrap_err().to_string();
    assert!(message.contains("`square`"), "{message}");
}
