//! Cutouts by draws made ahead: what the host would draw in an iteration is a row of numbers that
//! lies on the device before, and the operations are the same in every iteration.
//!
//! So nothing waits for the host and a CUDA graph can repeat them. The draws are those of
//! [`super::Cutter::cut`], made by the host or, as `list.rs` says, by a GPU; noise, too much to
//! lie there before, is drawn on the device as it is added, from the same words.

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Purpose};

use super::augment::{Constants, Source, Start};
use super::crops::AllBands;
use super::list::{self, DeviceDraws, List, Record, Toss};
use super::normals::DeviceKeys;
use super::{Cutter, drawn};
use crate::error::Result;

/// A batch's cutouts, ready to be drawn ahead.
pub struct CutsAhead {
    cutter: Cutter,
    /// One an image, but for the iteration.
    keys: Vec<Key>,
    /// Height and width of the images.
    size: [i64; 2],
    /// Where crops are resampled before the list of augmentations begins.
    bands: Option<AllBands>,
    augmentations: Constants,
    noise: Option<DeviceKeys>,
}

/// Numbers of one iteration, taken in the order in which they were drawn.
pub(crate) struct Numbers {
    /// float64 [numbers].
    all: Tensor,
    taken: i64,
}

impl Numbers {
    /// Of a row, float64 [numbers].
    pub fn of(row: Tensor) -> Self {
        Self { all: row, taken: 0 }
    }

    /// The next ones, float64 [rows, width].
    pub fn next(&mut self, rows: i64, width: i64) -> Tensor {
        let next = self.all.narrow(0, self.taken, rows * width).view([rows, width]);
        self.taken += rows * width;
        next
    }
}

impl CutsAhead {
    pub(super) fn new(cutter: &Cutter, keys: &[Key], size: [i64; 2], device: Device) -> Self {
        let settings = &cutter.settings;
        let noise = |key: &Key| {
            let key = drawn(*key, Purpose::CutoutNoise);
            (0..settings.count).map(move |i| key.cutout(i))
        };
        let noise: Vec<Key> = keys.iter().flat_map(noise).collect();
        Self {
            bands: (!cutter.pools() && !cutter.opens(size))
                .then(|| AllBands::new(size[1], size[0], cutter.size, device)),
            augmentations: cutter.augmentations.constants(
                cutter.size,
                settings.count,
                keys,
                device,
            ),
            noise: cutter.adds_noise().then(|| DeviceKeys::new(&noise, device)),
            cutter: cutter.clone(),
            keys: keys.to_vec(),
            size,
        }
    }

    /// Appends everything that is drawn in an iteration, always as many numbers: of each crop its
    /// side, x and y in pixels; what the augmentations draw, in their order; the standard deviation
    /// of each cutout's noise, in units of the pixels' range.
    pub fn draw(&self, iteration: u32, out: &mut Vec<f64>) {
        let keys: Vec<Key> = self.keys.iter().map(|key| key.iteration(iteration)).collect();
        let [height, width] = self.size;
        if !self.cutter.pools() {
            let shape = [1, 3, height, width];
            let crops = keys.iter().flat_map(|key| self.cutter.crops(*key, &shape));
            out.extend(crops.flat_map(|c| [c.size as f64, c.x as f64, c.y as f64]));
        }
        let opens = self.cutter.opens(self.size);
        self.cutter.augmentations.draw(opens, self.cutouts(), self.cutter.size, &keys, out);
        if self.noise.is_some() {
            let streams = self.cutter.noise_streams(&keys);
            out.extend(streams.into_iter().map(|mut s| self.cutter.noise_strength(&mut s)));
        }
    }

    /// What [`CutsAhead::draw`] draws, for a GPU to draw it.
    pub(crate) fn list(&self) -> List {
        let (cutter, [height, width]) = (&self.cutter, self.size);
        let mut list = List::new(self.cutouts());
        let of_cutout = |kind, purpose: Purpose, of| Record {
            kind,
            purpose: purpose as u32,
            toss: Toss::Always,
            edge: 0,
            of,
        };
        if !cutter.pools() {
            let of = vec![width as f64, height as f64, cutter.settings.power];
            list.push(3, &of_cutout(list::Kind::Crop, Purpose::Crop, of));
        }
        cutter.augmentations.list(cutter.opens(self.size), &mut list);
        if self.noise.is_some() {
            let of = vec![cutter.settings.noise];
            list.push(1, &of_cutout(list::Kind::NoiseStrength, Purpose::CutoutNoise, of));
        }
        list
    }

    /// What draws on a GPU as [`CutsAhead::draw`] does.
    ///
    /// # Errors
    /// There is no room on the device.
    pub(crate) fn on_device(&self, device: Device) -> Result<DeviceDraws> {
        let (count, size) = (self.cutter.settings.count, self.cutter.size);
        DeviceDraws::new(&self.list(), &self.keys, count, size, device)
    }

    fn cutouts(&self) -> i64 {
        self.keys.len() as i64 * self.cutter.count()
    }

