//! Iterations by numbers drawn ahead are those drawn as they are needed.

use tch::Tensor;
use vqfarm_core::render::{CutoutMethod, Cutouts, InitWeightForm, Optimizer, RenderSettings};
use vqfarm_engine::session::Options;
use vqfarm_engine::{Models, Picture, Session};

use crate::tiny::{models, photo, picture, same};

fn ahead(models: Models) -> Models {
    models.with_options(Options { ahead: Some(true), ..Options::default() })
}

/// The session after so many iterations.
fn after<'m>(models: &'m Models, picture: &Picture, iterations: u32) -> Session<'m> {
    let mut session = Session::new(models, std::slice::from_ref(picture)).unwrap();
    (0..iterations).for_each(|_| session.step().unwrap());
    session
}

/// How far two latents are apart, by how far they have moved.
fn apart(a: &Tensor, b: &Tensor, start: &Tensor) -> f64 {
    ((a - b).norm() / (b - start).norm()).double_value(&[])
}

type Change = Box<dyn FnOnce(&mut RenderSettings)>;

/// What decides which numbers an iteration has.
fn every_kind() -> Vec<(String, Change)> {
    let mut kinds: Vec<(String, Change)> = Vec::new();
    for optimizer in [
        Optimizer::Adam,
        Optimizer::AdamW,
        Optimizer::Adagrad,
        Optimizer::Adamax,
        Optimizer::DiffGrad,
        Optimizer::AdamP,
        Optimizer::RAdam,
        Optimizer::RMSprop,
    ] {
        kinds.push((format!("{optimizer:?}"), Box::new(move |s| s.optimizer = optimizer)));
    }
    for method in [
        CutoutMethod::Original,
        CutoutMethod::Updated,
        CutoutMethod::Nrupdated,
        CutoutMethod::Updatedpooling,
    ] {
        let cutouts = Cutouts { method, count: 4, ..Cutouts::default() };
        kinds.push((format!("{method:?}"), Box::new(move |s| s.cutouts = cutouts)));
    }
    for form in [InitWeightForm::Mse, InitWeightForm::Decay] {
        let change = move |s: &mut RenderSettings| {
            (s.init_weight, s.init_weight_form) = (0.7, form);
        };
        kinds.push((format!("{form:?}"), Box::new(change)));
    }
    let phases = |s: &mut RenderSettings| {
        s.prompt = "a red sun ^ a blue moon ^ fog".into();
        s.phase_iterations = 2;
    };
    kinds.push(("phases".into(), Box::new(phases)));
    kinds
}

#[test]
fn every_kind_of_iteration_is_the_same_by_numbers_drawn_ahead() {
    let (host, device) = (models(&["clip_vit"]), ahead(models(&["clip_vit"])));
    for (name, change) in every_kind() {
        let mut picture = picture(change);
        picture.settings.iterations = 6;
        let start = Session::new(&host, std::slice::from_ref(&picture)).unwrap().latents();
        // The first gradients, before optimisers magnify what rounding left of small ones.
        let first = [&host, &device].map(|m| after(m, &picture, 1).gradients().unwrap());
        let gradients = apart(&first[1], &first[0], &first[0].zeros_like());
        assert!(gradients < 2e-3, "{name}: gradients are {gradients} apart");
        let (a, b) = (after(&host, &picture, 6), after(&device, &picture, 6));
        let latents = apart(&b.latents(), &a.latents(), &start);
        assert!(latents < 0.05, "{name}: latents are {latents} apart");
        let losses = [a, b].map(|session| session.losses().unwrap()[0].total());
        assert!((losses[1] / losses[0] - 1.0).abs() < 1e-2, "{name}: {losses:?}");
    }
}

#[test]
fn masks_hold_and_what_is_saved_goes_on() {
    let models = ahead(models(&["clip_vit", "clip_rn"]));
    let mut picture = picture(|s| s.mask = Some("mask".into()));
    picture.settings.iterations = 40;
    picture.init = Some(photo(48, 40));
    picture.mask =
        Some(image::GrayImage::from_fn(48, 40, |x, _| image::Luma([if x < 24 { 0 } else { 255 }])));
    let whole = after(&models, &picture, 36);
    let start = Session::new(&models, std::slice::from_ref(&picture)).unwrap().latents();
    let kept = |latents: &Tensor| latents.narrow(3, 0, 5);
    assert!(same(&kept(&whole.latents()).contiguous(), &kept(&start).contiguous()));
    assert!((whole.latents() - &start).abs().max().double_value(&[]) > 0.0);

    // Past the numbers that were drawn together at first, and from the middle of others.
    let saved = after(&models, &picture, 33).save();
    let mut rest = Session::new(&models, std::slice::from_ref(&picture)).unwrap();
    rest.restore(&saved).unwrap();
    (0..3).for_each(|_| rest.step().unwrap());
    assert!(same(&rest.latents(), &whole.latents()));
}

#[test]
fn pictures_drawn_ahead_are_the_same_alone_and_beside_others() {
    let models = ahead(models(&["clip_vit"]));
    let pictures = [1, 2].map(|seed| picture(|s| s.seed = seed));
    let mut together = Session::new(&models, &pictures).unwrap();
    (0..3).for_each(|_| together.step().unwrap());
    for (b, picture) in (0..).zip(&pictures) {
        let own = together.latents().narrow(0, b, 1);
        assert!(same(&own, &after(&models, picture, 3).latents()));
    }
}
