//! Several moves of a cutout as one: interpolates once where one step after another would blur each
//! time.

use tch::Tensor;

use super::geometry::{Edge, Map, Places};
use super::source::Source;

/// A run of moves.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The steps with an edge of their own, from the last to the first.
    edged: Vec<Edged>,
    /// From where the last fold led.
    last: Map,
}

/// What is to be done at the edge of one step of a run.
#[derive(Clone, Debug)]
struct Edged {
    /// Where the step looks, from an output pixel, or from where the fold before led.
    map: Map,
    /// The step passes this cutout by.
    passes: bool,
}

impl Composed {
    /// `steps[k]` is the k-th map (None where that step passes this cutout by) and `edges[k]` what
    /// lies beyond the edge in that step.
    pub fn new(steps: &[Option<Map>], edges: &[Edge]) -> Self {
        // The last step's map acts first on an output pixel.
        let mut last = Map::IDENTITY;
        let mut edged = Vec::new();
        for (step, edge) in steps.iter().zip(edges).rev() {
            last = step.map_or(last, |step| last.then(&step));
            if *edge != Edge::Border {
                edged.push(Edged { map: last, passes: step.is_none() });
            }
            if *edge == Edge::Reflect {
                last = Map::IDENTITY;
            }
        }
        Self { edged, last }
    }

    /// [`Map::numbers`] of each step that does not end at a border, from the last to the first, with
    /// a 1 where it passes the cutout by, then of the map that is left.
    pub fn numbers(&self, size: i64) -> impl Iterator<Item = f32> {
        let edged = self.edged.iter().flat_map(move |edged| {
            edged.map.numbers(size).into_iter().chain([f32::from(u8::from(edged.passes))])
        });
        edged.chain(self.last.numbers(size))
    }

    /// How many [`Composed::numbers`] a run of moves with these edges has.
    pub fn width(edges: &[Edge]) -> usize {
        9 + 10 * edges.iter().filter(|edge| **edge != Edge::Border).count()
    }
}

/// Samples cutouts of `size` pixels through a run of moves with these edges, by
/// [`Composed::numbers`] on the device, float32 [N, width].
pub fn sample(source: &Source, edges: &[Edge], numbers: &Tensor, size: i64) -> Tensor {
    let mut places = Places::pixels(size, numbers.device());
    let mut cover: Option<Tensor> = None;
    let mut at = 0;
    for edge in edges.iter().rev().filter(|edge| **edge != Edge::Border) {
        let looks = places.through(&numbers.narrow(1, at, 9), true);
        let passes = numbers.select(1, at + 9).view([-1, 1, 1]);
        match edge {
            Edge::Reflect => places = looks.folded(&passes, size),
            _ => {
                let inside = looks.cover(size).maximum(&passes.unsqueeze(1));
                cover = Some(cover.map_or_else(|| inside.shallow_clone(), |cover| cover * &inside));
            }
        }
        at += 10;
    }
    let sampled = source.sample(&places.through(&numbers.narrow(1, at, 9), true), size);
    match cover {
        Some(cover) => sampled * cover,
        None => sampled,
    }
}

