//! Augmentations: random changes that keep the perceptor from being fooled by detail.
//!
//! A step of the list is tossed for each cutout (or for all cutouts of an image at once) and
//! changes only those it falls on. `original` style repeats kornia 0.5.4, as the originals
//! used it, with its quirks; `modern` does what the names say.

mod ahead;
pub mod bend;
pub mod colour;
pub mod composed;
pub mod geometry;
mod jitter;
mod linear;
mod listed;
mod moves;
pub mod pixels;
mod recipes;
mod source;

use tch::Tensor;
use vqfarm_core::render::Cutouts;
use vqfarm_core::rng::{Key, Purpose, Stream};

use bend::ThinPlate;
use composed::sample_moves;
use geometry::Edge;
use moves::Move;
use pixels::Rectangle;

use super::normals::normals;

pub(super) use ahead::Constants;
pub(super) use source::{Source, needs_no_filter};

/// A cutout method's list of augmentations, ready to be applied.
pub(super) struct Augmentations {
    steps: Vec<Step>,
    composed: bool,
}

/// One augmentation of the list.
struct Step {
    /// Its place in the list, which keys its random numbers.
    place: u32,
    coin: Coin,
    change: Change,
}

/// How often a step happens.
enum Coin {
    /// Tossed for each cutout.
    Each(f64),
    /// Tossed once for all cutouts of an image.
    Image(f64),
}

enum Change {
    Move(Move, Edge),
    /// Half ranges of brightness, contrast, saturation and hue (of a whole turn).
    Jitter {
        range: [f64; 4],
    },
    JitterInKornia {
        range: [f64; 4],
    },
    /// Lowest and highest factor.
    Sharpness(f64, f64),
    Noise {
        deviation: f64,
    },
    /// `aligned`: whether ±1 is meant as the centre of the outermost pixels.
    Elastic {
        aligned: bool,
    },
    ThinPlate {
        scale: f64,
    },
    ThinPlateInKornia {
        scale: f64,
    },
    /// Range of the area, and the lowest aspect.
    Erase {
        areas: [f64; 2],
        aspect: f64,
    },
}

/// A cutout that a step falls on.
struct Drawn {
    /// Its number in the batch.
    index: i64,
    image: usize,
    /// Its own random numbers.
    own: Stream,
    /// The same numbers for all cutouts of its image.
    shared: Stream,
}

impl Augmentations {
    pub fn new(settings: &Cutouts, cut_size: i64) -> Self {
        Self { steps: recipes::steps(settings, cut_size), composed: false }
    }

    /// Whether consecutive moves are sampled at once.
    pub fn composed(self, composed: bool) -> Self {
        Self { composed, ..self }
    }

    /// Whether the list can be applied to [`Start::Images`].
    pub fn begins_with_moves(&self) -> bool {
        self.composed && moves::run(&self.steps) > 0
    }

    /// Applies the list; the cutouts of image b, `size` pixels a side, are drawn from `keys[b]`.
    /// [B·count, 3, size, size].
    pub fn apply(&self, start: Start, size: i64, keys: &[Key]) -> Tensor {
        let (opening, parts) = self.parts(matches!(start, Start::Images(_)));
        let mut batch = match start {
            Start::Cutouts(batch) => batch,
            Start::Images(source) => {
                let moves = moves::compose_all(opening, source.len(), size, keys);
                sample_moves(&source, &moves::edges(opening), &moves, size)
            }
        };
        for part in parts {
            batch = match part {
                Part::Run(steps) => moves::apply_composed(steps, batch, keys),
                Part::Step(at) => self.steps[at].apply(batch, keys),
            };
        }
        batch
    }

    /// The moves that are made straight from the images, and what comes after them.
    fn parts(&self, opens: bool) -> (&[Step], Vec<Part<'_>>) {
        let run = |at: usize| if self.composed { moves::run(&self.steps[at..]) } else { 0 };
        let opening = if opens { run(0) } else { 0 };
        let mut parts = Vec::new();
        let mut at = opening;
        while at < self.steps.len() {
            let run = run(at).max(1);
            parts.push(if run > 1 { Part::Run(&self.steps[at..at + run]) } else { Part::Step(at) });
            at += run;
        }
        (&self.steps[..opening], parts)
    }
}

/// What a list is applied to.
pub(super) enum Start {
    /// [N, 3, S, S].
    Cutouts(Tensor),
    /// The moves that the list begins with make the cutouts.
    Images(Source),
}

/// What is made at once of a list.
enum Part<'a> {
    /// Moves with one sampling.
    Run(&'a [Step]),
    /// The step of this number.
    Step(usize),
}

