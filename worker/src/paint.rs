//! From cells to pictures on one thread: the only place that drives the engine.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use image::RgbImage;
use vqfarm_core::speed::Workload;
use vqfarm_engine::{EngineError, device};
use vqfarm_engine::models::Models;
use vqfarm_engine::picture::{Momentum, Picture};
use vqfarm_engine::session::Session;
use vqfarm_weights::memory::{Batch, Networks, Thrift};

use crate::budget::Plan;
use crate::models::{ModelError, ModelKey, Shelf};
use crate::saved;

/// A finished picture.
pub struct Painted {
    pub picture: RgbImage,
    /// Cosine between the picture's and the prompt's features.
    pub score: Option<f32>,
    /// What the optimiser remembers, where the picture asked for it.
    pub momentum: Option<Momentum>,
    /// What it goes on from, where it was stopped ([`saved`]).
    pub saved: Option<Bytes>,
}

impl Painted {
    pub fn new(picture: RgbImage, score: Option<f32>) -> Self {
        Self { picture, score, momentum: None, saved: None }
    }
}

/// Which iterations of a picture are made; all, unless it says otherwise.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Those after what was saved, not from the start.
    pub begin: Option<Begin>,
    /// No more than these.
    pub until: Option<Until>,
}

/// What a picture goes on from: the file, and what it must be known by.
#[derive(Clone, Debug)]
pub struct Begin {
    pub bytes: Bytes,
    pub identity: String,
}

/// After how many iterations a picture is stopped, and what it is known by then.
#[derive(Clone, Debug)]
pub struct Until {
    pub iterations: u32,
    pub identity: String,
}

impl Part {
    /// Whether pictures of these parts can be rendered together.
    pub fn goes_with(&self, other: &Self) -> bool {
        let until = |part: &Self| part.until.as_ref().map(|until| until.iterations);
        self.begin.is_some() == other.begin.is_some() && until(self) == until(other)
    }

    /// After which iteration the picture is as it shall be.
    pub fn end(&self, all: u32) -> u32 {
        self.until.as_ref().map_or(all, |until| until.iterations.min(all))
    }
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
    fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Engine(error) if error.is_out_of_memory())
    }

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
/// are rendered together, among those asked for, the iterations that they have now, and those that
/// they began with.
pub type Step<'a> = dyn FnMut(Range<usize>, u32, u32) -> ControlFlow<()> + 'a;

/// What decides how much memory a picture takes.
type Kind = (Workload, [u32; 2]);

/// Makes pictures with networks of its own.
pub struct Painter<'a> {
    shelf: &'a Shelf,
    networks: Option<(ModelKey, Models)>,
    /// What was found to fit where what was planned did not.
    fits: HashMap<Kind, Plan>,
    /// What people should know, since it was last taken.
    pub warnings: Vec<String>,
}

impl<'a> Painter<'a> {
    pub fn new(shelf: &'a Shelf) -> Self {
        Self { shelf, networks: None, fits: HashMap::new(), warnings: Vec::new() }
    }

    /// Makes pictures that share their batch settings ([`Picture::batch_settings`]) with the
    /// models of `key`; one result for each.
    ///
    /// As many together, and as quickly, as the device's memory allows: by estimate at first, and
    /// with less for all that follow where that was too much. A batch that fails otherwise is tried
    /// again in halves, so that a picture fails only by itself.
    pub fn paint(
        &mut self,
        key: &ModelKey,
        batch: &[(Picture, Part)],
        step: &mut Step<'_>,
    ) -> Vec<Result<Painted, PaintError>> {
        self.paint_part(key, batch, 0, step)
    }

