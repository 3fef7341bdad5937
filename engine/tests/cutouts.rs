//! Cutouts are a pure function of image, settings and key, on any number of threads and in
//! any batch; and they do what their settings say.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::sync::Mutex;

use tch::{Kind, Tensor};
use vqfarm_core::render::{AugmentStyle, Augmentation, CutoutMethod, Cutouts};
use vqfarm_core::rng::{Key, Purpose};
use vqfarm_engine::cutouts::Cutter;

/// libtorch's number of threads belongs to the whole process.
static THREADS: Mutex<()> = Mutex::new(());

const ALL: [Augmentation; 11] = {
    use Augmentation::*;
    [Ji, Sh, Gn, Pe, Ro, Af, Et, Ts, Cr, Er, Re]
};

const METHODS: [CutoutMethod; 5] = {
    use CutoutMethod::*;
    [Latest, Original, Updated, Nrupdated, Updatedpooling]
};

fn key(seed: u64) -> Key {
    Key::new(seed, Purpose::Init).iteration(3)
}

/// A smooth picture with a little texture, [1, 3, height, width].
fn picture(seed: u64, height: i64, width: i64) -> Tensor {
    let axis = |n: i64| Tensor::arange(n, (Kind::Float, tch::Device::Cpu)) / n as f64;
    let (x, y) = (axis(width).view([1, width]), axis(height).view([height, 1]));
    let mut noise = vec![0f32; (3 * height * width) as usize];
    Key::new(seed, Purpose::Scene).stream().fill_normal(&mut noise);
    let noise = Tensor::from_slice(&noise).view([3, height, width]);
    let ramps = Tensor::stack(&[&x * &y, x * (1.0 - &y), y.expand([height, width], false)], 0);
    (ramps * 0.8 + 0.1 + noise * 0.02).clamp(0.0, 1.0).unsqueeze(0)
}

/// Every method with its own list, and every augmentation by itself, in both styles.
fn every_setting() -> Vec<Cutouts> {
    let mut settings = Vec::new();
    for augment in [AugmentStyle::Original, AugmentStyle::Modern] {
        let base = Cutouts { count: 5, augment, ..Cutouts::default() };
        settings.extend(METHODS.map(|method| Cutouts { method, ..base.clone() }));
        settings.extend(ALL.map(|one| Cutouts { augmentations: Some(vec![one]), ..base.clone() }));
    }
    settings
}

/// The cutouts of some images and the gradient that a fixed cotangent sends back.
fn there_and_back(cutter: &Cutter, images: &Tensor, keys: &[Key]) -> (Tensor, Tensor) {
    let images = images.copy().set_requires_grad(true);
    let cutouts = cutter.cut(&images, keys);
    let cotangent = Tensor::linspace(-1.0, 1.0, 997, (Kind::Float, tch::Device::Cpu))
        .repeat([cutouts.numel() as i64 / keys.len() as i64 / 997 + 1])
        .narrow(0, 0, cutouts.numel() as i64 / keys.len() as i64)
        .repeat([keys.len() as i64])
        .view_as(&cutouts);
    (&cutouts * cotangent).sum(Kind::Float).backward();
    (cutouts.detach(), images.grad())
}

fn assert_same(settings: &Cutouts, what: &str, a: &Tensor, b: &Tensor) {
    assert!(
        a.equal(b),
        "{what} differ by {} for {settings:?}",
        (a - b).abs().max().double_value(&[])
    );
}

#[test]
fn the_same_in_any_batch_and_on_any_number_of_threads() {
    let _alone = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let images = Tensor::cat(&[picture(1, 70, 58), picture(2, 70, 58), picture(3, 70, 58)], 0);
    let keys = [key(1), key(2), key(3)];
    for composed in [false, true] {
        for settings in every_setting() {
            let cutter = Cutter::new(&settings, 50).unwrap().composed(composed);
            tch::set_num_threads(2);
            let (cutouts, gradient) = there_and_back(&cutter, &images, &keys);
            assert!(cutouts.isfinite().all().int64_value(&[]) == 1, "{settings:?}");
            assert!(gradient.isfinite().all().int64_value(&[]) == 1, "{settings:?}");
            tch::set_num_threads(1);
            let (alone, alone_gradient) = there_and_back(&cutter, &images, &keys);
            assert_same(&settings, "cutouts on one thread", &alone, &cutouts);
            assert_same(&settings, "gradients on one thread", &alone_gradient, &gradient);
            for b in 0..3 {
                let image = images.narrow(0, b, 1);
                let (one, one_gradient) = there_and_back(&cutter, &image, &keys[b as usize..][..1]);
                let of_batch = cutouts.narrow(0, 5 * b, 5);
                assert_same(&settings, "cutouts by themselves", &one, &of_batch);
                let of_batch = gradient.narrow(0, b, 1);
                assert_same(&settings, "gradients by themselves", &one_gradient, &of_batch);
            }
        }
    }
}

#[test]
fn the_same_on_any_number_of_threads_at_real_sizes() {
    let _alone = THREADS.lock().unwrap_or_else(|e| e.into_inner());
    let image = picture(1, 288, 400);
    for method in METHODS {
        let settings = Cutouts { method, count: 6, ..Cutouts::default() };
        let cutter = Cutter::new(&settings, 224).unwrap();
        let on = |threads| {
            tch::set_num_threads(threads);
            there_and_back(&cutter, &image, &[key(1)])
        };
        let (cutouts, gradient) = on(1);
        for threads in [2, 3, 4] {
            let (again, again_gradient) = on(threads);
            assert_same(&settings, "cutouts", &again, &cutouts);
            assert_same(&settings, "gradients", &again_gradient, &gradient);
        }
    }
}

