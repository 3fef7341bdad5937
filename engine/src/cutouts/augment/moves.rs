//! Random moves of a cutout, and several of them at once.

use tch::Tensor;
use vqfarm_core::rng::{Key, Stream};

use super::composed::{Composed, sample_moves};
use super::geometry::{Affine, Edge, Map};
use super::source::Source;
use super::{Change, Step, on_some};

/// A kind of move and its ranges.
pub(super) enum Move {
    /// Left and right change places.
    Flip,
    /// Degrees to either side, greatest translations as parts of the size, degrees of shear.
    Affine { degrees: f64, translate: [f64; 2], shear: [f64; 2], in_kornia: bool },
    /// Corners move inwards by up to half the size times the distortion.
    Perspective { distortion: f64, in_kornia: bool },
    /// Degrees to either side.
    Rotation { degrees: f64 },
    /// A part of the picture, by area and aspect, stretched over the whole.
    ResizedCrop { areas: [f64; 2], aspects: [f64; 2] },
    /// Whole pixels to any side.
    Shift { most: i64 },
}

impl Move {
    /// Whether straight lines that are parallel may cease to be so.
    pub fn is_projective(&self) -> bool {
        matches!(self, Move::Perspective { .. })
    }

    /// Where the pixels of a square cutout of `size` look.
    pub fn draw(&self, stream: &mut Stream, size: i64) -> Map {
        let far = (size - 1) as f64;
        let mut either = |most: f64| stream.range(-most, most);
        match self {
            Move::Flip => Map::flip(size),
            Move::Affine { degrees, translate, shear, in_kornia } => {
                let affine = Affine {
                    angle: either(*degrees),
                    translate: translate.map(|part| either(part * size as f64)),
                    shear: shear.map(&mut either),
                };
                let map = Map::affine(&affine, size);
                if *in_kornia { map.with_affine_quirk(size) } else { map }
            }
            Move::Perspective { distortion, in_kornia } => {
                let most = distortion * size as f64 / 2.0;
                let corners = [[0.0, 0.0], [far, 0.0], [far, far], [0.0, far]].map(|corner| {
                    corner.map(|at| {
                        let inwards = stream.range(0.0, most);
                        if at == 0.0 { inwards } else { at - inwards }
                    })
                });
                let map = Map::corners(&corners, size);
                if *in_kornia { map.with_perspective_quirk(size) } else { map }
            }
            Move::Rotation { degrees } => {
                let affine = Affine { angle: -either(*degrees), ..Affine::default() };
                Map::affine(&affine, size)
            }
            Move::ResizedCrop { areas, aspects } => {
                let [width, height] = crop_size(stream, *areas, *aspects, size);
                let mut place =
                    |side: f64| f64::from(stream.below((size as f64 - side) as u32 + 1));
                Map::zoom_in(place(width), place(height), width, height, size)
            }
            Move::Shift { most } => {
                let mut by = || f64::from(stream.below(2 * *most as u32 + 1)) - *most as f64;
                Map([[1.0, 0.0, by()], [0.0, 1.0, by()], [0.0, 0.0, 1.0]])
            }
        }
    }
}

/// Width and height by kornia's draw: ten tries to fit, else the full width at the lowest
/// aspect.
fn crop_size(stream: &mut Stream, areas: [f64; 2], aspects: [f64; 2], size: i64) -> [f64; 2] {
    let side = size as f64;
    let fits = |length: f64| length > 0.0 && length < side;
    (0..10)
        .map(|_| {
            let area = stream.range(areas[0], areas[1]) * side * side;
            let aspect = stream.range(aspects[0].ln(), aspects[1].ln()).exp();
            [(area / aspect).sqrt(), (area * aspect).sqrt()].map(f64::round_ties_even)
        })
        .find(|[width, height]| fits(*width) && fits(*height))
        .unwrap_or([side, (side * aspects[0]).round_ties_even().max(1.0)])
}

/// How many steps from the first on are moves, which one sampling can make.
pub(super) fn run(steps: &[Step]) -> usize {
    steps.iter().take_while(|s| matches!(&s.change, Change::Move(..))).count()
}

/// The moves of a run as one for each cutout; None where no step falls on it.
fn compose(steps: &[Step], cutouts: i64, size: i64, keys: &[Key]) -> Vec<Option<Composed>> {
    let mut maps = vec![Vec::with_capacity(steps.len()); cutouts as usize];
    for step in steps {
        let mut drawn = step.drawn(cutouts, keys).into_iter().peekable();
        for (cutout, maps) in (0..).zip(&mut maps) {
            let falls = drawn.next_if(|drawn| drawn.index == cutout);
            maps.push(match (&step.change, falls) {
                (Change::Move(kind, _), Some(mut drawn)) => Some(kind.draw(&mut drawn.own, size)),
                _ => None,
            });
        }
    }
    let edges = edges(steps);
    let moved = |maps: &Vec<Option<Map>>| maps.iter().any(Option::is_some);
    maps.iter().map(|maps| moved(maps).then(|| Composed::new(maps, &edges))).collect()
}

/// The moves of a run as one for each cutout, also of those that no step falls on.
pub(super) fn compose_all(steps: &[Step], cutouts: i64, size: i64, keys: &[Key]) -> Vec<Composed> {
    let still = Composed::new(&vec![None; steps.len()], &edges(steps));
    let composed = compose(steps, cutouts, size, keys).into_iter();
    composed.map(|composed| composed.unwrap_or_else(|| still.clone())).collect()
}

/// What lies beyond the edge in each move of a run.
pub(super) fn edges(steps: &[Step]) -> Vec<Edge> {
    let edge = |step: &Step| match step.change {
        Change::Move(_, edge) => Some(edge),
        _ => None,
    };
    steps.iter().filter_map(edge).collect()
}

/// Makes several moves with one sampling.
pub(super) fn apply_composed(steps: &[Step], batch: Tensor, keys: &[Key]) -> Tensor {
    let shape = batch.size();
    let (mut indices, mut moves) = (Vec::new(), Vec::new());
    for (cutout, composed) in (0..).zip(compose(steps, shape[0], shape[3], keys)) {
        if let Some(composed) = composed {
            indices.push(cutout);
            moves.push(composed);
        }
    }
    let edges = edges(steps);
    on_some(batch, &indices, |x| sample_moves(&Source::cutouts(x), &edges, &moves, shape[3]))
}
