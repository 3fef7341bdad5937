//! A session whose iterations are recorded and repeated, by a recorder that computes again.

use std::cell::RefCell;
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use vqfarm_core::render::{Cutouts, Optimizer, RenderSettings};
use vqfarm_weights::clip::{Activation, ClipConfig, VisionLayers};
use vqfarm_weights::vqgan::{Quantizer, VqganConfig};

use super::graph::{Recorder, Recording, Repeater, World};
use super::{Graphs, Options, Session};
use crate::error::Result;
use crate::net::{Clip, RandomWeights, Vqgan, Weights};
use crate::{Models, Picture};

fn models() -> Models {
    let random = RandomWeights::new(1, Device::Cpu);
    let weights = || Weights::random(&random, Kind::Float).fast();
    let vqgan = VqganConfig {
        double_z: false,
        z_channels: 8,
        resolution: 8,
        in_channels: 3,
        out_ch: 3,
        ch: 32,
        ch_mult: vec![1, 1],
        num_res_blocks: 0,
        attn_resolutions: vec![],
        dropout: 0.0,
        embed_dim: 8,
        n_embed: 16,
        quantizer: Quantizer::Vq,
    };
    let clip = ClipConfig {
        embed_dim: 8,
        image_resolution: 16,
        vision_layers: VisionLayers::Vit(1),
        vision_width: 64,
        vision_patch_size: Some(8),
        context_length: 16,
        vocab_size: 49_408,
        transformer_width: 8,
        transformer_heads: 1,
        transformer_layers: 1,
        activation: Activation::QuickGelu,
    };
    let generator = Box::new(Vqgan::new(&weights(), &vqgan).unwrap());
    let perceptor = Box::new(Clip::new(&weights(), &clip).unwrap());
    Models::new(generator, vec![perceptor], Device::Cpu)
        .with_options(Options { ahead: Some(true), ..Options::default() })
}

fn picture(optimizer: Optimizer) -> Picture {
    Picture::new(RenderSettings {
        prompt: "a red sun ^ a blue moon".into(),
        size: [20, 20],
        iterations: 40,
        phase_iterations: 20,
        optimizer,
        cutouts: Cutouts { count: 2, ..Cutouts::default() },
        ..RenderSettings::default()
    })
}

/// Which iterations were recorded, and how many repeated.
#[derive(Default)]
struct Seen {
    recorded: Vec<i64>,
    repeated: usize,
}

struct Fake(Rc<RefCell<Seen>>);

/// As a graph would, it works on the memory it was recorded with.
struct Again {
    places: Vec<Tensor>,
    seen: Rc<RefCell<Seen>>,
}

fn counter(state: &[Tensor]) -> i64 {
    state.last().unwrap().int64_value(&[0])
}

impl Recorder for Fake {
    fn record(&mut self, world: &mut dyn World) -> Result<Box<dyn Recording>> {
        let places = world.state();
        self.0.borrow_mut().recorded.push(counter(&places));
        Ok(Box::new(Again { places, seen: Rc::clone(&self.0) }))
    }
}

impl Recording for Again {
    fn replay(&self, world: &mut dyn World) -> Result<()> {
        for (recorded, now) in self.places.iter().zip(world.state()) {
            assert_eq!(recorded.data_ptr(), now.data_ptr(), "the state has moved in memory");
        }
        self.seen.borrow_mut().repeated += 1;
        world.step()
    }
}

fn repeating<'m>(models: &'m Models, picture: &Picture) -> (Session<'m>, Rc<RefCell<Seen>>) {
    let seen = Rc::new(RefCell::new(Seen::default()));
    let mut session = Session::new(models, std::slice::from_ref(picture)).unwrap();
    session.repeater = Some(Repeater::new(Box::new(Fake(Rc::clone(&seen)))));
    (session, seen)
}

fn to(session: &mut Session, iteration: u32) {
    while session.iteration() < iteration {
        session.step().unwrap();
    }
}

#[test]
fn repeated_iterations_are_those_made_one_by_one() {
    let models = models();
    // Each has other slots, and most replace them.
    for optimizer in [Optimizer::Adam, Optimizer::Adamax, Optimizer::DiffGrad] {
        let picture = picture(optimizer);
        let mut plain = Session::new(&models, std::slice::from_ref(&picture)).unwrap();
        let (mut session, seen) = repeating(&models, &picture);
        to(&mut plain, 40);
        to(&mut session, 40);
        assert!(session.latents().equal(&plain.latents()), "{optimizer:?}");
        assert_eq!(session.momenta().unwrap(), plain.momenta().unwrap());
        assert_eq!(session.losses().unwrap(), plain.losses().unwrap());
        assert_eq!(session.warnings(), plain.warnings());
        // After warming up, and when the second phase begins.
        assert_eq!(seen.borrow().recorded, [3, 20]);
        assert_eq!(seen.borrow().repeated, 37);
    }
}

#[test]
fn several_groups_are_repeated_together() {
    let models = models();
    let pictures: Vec<Picture> = [1, 2, 3]
        .map(|seed| {
            let mut picture = picture(Optimizer::Adam);
            picture.settings.seed = seed;
            picture
        })
        .into();
    let mut plain = Session::new(&models, &pictures).unwrap();
    let mut session = Session::new(&models, &pictures).unwrap();
    let seen = Rc::new(RefCell::new(Seen::default()));
    session.repeater = Some(Repeater::new(Box::new(Fake(Rc::clone(&seen)))));
    to(&mut plain, 12);
    to(&mut session, 12);
    assert!(session.latents().equal(&plain.latents()));
    assert_eq!((session.latents().size()[0], seen.borrow().repeated), (3, 9));
}

#[test]
fn a_restored_session_is_recorded_anew() {
    let models = models();
    let picture = picture(Optimizer::Adam);
    let mut plain = Session::new(&models, std::slice::from_ref(&picture)).unwrap();
    to(&mut plain, 10);
    let saved = plain.save();
    let (mut session, seen) = repeating(&models, &picture);
    to(&mut session, 5);
    session.restore(&saved).unwrap();
    to(&mut session, 20);
    to(&mut plain, 20);
    assert!(session.latents().equal(&plain.latents()));
    assert_eq!(seen.borrow().recorded, [3, 10]);
}

#[test]
fn only_a_gpu_repeats_by_itself_and_only_if_it_may() {
    let models = models();
    assert_eq!(models.options.graphs, Graphs::Auto);
    assert!(Session::new(&models, &[picture(Optimizer::Adam)]).unwrap().repeater.is_none());
}