impl Step {
    /// The cutouts of the batch on which this step falls.
    fn drawn(&self, cutouts: i64, keys: &[Key]) -> Vec<Drawn> {
        let count = cutouts as usize / keys.len().max(1);
        let mut drawn = Vec::new();
        for (image, key) in keys.iter().enumerate() {
            let key = Key { purpose: Purpose::Augment as u32, ..*key }.nth(self.place);
            let mut shared = key.cutout(u32::MAX).stream();
            let all = match self.coin {
                Coin::Image(p) => Some(shared.chance(p)),
                Coin::Each(_) => None,
            };
            for cutout in 0..count {
                let mut own = key.cutout(cutout as u32).stream();
                let falls = match self.coin {
                    Coin::Each(p) => own.chance(p),
                    Coin::Image(_) => all == Some(true),
                };
                if falls {
                    let index = (image * count + cutout) as i64;
                    drawn.push(Drawn { index, image, own, shared: shared.clone() });
                }
            }
        }
        drawn
    }

    fn apply(&self, batch: Tensor, keys: &[Key]) -> Tensor {
        let mut drawn = self.drawn(batch.size()[0], keys);
        on_some(batch, &indices(&drawn), |x| self.change.apply(x, &mut drawn))
    }
}

fn indices(drawn: &[Drawn]) -> Vec<i64> {
    drawn.iter().map(|d| d.index).collect()
}

/// Changes the cutouts of those (ascending) numbers and leaves the others as they are.
fn on_some(batch: Tensor, indices: &[i64], change: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    if indices.is_empty() {
        return batch;
    }
    if indices.len() as i64 == batch.size()[0] {
        return change(&batch);
    }
    let indices = Tensor::from_slice(indices).to_device(batch.device());
    let changed = change(&batch.index_select(0, &indices));
    batch.index_copy(0, &indices, &changed)
}

impl Change {
    fn apply(&self, x: &Tensor, drawn: &mut [Drawn]) -> Tensor {
        let size = x.size()[3];
        match self {
            Change::Move(Move::Flip, _) => x.flip([3]),
            Change::Move(kind, edge) => {
                let maps: Vec<_> = drawn.iter_mut().map(|d| kind.draw(&mut d.own, size)).collect();
                geometry::sample(x, &maps, *edge)
            }
            Change::Jitter { range } => {
                let jitters: Vec<_> =
                    drawn.iter_mut().map(|d| colour::Jitter::draw(&mut d.own, range)).collect();
                colour::jitter(x, &jitters)
            }
            Change::JitterInKornia { range } => image_by_image(x, drawn, |x, drawn| {
                let mut shared = drawn[0].shared.clone();
                let mut own: Vec<_> = drawn.iter_mut().map(|d| &mut d.own).collect();
                colour::jitter_in_kornia(x, &mut own, &mut shared, range)
            }),
            Change::Sharpness(low, high) => {
                let factors: Vec<f32> =
                    drawn.iter_mut().map(|d| d.own.range(*low, *high) as f32).collect();
                pixels::sharpness(x, &Tensor::from_slice(&factors).to_device(x.device()))
            }
            Change::Noise { deviation } => {
                let mut own: Vec<_> = drawn.iter().map(|d| d.own.clone()).collect();
                x + normals(x, &mut own) * *deviation
            }
            Change::Elastic { aligned } => {
                let mut own: Vec<_> = drawn.iter().map(|d| d.own.clone()).collect();
                bend::elastic(x, &bend::elastic_noise(x, &mut own), *aligned)
            }
            Change::ThinPlate { scale } => {
                let splines = drawn.iter_mut().map(|d| ThinPlate::draw(&mut d.shared, *scale));
                bend::thin_plate(x, &splines.collect::<Vec<_>>(), true)
            }
            Change::ThinPlateInKornia { scale } => {
                let splines =
                    drawn.iter_mut().map(|d| ThinPlate::draw_in_kornia(&mut d.own, *scale));
                bend::thin_plate(x, &splines.collect::<Vec<_>>(), false)
            }
            Change::Erase { areas, aspect } => {
                let rectangles: Vec<_> = drawn
                    .iter_mut()
                    .map(|d| Rectangle::draw(&mut d.shared, *areas, *aspect, size))
                    .collect();
                pixels::erase(x, &rectangles)
            }
        }
    }
}

/// Changes the cutouts of each image apart from the others'.
fn image_by_image(
    x: &Tensor,
    drawn: &mut [Drawn],
    mut change: impl FnMut(&Tensor, &mut [Drawn]) -> Tensor,
) -> Tensor {
    let mut done = Vec::new();
    let mut start = 0;
    for of_image in drawn.chunk_by_mut(|a, b| a.image == b.image) {
        let length = of_image.len() as i64;
        done.push(change(&x.narrow(0, start, length), of_image));
        start += length;
    }
    Tensor::cat(&done, 0)
}
