//! From cells to pictures on one thread: the only place that drives the engine.

use std::ops::{ControlFlow, Range};

use image::RgbImage;
use vqfarm_engine::EngineError;
use vqfarm_engine::models::Models;
use vqfarm_engine::picture::{Momentum, Picture};
use vqfarm_engine::session::Session;

use crate::models::{ModelError, ModelKey, Shelf};

/// A finished picture.
pub struct Painted {
    pub picture: RgbImage,
    /// Cosine between the picture's and the prompt's features.
    pub score: Option<f32>,
    /// What the optimiser remembers, where the picture asked for it.
    pub momentum: Option<Momentum>,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaintError {
    #[error(transparent)]
    Models(#[from] ModelError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The step callback said so.
    #[error("stopped")]
    Stopped,
}

impl PaintError {
    /// Whether the same picture may come out another time or elsewhere.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Models(ModelError::Engine(error)) | Self::Engine(error) => {
                matches!(error, EngineError::Torch(_) | EngineError::Failed(_))
            }
            Self::Models(_) => false,
            Self::Stopped => true,
        }
    }
}

/// Called before the first iteration and after each one with the places of the pictures that
/// are rendered together, among those asked for, and the iterations that they have now.
pub type Step<'a> = dyn FnMut(Range<usize>, u32) -> ControlFlow<()> + 'a;

/// Makes pictures with networks of its own.
pub struct Painter<'a> {
    shelf: &'a Shelf,
    networks: Option<(ModelKey, Models)>,
    /// What people should know, since it was last taken.
    pub warnings: Vec<String>,
}

impl<'a> Painter<'a> {
    pub fn new(shelf: &'a Shelf) -> Self {
        Self { shelf, networks: None, warnings: Vec::new() }
    }

    /// Makes pictures that share their batch settings ([`Picture::batch_settings`]) with the
    /// models of `key`; one result for each. A batch that fails is tried again in halves, so that a picture fails only by
    /// itself: this finds the culprit, and the size that fits the device's memory.
    pub fn paint(
        &mut self,
        key: &ModelKey,
        batch: &[Picture],
        step: &mut Step<'_>,
    ) -> Vec<Result<Painted, PaintError>> {
        self.paint_part(key, batch, 0, step)
    }

    fn paint_part(
        &mut self,
        key: &ModelKey,
        batch: &[Picture],
        place: usize,
        step: &mut Step<'_>,
    ) -> Vec<Result<Painted, PaintError>> {
        match self.try_batch(key, batch, place, step) {
            Ok(painted) => painted.into_iter().map(Ok).collect(),
            Err(PaintError::Stopped) => batch.iter().map(|_| Err(PaintError::Stopped)).collect(),
            Err(error) if batch.len() <= 1 => vec![Err(error)],
            Err(_) => {
                let (left, right) = batch.split_at(batch.len() / 2);
                let mut results = self.paint_part(key, left, place, step);
                results.extend(self.paint_part(key, right, place + left.len(), step));
                results
            }
        }
    }

    fn try_batch(
        &mut self,
        key: &ModelKey,
        batch: &[Picture],
        place: usize,
        step: &mut Step<'_>,
    ) -> Result<Vec<Painted>, PaintError> {
        if self.networks.as_ref().is_none_or(|(loaded, _)| loaded != key) {
            // The old ones go first: two sets may not fit the device.
            self.networks = None;
            let (networks, warning) = self.shelf.networks(key)?;
            self.warnings.extend(warning);
            self.networks = Some((key.clone(), networks));
        }
        let Some((_, networks)) = &self.networks else { return Ok(Vec::new()) };
        let mut session = Session::new(networks, batch)?;
        self.warnings.extend_from_slice(session.warnings());
        let places = place..place + batch.len();
        if step(places.clone(), 0).is_break() {
            return Err(PaintError::Stopped);
        }
        while !session.done() {
            session.step()?;
            if step(places.clone(), session.iteration()).is_break() {
                return Err(PaintError::Stopped);
            }
        }
        let (pictures, scores) = (session.pictures()?, session.scores()?);
        let mut momenta = match batch.iter().any(|picture| picture.momentum.is_some()) {
            true => session.momenta()?.into_iter(),
            false => Vec::new().into_iter(),
        };
        let painted = pictures.into_iter().zip(scores);
        Ok(painted
            .map(|(picture, score)| Painted { picture, score, momentum: momenta.next() })
            .collect())
    }
}
