//! A zoom made in parallel beside a chain of the same scene and camera: how steadily their frames
//! follow from one another, how well they show the prompt, and whether keyframes' edges show.

mod camera;
mod film;
mod rings;
mod scores;
mod steadiness;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tch::Device;
use vqfarm_core::animation::Mode;

pub use self::film::Film;
pub use self::rings::Rings;
pub use self::scores::Scores;
pub use self::steadiness::Steadiness;
use crate::models::Demo;

/// The figures of both films.
#[derive(Debug, Serialize)]
pub struct Report {
    pub zoom: Figures,
    /// Of the zoom's keyframes after their last round.
    pub keyframes: Scores,
    pub feedback: Figures,
}

/// The figures of one film.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub steadiness: Steadiness,
    pub scores: Scores,
    /// Along the zoom's nested edges; a chain has none there, so its figures say what chance does.
    pub rings: Rings,
}

/// Measures a zoom and a chain, each the folder of a finished `vqfarm render`, with the models of
/// another folder.
///
/// # Errors
/// A film is not finished, or the two do not show the same with the same camera.
pub fn compare(zoom: &Path, feedback: &Path, models: &Path, device: Device) -> Result<Report> {
    let (zoom, feedback) = (Film::read(zoom)?, Film::read(feedback)?);
    comparable(&zoom, &feedback)?;
    let judges = scores::Judges::new(&Demo::read(models)?, device)?;
    let figures = |film: &Film| -> Result<Figures> {
        Ok(Figures {
            steadiness: steadiness::measure(&film.timeline, &film.frames)?,
            scores: judges.scores(&film.frames, &film.prompts()?)?,
            rings: rings::measure(&zoom.timeline, &film.frames)?,
        })
    };
    Ok(Report {
        zoom: figures(&zoom).context("measure the zoom")?,
        keyframes: judges.scores(&zoom.keyframes, &zoom.keyframe_prompts()?)?,
        feedback: figures(&feedback).context("measure the feedback film")?,
    })
}

impl Report {
    /// The means over several pairs of films, of slopes across edges the geometric one; of the worst
    /// frames the worst. None of no pair.
    pub fn mean(reports: &[Self]) -> Option<Self> {
        let figures = |of: fn(&Self) -> &Figures| {
            let all: Vec<&Figures> = reports.iter().map(of).collect();
            Some(Figures {
                steadiness: Steadiness {
                    mean: mean(all.iter().map(|film| film.steadiness.mean)),
                    low: mean(all.iter().map(|film| film.steadiness.low)),
                    slope: mean(all.iter().map(|film| film.steadiness.slope)),
                },
                scores: Scores::mean(all.iter().map(|film| film.scores)),
                rings: Rings {
                    mean: mean(all.iter().map(|film| film.rings.mean.ln())).exp(),
                    ..*all.iter().map(|f| &f.rings).max_by(|a, b| a.worst.total_cmp(&b.worst))?
                },
            })
        };
        Some(Self {
            zoom: figures(|report| &report.zoom)?,
            keyframes: Scores::mean(reports.iter().map(|report| report.keyframes)),
            feedback: figures(|report| &report.feedback)?,
        })
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Whether two films differ only in how they were made.
fn comparable(zoom: &Film, feedback: &Film) -> Result<()> {
    let mode = |film: &Film| film.timeline.animation().mode;
    ensure!(mode(zoom) == Mode::Zoom, "the first film is no zoom; its job needs mode = \"zoom\"");
    ensure!(
        mode(feedback) == Mode::Feedback,
        "the second film is no chain; its job needs mode = \"feedback\""
    );
    let (one, other) = (&zoom.timeline, &feedback.timeline);
    ensure!(one.len() == other.len(), "the films have {} and {} frames", one.len(), other.len());
    ensure!(one.len() > 1, "films of one frame have nothing to follow from");
    ensure!(zoom.size() == feedback.size(), "the films' frames have different sizes");
    let (prompts, others) = (zoom.prompts()?, feedback.prompts()?);
    if let Some(frame) = prompts.iter().zip(&others).position(|(one, other)| one != other) {
        anyhow::bail!("the films have different prompts at frame {frame}");
    }
    for frame in 0..one.len() - 1 {
        let (a, b) = (camera::between(one, frame, 1.0)?, camera::between(other, frame, 1.0)?);
        let b = b.with_context(|| format!("the chain has a cut after frame {frame}"))?;
        ensure!(
            a.is_some_and(|a| camera::alike(a, b)),
            "the cameras differ after frame {frame}; zoom = \"step ** (1/frames_per_step)\" and \
             angle = angle/frames_per_step in [animation.motion] make them the same"
        );
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (zoom, feedback) = (&self.zoom, &self.feedback);
        writeln!(f, "{:<36}{:>10}{:>10}", "", "zoom", "feedback")?;
        let mut row = |name: &str, decimals: usize, zoom: f64, feedback: f64| {
            writeln!(f, "{name:<36}{zoom:>10.decimals$}{feedback:>10.decimals$}")
        };
        let steady = (&zoom.steadiness, &feedback.steadiness);
        row("next frame as the camera says, dB", 2, steady.0.mean, steady.1.mean)?;
        row("… 5th percentile, dB", 2, steady.0.low, steady.1.low)?;
        row("slope of the frames, levels a pixel", 2, steady.0.slope, steady.1.slope)?;
        row("prompt score, perceptor", 3, zoom.scores.perceptor, feedback.scores.perceptor)?;
        row("… of the keyframes", 3, self.keyframes.perceptor, feedback.scores.perceptor)?;
        row("prompt score, judge", 3, zoom.scores.judge, feedback.scores.judge)?;
        row("… of the keyframes", 3, self.keyframes.judge, feedback.scores.judge)?;
        row("slope across nested edges", 3, zoom.rings.mean, feedback.rings.mean)?;
        row("… of the worst frame", 3, zoom.rings.worst, feedback.rings.worst)?;
        write!(
            f,
            "The worst frame is {} of the zoom, {} of the feedback film.",
            zoom.rings.worst_frame, feedback.rings.worst_frame
        )
    }
}

#[cfg(test)]
mod tests;
