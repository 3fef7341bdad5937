//! Renders prompts through the farm's own loop.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor};
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::render::RenderSettings;
use vqfarm_engine::session::Options;
use vqfarm_engine::{ModelWeights, Picture, Session};

use crate::data::SIZE;
use crate::models::Demo;

/// The `[render]` table of a job file, for pictures of the demo models' size, with assignments
/// such as `render.iterations=50`.
///
/// # Errors
/// The file is missing or no job; an assignment makes no sense.
pub fn settings(job: &Path, assignments: &[String]) -> Result<RenderSettings> {
    let bytes = std::fs::read(job).with_context(|| format!("read {}", job.display()))?;
    let mut document = Document::parse(&job.to_string_lossy(), &bytes)?;
    for assignment in assignments {
        document.set(assignment)?;
    }
    let folder = job.parent().unwrap_or(Path::new("."));
    let job = document.job(Limits::default(), |file| std::fs::read(folder.join(file)))?;
    Ok(RenderSettings { size: [SIZE, SIZE], ..job.render })
}

/// One picture a prompt, [N, 3, SIZE, SIZE] in [0, 1], each from a seed of its own, the first from
/// the settings' seed, in the settings' precision, by sessions with these options; on a CPU on as many
/// threads as there are cores.
///
/// # Errors
/// The settings make no sense, the device does not know the precision, or libtorch fails.
pub fn render(
    demo: &Demo,
    prompts: &[&str],
    settings: &RenderSettings,
    device: Device,
    options: Options,
) -> Result<Tensor> {
    let (weights, warning) =
        ModelWeights::new(&demo.generator, &[&demo.perceptor], device, settings.precision)?;
    ensure!(warning.is_none(), warning.unwrap_or_default());
    let pictures: Vec<Picture> = (settings.seed..)
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
                    let models = weights.build(options)?;
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
