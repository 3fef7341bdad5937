//! Kind `loop`: whole iterations, by the session that renders pictures, with the originals'
//! latent, tokens and crops put in place of its own.

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};
use vqfarm_core::render::{CutoutMethod, Cutouts, InitWeightForm, RenderSettings};
use vqfarm_core::rng::Key;
use vqfarm_engine::cutouts::Cutter;
use vqfarm_engine::cutouts::crops::{Crop, cut_out};
use vqfarm_engine::cutouts::resample::resample_in_steps;
use vqfarm_engine::model::{Generator, Perceptor};
use vqfarm_engine::net::Clip;
use vqfarm_engine::perception::{Cut, MakeCut};
use vqfarm_engine::session::SavedPicture;
use vqfarm_engine::{Models, Picture, Session};

use crate::fixture::Fixture;
use crate::loss::Case;
use crate::report::{BLOCK, LOOP, NETWORK, Report};
use crate::{clip, optimizers, vqgan};

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let steps: u32 = fixture.json("steps")?;
    let cases: Vec<Case> = fixture.json("prompts")?;
    let init_weight: f64 = fixture.json("init_weight")?;
    ensure!(steps > 0 && !cases.is_empty(), "it has no step or no prompt");

    let generator = vqgan::load(&fixture.sibling(&fixture.text("vqgan")?)?)?;
    let clip = clip::load(&fixture.sibling(&fixture.text("clip")?)?)?;
    let z0 = fixture.tensor("z0")?;
    let (_, _, h, w) = z0.size4()?;
    let rows = generator.rows(&fixture.tensor("init_indices")?.unsqueeze(0));
    report.exact("z0", &rows, &z0);

    let factor = generator.factor();
    let picture = Picture::new(RenderSettings {
        prompt: cases.iter().enumerate().map(written).collect::<Vec<_>>().join("|"),
        size: [(w * factor) as u32, (h * factor) as u32],
        iterations: steps,
        optimizer: optimizers::by_name(&fixture.text("optimizer")?)?,
        step_size: fixture.json("lr")?,
        init_weight,
        init_weight_form: InitWeightForm::Mse,
        ..RenderSettings::default()
    });
    let perceptor = Tokenized { clip, tokens: fixture.tensor("tokens")? };
    let models = Models::new(Box::new(generator), vec![Box::new(perceptor)], z0.device());
    let mut session = Session::with_cutouts(&models, &[picture], &*cutouts(fixture)?)?;
    session.restore(&[from_start(&session, &z0)])?;

    for i in 0..steps {
        let expected = |name: &str| fixture.tensor(&format!("{name}.{i}"));
        report.close(format!("image.{i}"), &session.images()?, &expected("image")?, NETWORK);
        session.step()?;
        let losses = session.losses()?.remove(0);
        let own: Vec<f64> = (init_weight != 0.0)
            .then_some(losses.init)
            .into_iter()
            .chain(losses.prompts.into_iter().flatten())
            .collect();
        let own = Tensor::from_slice(&own).to_kind(Kind::Float);
        report.close(format!("losses.{i}"), &own, &expected("losses")?, loss_tolerance(i));
        let gradient = session.gradients().context("no gradient")?;
        report.close(format!("grad.{i}"), &gradient, &expected("grad")?, LOOP);
        report.close(format!("z.{i}"), &session.latents(), &expected("z")?, LOOP);
    }
    Ok(())
}

/// The first iteration's losses follow from whole networks; later ones from the loop.
fn loss_tolerance(step: u32) -> f64 {
    if step == 0 { BLOCK.max(NETWORK) } else { LOOP }
}

/// A prompt whose text is the number of its row of tokens.
fn written((row, case): (usize, &Case)) -> String {
    let stop = case.stop.map_or("-inf".to_owned(), |stop| stop.to_string());
    format!("{row}:{}:{stop}", case.weight)
}

/// A fresh state whose latent starts at `z0`.
fn from_start(session: &Session, z0: &Tensor) -> SavedPicture {
    let mut saved = session.save().remove(0);
    for name in ["z", "start"] {
        saved.tensors.insert(name.to_owned(), z0.copy());
    }
    saved
}

/// A perceptor whose texts are rows of given tokens.
struct Tokenized {
    clip: Clip,
    tokens: Tensor,
}

impl Perceptor for Tokenized {
    fn resolution(&self) -> i64 {
        self.clip.resolution()
    }

    fn encode_image(&self, normalised: &Tensor) -> Tensor {
        self.clip.encode_image(normalised)
    }

    fn encode_text(&self, text: &str) -> vqfarm_engine::Result<(Tensor, bool)> {
        let row: i64 = text.parse().unwrap_or(i64::MAX);
        let tokens = self.tokens.f_narrow(0, row, 1)?;
        Ok((tch::no_grad(|| self.clip.encode_tokens(&tokens)), false))
    }

    fn normalisation(&self) -> ([f64; 3], [f64; 3]) {
        self.clip.normalisation()
    }
}

/// Crops at given places, those of each iteration [count, 3] as (size, x, y).
struct Boxes {
    size: i64,
    iterations: Vec<Vec<Crop>>,
}

impl Cut for Boxes {
    fn count(&self) -> i64 {
        self.iterations[0].len() as i64
    }

    fn clamps(&self) -> bool {
        true
    }

    fn cut(&self, images: &Tensor, keys: &[Key]) -> Tensor {
        let crops = &self.iterations[keys[0].iteration as usize];
        cut_out(&images.get(0), crops, self.size, resample_in_steps)
    }
}

/// The cutouts that a fixture asks for.
fn cutouts(fixture: &Fixture) -> Result<Box<MakeCut<'static>>> {
    let count: u32 = fixture.json("cut_n")?;
    match fixture.text("cutouts")?.as_str() {
        "pooled" => {
            let settings = Cutouts {
                method: CutoutMethod::Latest,
                count,
                augmentations: Some(Vec::new()),
                noise: 0.0,
                ..Cutouts::default()
            };
            Ok(Box::new(move |size| Ok(Box::new(Cutter::new(&settings, size)?))))
        }
        "original" => {
            let boxes = fixture.tensor("boxes")?;
            let (_, rows, _) = boxes.size3()?;
            ensure!(rows == i64::from(count), "`boxes` holds {rows} crops, `cut_n` says {count}");
            let numbers = fixture.integers("boxes")?;
            let crops: Vec<Crop> =
                numbers.chunks(3).map(|b| Crop { size: b[0], x: b[1], y: b[2] }).collect();
            let iterations: Vec<Vec<Crop>> =
                crops.chunks(count as usize).map(<[Crop]>::to_vec).collect();
            Ok(Box::new(move |size| Ok(Box::new(Boxes { size, iterations: iterations.clone() }))))
        }
        other => bail!("cutouts `{other}` are unknown here"),
    }
}
