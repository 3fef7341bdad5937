//! From cells to pictures on one thread: the only place that drives the engine.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use image::RgbImage;
use vqfarm_core::speed::Workload;
use vqfarm_engine::models::Models;
use vqfarm_engine::picture::{Momentum, Picture};
use vqfarm_engine::session::Session;
use vqfarm_engine::{EngineError, device};
use vqfarm_weights::memory::{Batch, Networks, Thrift};

use crate::budget::Plan;
use crate::dividing::{Attempt, make_all};
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
    pub(crate) fn is_out_of_memory(&self) -> bool {
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
        let pictures = 0..batch.len();
        make_all(&mut Painting { painter: self, key, batch, step }, pictures)
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

/// A batch that is being made.
struct Painting<'p, 'a, 's> {
    painter: &'p mut Painter<'a>,
    key: &'p ModelKey,
    batch: &'p [(Picture, Part)],
    step: &'p mut Step<'s>,
}

impl Painting<'_, '_, '_> {
    /// What its memory follows from. All its pictures are alike in that.
    fn kind(&self) -> Option<(Kind, &Picture)> {
        let (first, _) = self.batch.first()?;
        Some(((self.key.workload(&first.settings), first.settings.size), first))
    }
}

impl Attempt for Painting<'_, '_, '_> {
    type Made = Painted;

    fn plan(&mut self, pictures: usize) -> Result<Plan, PaintError> {
        let pictures = u32::try_from(pictures).unwrap_or(u32::MAX);
        let _ = self.painter.networks(self.key)?;
        let planned = || {
            let (kind, first) = self.kind()?;
            if let Some(fits) = self.painter.fits.get(&kind) {
                return Some(fits.no_more_than(pictures));
            }
            let (networks, batch) = self.painter.sizes(first, pictures)?;
            Some(self.painter.shelf.budget()?.plan(networks, &batch))
        };
        Ok(planned().unwrap_or(Plan { pictures, thrift: Thrift::default() }))
    }

    fn make(&mut self, which: Range<usize>, thrift: Thrift) -> Result<Vec<Painted>, PaintError> {
        tracing::debug!(pictures = which.len(), %thrift, "computing");
        let batch = &self.batch[which.clone()];
        self.painter.try_batch(self.key, batch, thrift, which.start, self.step)
    }

    fn economise(&mut self, failed: Plan) -> bool {
        let Some((kind, first)) = self.kind() else { return false };
        let batch = self.painter.sizes(first, failed.pictures).map(|(_, batch)| batch);
        let Some(less) = failed.less(batch.as_ref()) else { return false };
        device::release_memory(self.painter.shelf.device());
        let [width, height] = kind.1;
        self.painter.warnings.push(format!(
            "memory: {} of {width} × {height} together ({}) were too much; from now on {} ({})",
            failed.pictures, failed.thrift, less.pictures, less.thrift
        ));
        self.painter.fits.insert(kind, less);
        true
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
