//! Augmentations by draws made ahead: every step changes every cutout, those that it passes by by
//! nothing, so that the same operations on the device serve every iteration.

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Purpose};

use super::bend::{self, ThinPlate};
use super::colour::{self, Jitter};
use super::composed::{self, Composed};
use super::geometry::{self, Map};
use super::jitter::{AnyOrder, jitter_in_any_order};
use super::moves;
use super::pixels::{self, Rectangle};
use super::source::Source;
use super::{Augmentations, Change, Coin, Drawn, Part, Start, Step};
use crate::cutouts::ahead::Numbers;
use crate::cutouts::normals::DeviceKeys;

/// What the steps of a list need on the device beside their numbers, the same in every iteration.
pub struct Constants {
    /// By step: keys of the noise that it makes.
    noise: Vec<Option<DeviceKeys>>,
    /// The blur of elastic displacements.
    blur: Option<Tensor>,
}

impl Augmentations {
    /// For cutouts of `size` pixels, `count` of each of the `keys`.
    pub fn constants(&self, size: i64, count: u32, keys: &[Key], device: Device) -> Constants {
        let noise = |step: &Step| {
            let makes_noise = matches!(step.change, Change::Noise { .. } | Change::Elastic { .. });
            makes_noise.then(|| {
                let own = |key: &Key| {
                    let key = Key { purpose: Purpose::Augment as u32, ..*key }.nth(step.place);
                    (0..count).map(move |i| key.cutout(i))
                };
                DeviceKeys::new(&keys.iter().flat_map(own).collect::<Vec<_>>(), device)
            })
        };
        let elastic = |step: &Step| matches!(step.change, Change::Elastic { .. });
        Constants {
            noise: self.steps.iter().map(noise).collect(),
            blur: self.steps.iter().any(elastic).then(|| bend::gaussian(size, device)),
        }
    }

    /// The numbers of all steps, cutout by cutout for each. `opens` says whether the list is applied
    /// to [`Start::Images`].
    pub fn draw(&self, opens: bool, cutouts: i64, size: i64, keys: &[Key], out: &mut Vec<f64>) {
        let together = |steps: &[Step], out: &mut Vec<f64>| {
            for composed in moves::compose_all(steps, cutouts, size, keys) {
                out.extend(composed.numbers(size).map(f64::from));
            }
        };
        let (opening, parts) = self.parts(opens);
        if opens {
            together(opening, out);
        }
        for part in parts {
            match part {
                Part::Run(steps) => together(steps, out),
                Part::Step(at) => self.steps[at].draw(cutouts, size, keys, out),
            }
        }
    }

    /// Applies the list, to cutouts of `size` pixels, by numbers that [`Augmentations::draw`] drew,
    /// in an iteration (int64 [1]).
    pub fn apply_ahead(
        &self,
        start: Start,
        size: i64,
        numbers: &mut Numbers,
        constants: &Constants,
        iteration: &Tensor,
    ) -> Tensor {
        let together = |steps: &[Step], source: &Source, numbers: &mut Numbers| {
            let edges = moves::edges(steps);
            let own = numbers.next(source.len(), Composed::width(&edges) as i64);
            composed::sample(source, &edges, &own.to_kind(Kind::Float), size)
        };
        let (opening, parts) = self.parts(matches!(start, Start::Images(_)));
        let mut batch = match start {
            Start::Cutouts(batch) => batch,
            Start::Images(source) => together(opening, &source, numbers),
        };
        for part in parts {
            batch = match part {
                Part::Run(steps) => together(steps, &Source::cutouts(&batch), numbers),
                Part::Step(at) => {
                    let step = &self.steps[at];
                    let own = numbers.next(batch.size()[0], step.width() as i64);
                    let noise = Noise { keys: constants.noise[at].as_ref(), iteration };
                    step.apply_ahead(&batch, &own, &noise, constants.blur.as_ref())
                }
            };
        }
        batch
    }
}

/// Where a step's noise comes from.
struct Noise<'a> {
    keys: Option<&'a DeviceKeys>,
    iteration: &'a Tensor,
}

impl Step {
    /// How many numbers a cutout needs.
    pub(super) fn width(&self) -> usize {
        match &self.change {
            Change::Move(..) => 9,
            Change::Jitter { .. } => 10,
            Change::JitterInKornia { .. } => AnyOrder::NUMBERS,
            Change::Sharpness(..) | Change::Noise { .. } | Change::Elastic { .. } => 1,
            Change::ThinPlate { .. } | Change::ThinPlateInKornia { .. } => 1 + ThinPlate::NUMBERS,
            Change::Erase { .. } => 4,
        }
    }