    fn paint_part(
        &mut self,
        key: &ModelKey,
        batch: &[(Picture, Part)],
        place: usize,
        step: &mut Step<'_>,
    ) -> Vec<Result<Painted, PaintError>> {
        let in_parts = |painter: &mut Self, at: usize, step: &mut Step<'_>| {
            let (left, right) = batch.split_at(at);
            let mut results = painter.paint_part(key, left, place, step);
            results.extend(painter.paint_part(key, right, place + at, step));
            results
        };
        let Some((first, _)) = batch.first() else { return Vec::new() };
        let kind = (key.workload(&first.settings), first.settings.size);
        let painted = match self.plan(key, &kind, first, batch.len()) {
            Ok(plan) if (plan.pictures as usize) < batch.len() => {
                return in_parts(self, plan.pictures.max(1) as usize, step);
            }
            Ok(plan) => match self.try_batch(key, batch, plan.thrift, place, step) {
                Err(error) if error.is_out_of_memory() && self.economise(kind, first, plan) => {
                    return self.paint_part(key, batch, place, step);
                }
                painted => painted,
            },
            Err(error) => Err(error),
        };
        match painted {
            Ok(painted) => painted.into_iter().map(Ok).collect(),
            Err(PaintError::Stopped) => batch.iter().map(|_| Err(PaintError::Stopped)).collect(),
            Err(error) if batch.len() <= 1 => vec![Err(error)],
            Err(_) => in_parts(self, batch.len() / 2, step),
        }
    }

    /// How so many pictures alike are made.
    fn plan(
        &mut self,
        key: &ModelKey,
        kind: &Kind,
        first: &Picture,
        pictures: usize,
    ) -> Result<Plan, PaintError> {
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX);
        let _ = self.networks(key)?;
        if let Some(fits) = self.fits.get(kind) {
            return Ok(Plan { pictures: fits.pictures.min(pictures), thrift: fits.thrift });
        }
        let planned = || {
            let (networks, batch) = self.sizes(first, pictures)?;
            Some(self.shelf.budget()?.plan(networks, &batch))
        };
        Ok(planned().unwrap_or(Plan { pictures, thrift: Thrift::default() }))
    }

    /// What the memory follows from that so many pictures take, where it is known.
    fn sizes(&self, first: &Picture, pictures: u32) -> Option<(&Networks, Batch)> {
        let sizes = self.networks.as_ref()?.1.sizes()?;
        let batch = Batch {
            pictures,
            size: first.settings.size,
            cutouts: first.settings.cutouts.count,
            bf16: sizes.bf16,
            cuda: self.shelf.device().is_cuda(),
        };
        Some((&sizes.networks, batch))
    }

    /// Remembers that this was too much for the memory, and tells people what comes instead;
    /// false when nothing less is left.
    fn economise(&mut self, kind: Kind, first: &Picture, failed: Plan) -> bool {
        let less = match failed.pictures {
            0 | 1 => self.sizes(first, 1).and_then(|(_, batch)| {
                batch.more_frugal(failed.thrift).map(|thrift| Plan { thrift, ..failed })
            }),
            pictures => Some(Plan { pictures: pictures / 2, ..failed }),
        };
        let Some(less) = less else { return false };
        device::release_memory(self.shelf.device());
        let ([width, height], Plan { pictures, thrift }) = (kind.1, less);
        self.warnings.push(format!(
            "the memory does not suffice for {} of {width} × {height} together ({}); from now on \
             it is {pictures} ({thrift})",
            failed.pictures, failed.thrift
        ));
        self.fits.insert(kind, less);
        true
    }

    /// The networks of `key`, loaded unless they are there.
    fn networks(&mut self, key: &ModelKey) -> Result<&Models, PaintError> {
        let loaded = match self.networks.take() {
            Some((loaded, networks)) if loaded == *key => networks,
            old => {
                // The old ones go first: two sets may not fit the device.
                drop(old);
                let (networks, warning) = self.shelf.networks(key)?;
                self.warnings.extend(warning);
                networks
            }
        };
        Ok(&self.networks.insert((key.clone(), loaded)).1)
    }

    fn try_batch(
        &mut self,
        key: &ModelKey,
        batch: &[(Picture, Part)],
        thrift: Thrift,
        place: usize,
        step: &mut Step<'_>,
    ) -> Result<Vec<Painted>, PaintError> {
        let _ = self.networks(key)?;
        let Some((_, networks)) = &self.networks else { return Ok(Vec::new()) };
        let pictures: Vec<Picture> = batch.iter().map(|(picture, _)| picture.clone()).collect();
        let mut session = Session::new(networks, &pictures)?;
        session.set_thrift(thrift);
        self.warnings.extend_from_slice(session.warnings());
        go_on(&mut session, batch)?;
        let places = place..place + batch.len();
        let first = session.iteration();
        if step(places.clone(), first, first).is_break() {
            return Err(PaintError::Stopped);
        }
        let last = batch.first().map_or(0, |(picture, part)| part.end(picture.settings.iterations));
        while session.iteration() < last {
            session.step()?;
            if step(places.clone(), session.iteration(), first).is_break() {
                return Err(PaintError::Stopped);
            }
        }
        let (made, scores) = (session.pictures()?, session.scores()?);
        let mut momenta = match pictures.iter().any(|picture| picture.momentum.is_some()) {
            true => session.momenta()?.into_iter(),
            false => Vec::new().into_iter(),
        };
        let mut saved = match batch.iter().any(|(_, part)| part.until.is_some()) {
            true => session.save(),
            false => Vec::new(),
        };
        let mut saved = saved.drain(..);
        let mut painted = Vec::with_capacity(batch.len());
        for ((picture, score), (_, part)) in made.into_iter().zip(scores).zip(batch) {
            let saved = match (saved.next(), &part.until) {
                (Some(saved), Some(until)) => saved::encode(&saved, &until.identity),
                _ => None,
            };
            painted.push(Painted { picture, score, momentum: momenta.next(), saved });
        }
        Ok(painted)
    }
}

/// Goes on from what was saved of all pictures; from the start if it is of no use for one of them,
/// which gives the same pictures.
fn go_on(session: &mut Session<'_>, batch: &[(Picture, Part)]) -> Result<(), PaintError> {
    let read = |(_, part): &(Picture, Part)| {
        part.begin.as_ref().and_then(|begin| saved::decode(&begin.bytes, &begin.identity))
    };
    let saved: Option<Vec<_>> = batch.iter().map(read).collect();
    match saved {
        Some(saved) => Ok(session.restore(&saved)?),
        None => {
            if batch.iter().any(|(_, part)| part.begin.is_some()) {
                tracing::warn!(
                    "what a picture goes on from cannot be read; it is made from the start"
                );
            }
            Ok(())
        }
    }
}
