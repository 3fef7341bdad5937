//! Whether pictures made in a lesser precision, or by a session that computes in another way, are as
//! good: scores of the same prompts and seeds, beside what another seed changes.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tch::{Device, Tensor};
use vqfarm_core::render::{Precision, RenderSettings};
use vqfarm_engine::net::Clip;
use vqfarm_engine::session::Options;

use crate::data::{self, SIZE};
use crate::measure::cosines;
use crate::models::{self, Demo};
use crate::render;

/// Scores of pictures beside those of the same prompts and seeds in float32.
#[derive(Debug, Serialize)]
pub struct Compared {
    /// The precision, the session's switches, or that these are pictures of other seeds.
    pub what: String,
    pub pictures: usize,
    /// By the perceptor that the loop follows.
    pub perceptor: Difference,
    /// By the judge, which the loop never uses.
    pub judge: Difference,
}

/// Cosines of pictures and prompts, computed in float32 for all.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub mean: f64,
    /// Mean over the pairs of what they have more than in float32.
    pub more: f64,
    /// Standard error of that mean.
    pub error: f64,
}

/// What is compared with float32 and sessions as they are by themselves.
pub struct Trials<'a> {
    pub precisions: &'a [Precision],
    /// Switches as [`Options`] reads them, all in float32.
    pub session: Option<&'a str>,
}

/// Renders the first `count` of the held-out prompts in float32, in each of the `trials`, and in
/// float32 from other seeds, and compares each with the first.
///
/// # Errors
/// A model is missing or damaged, the settings make no sense, the device does not know a precision,
/// or libtorch fails.
pub fn compare(
    dir: &Path,
    settings: &RenderSettings,
    count: u32,
    trials: &Trials,
    device: Device,
) -> Result<Vec<Compared>> {
    let usual = Options::default();
    let session = |text: &str| text.parse::<Options>().map_err(anyhow::Error::msg);
    let session = trials.session.map(|text| session(text).map(|options| (text, options)));
    let session = session.transpose()?;
    let demo = Demo::read(dir)?;
    let eyes = [models::clip(&demo.perceptor, device)?, models::clip(&demo.judge, device)?];
    let prompts: Vec<String> = (0..count).map(|i| data::held_out(i, SIZE).caption.text).collect();
    let prompts: Vec<&str> = prompts.iter().map(String::as_str).collect();
    let scores = |precision, seed, options| -> Result<[Vec<f64>; 2]> {
        let settings = RenderSettings { precision, seed, ..settings.clone() };
        let pictures = render::render(&demo, &prompts, &settings, device, options)?;
        let [perceptor, judge] = &eyes;
        Ok([own(perceptor, &pictures, &prompts)?, own(judge, &pictures, &prompts)?])
    };
    let basis = scores(Precision::Float32, settings.seed, usual)?;
    let compared = |what: String, of: &[Vec<f64>; 2]| {
        let [perceptor, judge] = [0, 1].map(|eye| Difference::of(&of[eye], &basis[eye]));
        Compared { what, pictures: prompts.len(), perceptor, judge }
    };
    let mut all = vec![compared("float32".into(), &basis)];
    for precision in trials.precisions {
        let name = serde_json::to_value(precision)?;
        let name = name.as_str().unwrap_or_default().to_owned();
        all.push(compared(name, &scores(*precision, settings.seed, usual)?));
    }
    if let Some((text, options)) = session {
        let scores = scores(Precision::Float32, settings.seed, options)?;
        all.push(compared(format!("float32, {text}"), &scores));
    }
    let others = scores(Precision::Float32, settings.seed + u64::from(count), usual)?;
    all.push(compared("float32, other seeds".into(), &others));
    Ok(all)
}

/// The cosine of each picture and its prompt.
fn own(eye: &Clip, pictures: &Tensor, prompts: &[&str]) -> Result<Vec<f64>> {
    Ok(Vec::try_from(cosines(eye, pictures, prompts)?.diag(0).to_kind(tch::Kind::Double))?)
}

impl Difference {
    fn of(scores: &[f64], basis: &[f64]) -> Self {
        let n = scores.len() as f64;
        let more: Vec<f64> = scores.iter().zip(basis).map(|(score, basis)| score - basis).collect();
        let mean = more.iter().sum::<f64>() / n;
        let variance = more.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        Self { mean: scores.iter().sum::<f64>() / n, more: mean, error: (variance / n).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_of_pairs_with_their_standard_error() {
        let d = Difference::of(&[0.5, 0.7, 0.9], &[0.4, 0.7, 0.7]);
        assert!((d.mean - 0.7).abs() < 1e-12 && (d.more - 0.1).abs() < 1e-12, "{d:?}");
        // Of 0.1, 0 and 0.2: a deviation of 0.1, by the root of 3.
        assert!((d.error - 0.1 / 3f64.sqrt()).abs() < 1e-12, "{d:?}");
        assert_eq!(Difference::of(&[0.5], &[0.25]).error, 0.0);
    }
}