#[test]
fn other_keys_make_other_cutouts() {
    let image = picture(1, 80, 80);
    for settings in every_setting().into_iter().filter(|s| {
        // kornia's own crop changes nothing, and the noise is left out here.
        s.augment == AugmentStyle::Modern || s.augmentations != Some(vec![Augmentation::Cr])
    }) {
        let settings = Cutouts { noise: 0.0, count: 16, ..settings };
        let cutter = Cutter::new(&settings, 64).unwrap();
        let cut = |key: Key| cutter.cut(&image, &[key]);
        let first = cut(key(1));
        assert!(first.equal(&cut(key(1))));
        // A step that is tossed for all cutouts at once may pass one iteration by, not ten.
        let differ = |other: Key| !first.equal(&cut(other));
        assert!((4..14).any(|i| differ(key(1).iteration(i))), "{settings:?}");
        assert!((2..12).any(|seed| differ(key(seed))), "{settings:?}");
        assert!((1..11).any(|frame| differ(key(1).frame(frame))), "{settings:?}");
    }
}

#[test]
fn every_image_size_gives_the_perceptors_size() {
    for (height, width) in [(40, 200), (64, 64), (17, 33), (130, 66)] {
        let image = picture(5, height, width);
        for settings in every_setting() {
            let cutter = Cutter::new(&settings, 64).unwrap();
            assert_eq!(cutter.cut(&image, &[key(9)]).size(), [5, 3, 64, 64], "{settings:?}");
        }
    }
}

/// Interpolating once instead of twice keeps more detail, so the two ways agree only as far
/// as the picture is smooth: within a few grey levels here, nearly everywhere.
#[test]
fn composed_sampling_agrees_with_one_step_after_another() {
    let smooth = picture(1, 256, 256).avg_pool2d([9, 9], [1, 1], [0, 0], false, true, None);
    for method in [CutoutMethod::Latest, CutoutMethod::Updatedpooling, CutoutMethod::Updated] {
        for augment in [AugmentStyle::Original, AugmentStyle::Modern] {
            let settings = Cutouts { method, augment, noise: 0.0, count: 24, ..Cutouts::default() };
            let plain = Cutter::new(&settings, 224).unwrap();
            let composed = Cutter::new(&settings, 224).unwrap().composed(true);
            let keys = [key(4)];
            let (a, ga) = there_and_back(&plain, &smooth, &keys);
            let (b, gb) = there_and_back(&composed, &smooth, &keys);
            let apart = (a - b).abs();
            let mean = apart.mean(Kind::Float).double_value(&[]);
            assert!(mean < 2e-3, "{method:?} {augment:?}: {mean} on average");
            let far = apart.gt(0.02).to_kind(Kind::Float).mean(Kind::Float).double_value(&[]);
            assert!(far < 0.01, "{method:?} {augment:?}: {far} of the pixels are far apart");
            let cosine = Tensor::cosine_similarity(&ga.view([1, -1]), &gb.view([1, -1]), 1, 1e-8)
                .double_value(&[0]);
            assert!(cosine > 0.9, "{method:?} {augment:?}: gradients' cosine {cosine}");
        }
    }
}

#[test]
fn noise_has_the_strength_asked_for() {
    let settings = Cutouts { augmentations: Some(vec![]), count: 64, ..Cutouts::default() };
    let image = picture(1, 64, 64);
    let clean = Cutter::new(&Cutouts { noise: 0.0, ..settings.clone() }, 64).unwrap();
    let noisy = Cutter::new(&settings, 64).unwrap();
    let added = noisy.cut(&image, &[key(1)]) - clean.cut(&image, &[key(1)]);
    // U(0, 0.1) a cutout: its deviations spread over that range with a mean of 0.05.
    let deviations = added.flatten(1, 3).std_dim(Some(&[1i64][..]), true, false);
    let (low, high) = (deviations.min().double_value(&[]), deviations.max().double_value(&[]));
    let mean = deviations.mean(Kind::Float).double_value(&[]);
    assert!((0.0..0.02).contains(&low) && (0.08..0.103).contains(&high), "{low} to {high}");
    assert!((mean - 0.05).abs() < 0.012, "{mean}");
    assert!(added.mean(Kind::Float).double_value(&[]).abs() < 1e-3);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let refusal = |settings: Cutouts| match Cutter::new(&settings, 64) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted {settings:?}"),
    };
    assert!(refusal(Cutouts { count: 0, ..Cutouts::default() }).contains("cutouts.count"));
    assert!(refusal(Cutouts { power: f64::NAN, ..Cutouts::default() }).contains("cutouts.power"));
    assert!(refusal(Cutouts { noise: -0.1, ..Cutouts::default() }).contains("cutouts.noise"));
    let original = Cutouts {
        method: CutoutMethod::Original,
        augmentations: Some(vec![Augmentation::Af]),
        ..Cutouts::default()
    };
    assert!(refusal(original).contains("cutouts.augmentations"));
}
