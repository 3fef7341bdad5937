//! Renders prompts through the farm's own loop.

use anyhow::{Context, Result};
use tch::{Device, Tensor};
use vqfarm_core::render::{Cutouts, Precision, RenderSettings};
use vqfarm_engine::{ModelWeights, Picture, Session};

use crate::data::SIZE;
use crate::models::Demo;

/// The loop's settings that suit the demo models; `examples/sweep.toml` repeats them.
pub fn settings() -> RenderSettings {
    RenderSettings {
        size: [SIZE, SIZE],
        iterations: 150,
        generator: "demo-f8".into(),
        perceptors: vec!["demo-clip".into()],
        cutouts: Cutouts { count: 8, ..Cutouts::default() },
        step_size: 0.1,
        ..RenderSettings::default()
    }
}

/// One picture a prompt, [N, 3, SIZE, SIZE] in [0, 1], each from a seed of its own; on a CPU
/// on as many threads as there are cores.
///
/// # Errors
/// The settings make no sense, or libtorch fails.
pub fn render(
    demo: &Demo,
    prompts: &[&str],
    settings: &RenderSettings,
    device: Device,
) -> Result<Tensor> {
    let (weights, _) = ModelWeights::new(
        &demo.generator,
        &[&demo.perceptor],
        device,
        if device.is_cuda() { Precision::Tf32 } else { Precision::Float32 },
    )?;
    let pictures: Vec<Picture> = (0..)
        .zip(prompts)
        .map(|(seed, prompt)| {
            Picture::new(RenderSettings { prompt: (*prompt).to_owned(), seed, ..settings.clone() })
        })
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let lanes = if device.is_cuda() { 1 } else { cores };
    let share = pictures.len().div_ceil(lanes).max(1);
    let images = std::thread::scope(|scope| {
        let lanes: Vec<_> = pictures
            .chunks(share)
            .map(|pictures| {
                let weights = weights.share();
                scope.spawn(move || -> Result<Tensor> {
                    let models = weights.build()?;
                    let mut session = Session::new(&models, pictures)?;
                    while !session.done() {
                        session.step()?;
                    }
                    Ok(session.images()?.detach())
                })
            })
            .collect();
        lanes
            .into_iter()
            .map(|lane| lane.join().ok().context("a thread that renders has panicked")?)
            .collect::<Result<Vec<_>>>()
    })?;
    Ok(Tensor::cat(&images, 0))
}
