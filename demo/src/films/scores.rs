//! How well pictures show their prompts, by the perceptor that made them and by the judge.

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Serialize;
use tch::{Device, Tensor};
use vqfarm_core::prompt;
use vqfarm_engine::image_io::to_tensor;
use vqfarm_engine::net::Clip;

use crate::measure::cosines;
use crate::models::{self, Demo};

/// Mean cosine of pictures and what their prompts ask for.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Scores {
    /// By the perceptor that the loop follows.
    pub perceptor: f64,
    /// By the judge, which the loop never uses.
    pub judge: f64,
}

impl Scores {
    pub(super) fn mean(all: impl ExactSizeIterator<Item = Self> + Clone) -> Self {
        Self {
            perceptor: super::mean(all.clone().map(|scores| scores.perceptor)),
            judge: super::mean(all.map(|scores| scores.judge)),
        }
    }
}

pub struct Judges {
    perceptor: Clip,
    judge: Clip,
    device: Device,
}

impl Judges {
    /// # Errors
    /// libtorch is out of memory.
    pub fn new(demo: &Demo, device: Device) -> Result<Self> {
        let clip = |model| models::clip(model, device);
        Ok(Self { perceptor: clip(&demo.perceptor)?, judge: clip(&demo.judge)?, device })
    }

    /// The scores of pictures of one size, each with its prompt. Of a prompt's parts those count
    /// that are asked for, by their weights.
    ///
    /// # Errors
    /// There is no picture, a prompt cannot be read or asks for nothing, or libtorch fails.
    pub fn scores(&self, pictures: &[RgbImage], prompts: &[String]) -> Result<Scores> {
        let images = pictures.iter().map(|picture| to_tensor(picture, self.device));
        let images = Tensor::cat(&images.collect::<Result<Vec<_>, _>>()?, 0);
        let asked = prompts.iter().map(|prompt| asked(prompt)).collect::<Result<Vec<_>>>()?;
        let mut texts: Vec<&str> = asked.iter().flatten().map(|(text, _)| text.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        let by = |clip: &Clip| -> Result<f64> {
            let cosines = cosines(clip, &images, &texts)?;
            let score = |(picture, asked): (i64, &Vec<(String, f64)>)| {
                let part = |(text, weight): &(String, f64)| {
                    let text = texts.binary_search(&text.as_str()).unwrap_or_default() as i64;
                    weight * cosines.double_value(&[picture, text])
                };
                asked.iter().map(part).sum::<f64>()
            };
            Ok((0..).zip(&asked).map(score).sum::<f64>() / asked.len() as f64)
        };
        Ok(Scores { perceptor: by(&self.perceptor)?, judge: by(&self.judge)? })
    }
}

/// What a prompt asks for at its end, with weights whose sum is 1.
fn asked(prompt: &str) -> Result<Vec<(String, f64)>> {
    let parts = prompt::parse(prompt)?.pop().unwrap_or_default();
    let parts: Vec<_> = parts.into_iter().filter(|part| part.weight > 0.0).collect();
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    (sum > 0.0).then_some(()).with_context(|| format!("the prompt {prompt:?} asks for nothing"))?;
    Ok(parts.into_iter().map(|part| (part.text, part.weight / sum)).collect())
}
