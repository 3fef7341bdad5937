//! Models of a few thousand weights, and settings that take a blink.

use std::path::PathBuf;

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::{Cutouts, RenderSettings};
use vqfarm_engine::model::Perceptor;
use vqfarm_engine::net::{Clip, Vqgan, Weights, to_tensors};
use vqfarm_engine::{Models, Picture, Session, tokenizer};

/// A fixture as the file of weights that it is.
pub fn checkpoint(stem: &str) -> vqfarm_weights::Checkpoint {
    let file = format!("tests/fixtures/{stem}.safetensors");
    vqfarm_weights::read(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn generator() -> Vqgan {
    let model = vqfarm_weights::vqgan::canonical(checkpoint("vqgan_vq_f4"), None).unwrap();
    let tensors = to_tensors(&model.state, Device::Cpu).unwrap();
    Vqgan::new(&Weights::new(&tensors, Kind::Float).fast(), &model.config).unwrap()
}

fn perceptor(stem: &str) -> FewTokens {
    let model = vqfarm_weights::clip::canonical(checkpoint(stem), None).unwrap();
    let tensors = to_tensors(&model.state, Device::Cpu).unwrap();
    FewTokens(Clip::new(&Weights::new(&tensors, Kind::Float).fast(), &model.config).unwrap())
}

/// One generator and the perceptors of these fixtures.
pub fn models(perceptors: &[&str]) -> Models {
    let perceptors =
        perceptors.iter().map(|stem| -> Box<dyn Perceptor> { Box::new(perceptor(stem)) }).collect();
    Models::new(Box::new(generator()), perceptors, Device::Cpu)
}

pub fn vit() -> Models {
    models(&["clip_vit"])
}

/// A CLIP with a small vocabulary: the real tokens are folded into it, the end stays largest.
struct FewTokens(Clip);

impl Perceptor for FewTokens {
    fn resolution(&self) -> i64 {
        self.0.resolution()
    }

    fn encode_image(&self, normalised: &Tensor) -> Tensor {
        self.0.encode_image(normalised)
    }

    fn encode_text(&self, text: &str) -> vqfarm_engine::Result<(Tensor, bool)> {
        let config = self.0.config();
        let row = tokenizer::encode(text, config.context_length as usize);
        let end = row.ids.iter().copied().max().unwrap_or_default();
        let fold = |id: &i64| if *id == end { config.vocab_size - 1 } else { id % 200 };
        let ids: Vec<i64> = row.ids.iter().map(fold).collect();
        let features = self.0.encode_tokens(&Tensor::from_slice(&ids).unsqueeze(0));
        Ok((features.detach(), row.truncated))
    }

    fn normalisation(&self) -> ([f64; 3], [f64; 3]) {
        self.0.normalisation()
    }
}

/// A few iterations at 48×40 with the method `latest`, its augmentations and noise.
pub fn settings() -> RenderSettings {
    RenderSettings {
        prompt: "a red sun over the sea".into(),
        size: [48, 40],
        iterations: 4,
        cutouts: Cutouts { count: 4, ..Cutouts::default() },
        ..RenderSettings::default()
    }
}

pub fn picture(change: impl FnOnce(&mut RenderSettings)) -> Picture {
    let mut settings = settings();
    change(&mut settings);
    Picture::new(settings)
}

/// A photograph, as far as the engine can tell.
pub fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(x * 5 % 256) as u8, (y * 7 % 256) as u8, ((x * y) % 256) as u8])
    })
}

/// Runs to the end and returns the session.
pub fn run<'m>(models: &'m Models, pictures: &[Picture]) -> Session<'m> {
    let mut session = Session::new(models, pictures).unwrap();
    while !session.done() {
        session.step().unwrap();
    }
    session
}

/// The final latents of pictures rendered together.
pub fn latents(models: &Models, pictures: &[Picture]) -> Tensor {
    run(models, pictures).latents()
}

/// The final latent of a picture rendered alone.
pub fn latent(models: &Models, picture: &Picture) -> Tensor {
    latents(models, std::slice::from_ref(picture))
}

/// Where a picture starts.
pub fn start(models: &Models, picture: &Picture) -> Tensor {
    Session::new(models, std::slice::from_ref(picture)).unwrap().latents()
}

/// Equality to the bit, which `==` on floats is but for zeros and NaN.
pub fn same(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && a.view_dtype(Kind::Int).equal(&b.view_dtype(Kind::Int))
}