/// As [`sample`], by moves of each cutout.
pub fn sample_moves(source: &Source, edges: &[Edge], moves: &[Composed], size: i64) -> Tensor {
    let numbers: Vec<f32> = moves.iter().flat_map(|composed| composed.numbers(size)).collect();
    let numbers = Tensor::from_slice(&numbers).to_device(source.device());
    sample(source, edges, &numbers.view([moves.len() as i64, -1]), size)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::geometry::{self, Affine};
    use super::*;
    use crate::cutouts::crops::{Crop, cut_out};
    use crate::cutouts::resample::resample;

    const SIZE: i64 = 32;

    /// Long waves, [1, 3, height, width].
    fn picture(height: i64, width: i64) -> Tensor {
        let axis = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu)) / 7.0;
        let (x, y) = (axis(width).view([1, width]), axis(height).view([height, 1]));
        let wave = |f: f64, g: f64| (&x * f + &y * g).sin() * 0.4 + 0.5;
        Tensor::stack(&[wave(0.9, 0.3), wave(-0.4, 0.8), wave(0.6, -0.7)], 0).unsqueeze(0)
    }

    fn turned(angle: f64) -> Option<Map> {
        let affine = Affine { angle, translate: [1.5, -2.2], shear: [3.0, -2.0] };
        Some(Map::affine(&affine, SIZE))
    }

    fn tilted() -> Option<Map> {
        Some(Map::corners(&[[3.0, 2.0], [29.0, 1.0], [27.0, 30.0], [1.0, 26.0]], SIZE))
    }

    fn shifted() -> Option<Map> {
        Some(Map([[1.0, 0.0, 4.0], [0.0, 1.0, -3.0], [0.0, 0.0, 1.0]]))
    }

    /// Cutouts, and a gradient on the picture of what they are, by patches of eight pixels.
    fn back(picture: &Tensor, cut: impl Fn(&Tensor) -> Tensor) -> [Tensor; 2] {
        let x = picture.copy().set_requires_grad(true);
        let y = cut(&x);
        (&y * super::tests::picture(SIZE, SIZE)).sum(Kind::Float).backward();
        [y.detach(), x.grad().avg_pool2d([8, 8], [8, 8], [0, 0], false, true, None)]
    }

    fn apart(a: &[Tensor; 2], b: &[Tensor; 2]) -> [f64; 2] {
        [0, 1].map(|i| ((&a[i] - &b[i]).norm() / b[i].norm()).double_value(&[]))
    }

    fn one_after_another(x: Tensor, steps: &[Option<Map>], edges: &[Edge]) -> Tensor {
        let step = |x, (map, edge): (&Option<Map>, &Edge)| match map {
            Some(map) => geometry::sample(&x, &[*map], *edge),
            None => x,
        };
        steps.iter().zip(edges).fold(x, step)
    }

    fn at_once(source: &Source, steps: &[Option<Map>], edges: &[Edge]) -> Tensor {
        sample_moves(source, edges, &[Composed::new(steps, edges)], SIZE)
    }

    fn crop(x: &Tensor, crop: Crop) -> Source {
        let numbers = Tensor::from_slice(&[crop.size, crop.x, crop.y]).view([1, 3]);
        Source::crops(x, &numbers, 1)
    }

    #[test]
    fn moves_of_a_crop_at_once_are_nearly_those_one_after_another() {
        let picture = picture(60, 52);
        let right = Crop { size: 46, x: 5, y: 9 };
        use Edge::{Border, Zeros};
        for (steps, edges, limit) in [
            (vec![turned(20.0), tilted()], vec![Border, Zeros], 0.01),
            // An edge that is sampled again is softer.
            (vec![turned(-35.0), tilted()], vec![Zeros, Zeros], 0.045),
            (vec![tilted()], vec![Zeros], 0.01),
            (vec![turned(30.0)], vec![Border], 0.01),
        ] {
            let wanted = back(&picture, |x| {
                one_after_another(cut_out(&x.get(0), &[right], SIZE, resample), &steps, &edges)
            });
            let of =
                |c: Crop| apart(&back(&picture, |x| at_once(&crop(x, c), &steps, &edges)), &wanted);
            let [values, gradients] = of(right);
            assert!(values < limit, "{values}: {steps:?}");
            assert!(gradients < 0.06, "{gradients}: {steps:?}");
            for wrong in [
                Crop { x: right.x + 1, ..right },
                Crop { y: right.y - 1, ..right },
                Crop { size: right.size + 2, ..right },
            ] {
                let [values, gradients] = of(wrong);
                assert!(values > limit + 0.01, "{values}: {wrong:?}, {steps:?}");
                assert!(gradients > 0.065, "{gradients}: {wrong:?}, {steps:?}");
            }
        }
    }

    #[test]
    fn without_a_move_a_crop_is_seen_as_it_is() {
        let picture = picture(60, 52);
        let (steps, edges) = ([None, None, None], [Edge::Zeros, Edge::Reflect, Edge::Zeros]);
        let same = Crop { size: SIZE, x: 20, y: 28 };
        let seen = at_once(&crop(&picture, same), &steps, &edges);
        let there = picture.narrow(2, same.y, SIZE).narrow(3, same.x, SIZE);
        assert!((seen - there).abs().max().double_value(&[]) < 1e-5);
        let larger = Crop { size: 48, x: 4, y: 12 };
        let seen = at_once(&crop(&picture, larger), &steps, &edges);
        let wanted = cut_out(&picture.get(0), &[larger], SIZE, resample);
        assert!(((&seen - &wanted).norm() / wanted.norm()).double_value(&[]) < 0.007);
    }

    #[test]
    fn a_fold_among_moves_is_that_of_its_own_sampling() {
        let picture = picture(SIZE, SIZE);
        for (first, limit) in [(Edge::Border, 0.005), (Edge::Zeros, 0.04)] {
            let edges = [first, Edge::Reflect, Edge::Zeros];
            for steps in [
                [turned(15.0), shifted(), tilted()],
                [None, shifted(), tilted()],
                [turned(15.0), shifted(), None],
                [None, shifted(), None],
                [turned(15.0), None, tilted()],
            ] {
                let wanted = back(&picture, |x| one_after_another(x.copy(), &steps, &edges));
                let got = back(&picture, |x| at_once(&Source::cutouts(x), &steps, &edges));
                let [values, gradients] = apart(&got, &wanted);
                assert!(values < limit && gradients < 0.05, "{values}, {gradients}: {steps:?}");
                // That the fold is seen at all: a border in its place is another picture.
                let clamped = [first, Edge::Border, Edge::Zeros];
                let other = back(&picture, |x| at_once(&Source::cutouts(x), &steps, &clamped));
                let [values, _] = apart(&other, &wanted);
                assert_eq!(values > 0.041, steps[1].is_some(), "{values}: {steps:?}");
            }
        }
    }

    #[test]
    fn a_fold_that_passes_a_cutout_by_leaves_its_edge() {
        let picture = picture(SIZE, SIZE);
        let wide = Some(Map::zoom_in(-8.0, -8.0, 48.0, 48.0, SIZE));
        let (steps, edges) = ([None, wide], [Edge::Reflect, Edge::Border]);
        let wanted = one_after_another(picture.copy(), &steps, &edges);
        let got = at_once(&Source::cutouts(&picture), &steps, &edges);
        assert!((got - wanted).abs().max().double_value(&[]) < 1e-5);
    }

    #[test]
    fn each_image_serves_its_own_cutouts() {
        let pictures = Tensor::cat(&[picture(40, 36), picture(40, 36).flip([2])], 0);
        let crops: Vec<i64> = vec![36, 0, 1, 33, 2, 5, 34, 1, 0, 35, 0, 4];
        let crops = Tensor::from_slice(&crops).view([4, 3]);
        let edges = [Edge::Zeros];
        let moves =
            [turned(5.0), None, tilted(), turned(-9.0)].map(|m| Composed::new(&[m], &edges));
        let all = sample_moves(&Source::crops(&pictures, &crops, 2), &edges, &moves, SIZE);
        assert_eq!(all.size(), [4, 3, SIZE, SIZE]);
        for (i, own) in (0..).zip(&moves) {
            let (image, crop) = (pictures.narrow(0, i / 2, 1), crops.narrow(0, i, 1));
            let source = Source::crops(&image, &crop, 1);
            let alone = sample_moves(&source, &edges, std::slice::from_ref(own), SIZE);
            assert!((all.narrow(0, i, 1) - alone).abs().max().double_value(&[]) < 1e-6, "{i}");
        }
    }
}