    fn draw(&self, cutouts: i64, size: i64, keys: &[Key], out: &mut Vec<f64>) {
        let mut drawn = self.drawn(cutouts, keys).into_iter().peekable();
        for cutout in 0..cutouts {
            let mut falls = drawn.next_if(|drawn| drawn.index == cutout);
            self.change.numbers(falls.as_mut(), size, out);
        }
    }

    /// Words that a cutout's stream has given before the change's own: the toss of its coin.
    fn tossed(&self) -> i64 {
        match self.coin {
            Coin::Each(_) => 1,
            Coin::Image(_) => 0,
        }
    }

    fn apply_ahead(
        &self,
        x: &Tensor,
        own: &Tensor,
        noise: &Noise,
        blur: Option<&Tensor>,
    ) -> Tensor {
        let numbers = || own.to_kind(Kind::Float);
        // Where the first number says so; these change a cutout even by nothing.
        let on_some =
            |changed: Tensor| changed.where_self(&own.select(1, 0).view([-1, 1, 1, 1]).ne(0.0), x);
        let spline = || own.narrow(1, 1, ThinPlate::NUMBERS as i64);
        let (tossed, size) = (self.tossed(), x.size()[3]);
        match (&self.change, noise.keys, blur) {
            (Change::Move(kind, edge), ..) => {
                geometry::sample_at(x, &numbers(), kind.is_projective(), *edge)
            }
            (Change::Jitter { .. }, ..) => colour::jitter_at(x, &numbers()),
            (Change::JitterInKornia { .. }, ..) => jitter_in_any_order(x, &numbers()),
            (Change::Sharpness(..), ..) => pixels::sharpness(x, &numbers()),
            (Change::Noise { .. }, Some(keys), _) => {
                let each = x.size()[1..].iter().product();
                let normals = keys.normals(noise.iteration, tossed, each).view_as(x);
                x + normals * numbers().view([-1, 1, 1, 1])
            }
            (Change::Elastic { aligned }, Some(keys), Some(blur)) => {
                let uniform = keys.uniforms(noise.iteration, tossed, 2 * size * size);
                let displacements = (uniform * 2.0 - 1.0).view([-1, 2, size, size]);
                on_some(bend::elastic_at(x, &displacements, blur, *aligned))
            }
            (Change::ThinPlate { .. }, ..) => on_some(bend::thin_plate_at(x, &spline(), true)),
            (Change::ThinPlateInKornia { .. }, ..) => {
                on_some(bend::thin_plate_at(x, &spline(), false))
            }
            (Change::Erase { .. }, ..) => pixels::erase_at(x, &own.to_kind(Kind::Int64)),
            // `Augmentations::constants` has what these need.
            (Change::Noise { .. } | Change::Elastic { .. }, ..) => x.shallow_clone(),
        }
    }
}

impl Change {
    /// The numbers of a cutout that this falls on, or of one that it passes by.
    fn numbers(&self, falls: Option<&mut Drawn>, size: i64, out: &mut Vec<f64>) {
        match self {
            Change::Move(kind, _) => {
                let map = falls.map_or(Map::IDENTITY, |d| kind.draw(&mut d.own, size));
                out.extend(map.numbers(size).map(f64::from));
            }
            Change::Jitter { range } => {
                let jitter = falls.map_or(Jitter::NONE, |d| Jitter::draw(&mut d.own, range));
                out.extend(jitter.numbers().map(f64::from));
            }
            Change::JitterInKornia { range } => {
                let draw = |d: &mut Drawn| AnyOrder::draw(&mut d.own, &mut d.shared, range);
                out.extend(falls.map_or(AnyOrder::NONE, draw).numbers());
            }
            Change::Sharpness(low, high) => {
                out.push(falls.map_or(1.0, |d| d.own.range(*low, *high)));
            }
            Change::Noise { deviation } => out.push(falls.map_or(0.0, |_| *deviation)),
            Change::Elastic { .. } => out.push(f64::from(falls.is_some())),
            Change::ThinPlate { scale } => {
                spline(falls.map(|d| ThinPlate::draw(&mut d.shared, *scale)), out);
            }
            Change::ThinPlateInKornia { scale } => {
                spline(falls.map(|d| ThinPlate::draw_in_kornia(&mut d.own, *scale)), out);
            }
            Change::Erase { areas, aspect } => {
                let rectangle =
                    falls.map(|d| Rectangle::draw(&mut d.shared, *areas, *aspect, size));
                let sides = rectangle.map_or([0; 4], |r| [r.x, r.y, r.width, r.height]);
                out.extend(sides.map(|side| side as f64));
            }
        }
    }
}

/// A 1 and the spline, or all zeros.
fn spline(spline: Option<ThinPlate>, out: &mut Vec<f64>) {
    out.push(f64::from(spline.is_some()));
    out.extend(spline.map_or([0.0; ThinPlate::NUMBERS], |spline| spline.numbers()));
}