    /// What [`Cutter::cut`] makes of images [B, 3, H, W] in an iteration (int64 [1]), whose numbers
    /// come next.
    pub(crate) fn cut(&self, images: &Tensor, numbers: &mut Numbers, iteration: &Tensor) -> Tensor {
        let (cutter, cutouts) = (&self.cutter, self.cutouts());
        let crops = (!cutter.pools()).then(|| numbers.next(cutouts, 3));
        let start = match (crops, &self.bands) {
            (Some(crops), Some(bands)) => {
                Start::Cutouts(bands.cut_out(images, &crops.to_kind(Kind::Int64)))
            }
            (Some(crops), None) => Start::Images(Source::crops(images, &crops, cutter.count())),
            (None, _) => cutter.pooled(images),
        };
        let (augmentations, constants) = (&cutter.augmentations, &self.augmentations);
        let batch = augmentations.apply_ahead(start, cutter.size, numbers, constants, iteration);
        let Some(keys) = &self.noise else { return batch };
        let strengths = numbers.next(cutouts, 1).to_kind(Kind::Float).view([-1, 1, 1, 1]);
        let each = batch.size()[1..].iter().product();
        // One word went into the strength.
        let noise = keys.normals(iteration, 1, each).view_as(&batch);
        batch + strengths * noise
    }
}

#[cfg(test)]
pub(super) mod tests {
    use vqfarm_core::render::{AugmentStyle, Augmentation, CutoutMethod, Cutouts};

    use super::*;

    const SIDE: i64 = 32;

    pub fn every_setting() -> Vec<Cutouts> {
        use Augmentation::*;
        use CutoutMethod::*;
        let mut settings = Vec::new();
        for augment in [AugmentStyle::Original, AugmentStyle::Modern] {
            let base = Cutouts { count: 4, augment, ..Cutouts::default() };
            let methods = [Latest, Original, Updated, Nrupdated, Updatedpooling];
            settings.extend(methods.map(|method| Cutouts { method, ..base.clone() }));
            settings.extend(
                [Ji, Sh, Gn, Pe, Ro, Af, Et, Ts, Cr, Er, Re]
                    .map(|one| Cutouts { augmentations: Some(vec![one]), ..base.clone() }),
            );
            for many in [vec![Re, Ro, Pe, Sh, Ji, Af, Er], vec![Af, Cr, Pe], vec![Sh, Cr, Ro, Cr]] {
                settings.push(Cutouts { augmentations: Some(many), ..base.clone() });
            }
            let moves = Some(vec![Pe, Cr]);
            settings.push(Cutouts { method: Nrupdated, augmentations: moves, ..base });
        }
        settings
    }

    /// Smooth pictures of every colour, [2, 3, 40, 36].
    fn images() -> Tensor {
        let axis = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu)) / n as f64;
        let (x, y) = (axis(36).view([1, 36]), axis(40).view([40, 1]));
        let wave = |f: f64, g: f64| (((&x * f + &y * g) * 6.0).sin() * 0.4 + 0.5).unsqueeze(0);
        let one = Tensor::cat(&[wave(1.0, 0.3), wave(-0.4, 1.1), wave(0.7, -0.9)], 0);
        Tensor::stack(&[&one, &(one.flip([1]) * 0.9)], 0)
    }

    /// Cutouts and the gradient that some cotangent sends back.
    fn back(cut: impl Fn(&Tensor) -> Tensor) -> [Tensor; 2] {
        let x = images().set_requires_grad(true);
        let y = cut(&x);
        let cotangent = Tensor::linspace(-1.0, 1.0, 997, (Kind::Float, Device::Cpu))
            .repeat([y.numel() as i64 / 997 + 1])
            .narrow(0, 0, y.numel() as i64);
        (&y * cotangent.view_as(&y)).sum(Kind::Float).backward();
        [y.detach(), x.grad()]
    }

    fn apart(a: &Tensor, b: &Tensor) -> f64 {
        ((a - b).norm() / b.norm()).double_value(&[])
    }

    #[test]
    fn cutouts_by_draws_made_ahead_are_those_drawn_as_they_are_needed() {
        let keys = [Key::new(1, Purpose::Init), Key::new(7, Purpose::Init).frame(3)];
        // The larger cutouts are close enough to the images to be sampled straight from them.
        for (composed, side) in [(false, SIDE), (true, SIDE), (true, 20)] {
            for settings in every_setting() {
                let cutter = Cutter::new(&settings, side).unwrap().composed(composed);
                let ahead = cutter.ahead(&keys, [40, 36], Device::Cpu);
                let mut width = None;
                for iteration in [0, 77, 400_000] {
                    let mut row = Vec::new();
                    ahead.draw(iteration, &mut row);
                    assert_eq!(*width.get_or_insert(row.len()), row.len(), "{settings:?}");
                    let row = Tensor::from_slice(&row);
                    let now = Tensor::from_slice(&[i64::from(iteration)]);
                    let got = back(|x| ahead.cut(x, &mut Numbers::of(row.copy()), &now));
                    let keys = keys.map(|key| key.iteration(iteration));
                    let wanted = back(|x| cutter.cut(x, &keys));
                    let [cutouts, gradient] = [0, 1].map(|i| apart(&got[i], &wanted[i]));
                    let what = format!("{iteration}, composed {composed}, {side}: {settings:?}");
                    assert!(cutouts < 2e-5, "cutouts {cutouts} at {what}");
                    // Hue and clamps have corners, where a pixel's gradient may go either way.
                    assert!(gradient < 1e-2, "gradients {gradient} at {what}");
                }
            }
        }
    }
}
