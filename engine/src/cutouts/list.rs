//! What is drawn for cutouts, as a list of numbers: `cuda/draws.cuh` reads it and draws on a GPU what
//! [`super::ahead::CutsAhead::draw`] draws on the host.

use tch::{Device, Tensor};
use vqfarm_core::rng::Key;

use crate::device;
use crate::error::Result;

/// What a record draws, numbered as in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Width and height of the images, and the power.
    Crop,
    /// The greatest.
    NoiseStrength,
    // Moves and other changes, with the numbers of `augment::Change` in its order.
    Flip,
    Affine,
    Perspective,
    Rotation,
    ResizedCrop,
    Shift,
    Jitter,
    JitterInKornia,
    Sharpness,
    Noise,
    Elastic,
    ThinPlate,
    ThinPlateInKornia,
    Erase,
}

/// How often it is drawn, numbered as in the kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Toss {
    Always,
    /// Tossed for each cutout.
    Each(f64),
    /// Tossed once for an image.
    Image(f64),
}

/// One draw.
pub struct Record {
    pub kind: Kind,
    /// Of the key that it is drawn from.
    pub purpose: u32,
    pub toss: Toss,
    /// What lies beyond the edge of a move: 0 its border, 1 zeros, 2 its reflection.
    pub edge: u8,
    /// At most 8.
    pub of: Vec<f64>,
}

/// The draws of an iteration in their order, for so many cutouts.
pub struct List {
    cutouts: usize,
    records: Vec<[f64; Self::RECORD]>,
    /// How many numbers the draws so far have.
    numbers: usize,
}

impl List {
    const RECORD: usize = 16;

    pub fn new(cutouts: i64) -> Self {
        Self { cutouts: cutouts as usize, records: Vec::new(), numbers: 0 }
    }

    /// Appends a draw of `width` numbers a cutout.
    pub fn push(&mut self, width: usize, record: &Record) {
        self.append(width, 0, record);
        self.numbers += width * self.cutouts;
    }

    /// Appends moves that are made as one, of `width` numbers a cutout in all.
    pub fn push_run(&mut self, width: usize, moves: &[Record]) {
        for (at, record) in moves.iter().enumerate() {
            self.append(width, moves.len() - at, record);
        }
        self.numbers += width * self.cutouts;
    }

    fn append(&mut self, width: usize, run: usize, record: &Record) {
        let (toss, chance) = match record.toss {
            Toss::Always => (0.0, 1.0),
            Toss::Each(chance) => (1.0, chance),
            Toss::Image(chance) => (2.0, chance),
        };
        let [kind, edge] = [record.kind as u8, record.edge].map(f64::from);
        let [at, width, run] = [self.numbers, width, run].map(|n| n as f64);
        let head = [kind, f64::from(record.purpose), toss, chance, at, width, run, edge];
        let mut numbers = head.iter().chain(&record.of).copied();
        self.records.push(std::array::from_fn(|_| numbers.next().unwrap_or_default()));
    }
}

/// What the kernel has of an image's key: both halves of the seed, and the frame.
fn image(key: &Key) -> [f64; 3] {
    [key.seed as u32, (key.seed >> 32) as u32, key.frame].map(f64::from)
}

/// A list on a GPU, which draws by it.
pub(crate) struct DeviceDraws {
    list: Tensor,
    images: Tensor,
    /// Cutouts of each image, and their side.
    count: u32,
    size: i64,
    numbers: usize,
}

impl DeviceDraws {
    /// For `count` cutouts of `size` pixels of each of the `keys`' images.
    pub fn new(list: &List, keys: &[Key], count: u32, size: i64, device: Device) -> Result<Self> {
        let matrix = |numbers: &[f64], width: usize| {
            Tensor::f_from_slice(numbers)?.f_view([-1, width as i64])?.f_to(device)
        };
        let images: Vec<f64> = keys.iter().flat_map(image).collect();
        Ok(Self {
            list: matrix(list.records.as_flattened(), List::RECORD)?,
            images: matrix(&images, 3)?,
            count,
            size,
            numbers: list.numbers,
        })
    }

    /// How many numbers it draws for an iteration.
    pub fn numbers(&self) -> usize {
        self.numbers
    }

    /// Draws for the iterations from `first` on, a row of the table each: float64 [iterations,
    /// numbers], whose rows may lie apart.
    ///
    /// # Errors
    /// The kernel does not compile there, or does not start.
    pub fn draw(&self, table: &Tensor, first: u32) -> std::result::Result<(), String> {
        device::draws(table, first, [&self.list, &self.images], self.count, self.size)
    }
}

/// How far drawn numbers may be from the host's: the last digit of those that are rounded to float32.
/// A whole number that is another one is further off.
pub(crate) const ROUNDING: f64 = 2e-7;

/// The largest distance of numbers from those wanted, relative to these where they are above 1.
/// Infinite where they are not as many or not numbers.
pub(crate) fn apart(found: &[f64], wanted: &[f64]) -> f64 {
    let distance = |(a, b): (&f64, &f64)| match (a - b).abs() / b.abs().max(1.0) {
        _ if a == b => 0.0,
        apart if apart.is_finite() => apart,
        _ => f64::INFINITY,
    };
    let apart = found.iter().zip(wanted).map(distance).fold(0.0, f64::max);
    if found.len() == wanted.len() { apart } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    use vqfarm_core::rng::Purpose;

    use super::*;
    use crate::cutouts::ahead::tests::every_setting;
    use crate::cutouts::{Cutouts, Cutter};

    /// The kernel as a program for the host.
    fn compiled(folder: &Path) -> PathBuf {
        let program = folder.join("draws");
        let mut compile = Command::new("c++");
        compile.args(["-std=c++17", "-O1", "-Wall", "-Werror", "-ffp-contract=off"]);
        let output = compile.args(["cuda/draws_test.cpp", "-o"]).arg(&program).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }

    fn run(
        program: &Path,
        draws: &DeviceDraws,
        stride: usize,
        [first, rows]: [u32; 2],
    ) -> Vec<f64> {
        let mut text = format!("{stride} {rows} {first} {} {}\n", draws.count, draws.size);
        for records in [&draws.list, &draws.images] {
            text += &format!("{}\n", records.size()[0]);
            for number in Vec::<f64>::try_from(records.view(-1)).unwrap() {
                text += &format!("{number:e}\n");
            }
        }
        let mut child =
            Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn the_kernel_for_a_gpu_draws_what_the_host_draws() {
        let folder = tempfile::tempdir().unwrap();
        let program = compiled(folder.path());
        let keys = [
            Key::new(1, Purpose::Init),
            Key::new(0xFEDC_BA98_7654_3210, Purpose::Init).frame(3),
            Key::new(u64::MAX, Purpose::Init).frame(u32::MAX),
        ];
        let with_power = |power| move |s: Cutouts| Cutouts { power, ..s };
        let plain = every_setting().into_iter().map(with_power(1.0));
        let settings = plain.chain(every_setting().into_iter().take(5).map(with_power(0.4)));
        for (number, settings) in settings.enumerate() {
            for (composed, side) in [(false, 32), (true, 32), (true, 20)] {
                let cutter = Cutter::new(&settings, side).unwrap().composed(composed);
                let cuts = cutter.ahead(&keys, [40, 36], Device::Cpu);
                let draws = cuts.on_device(Device::Cpu).unwrap();
                // Each setting at another time.
                for first in [number as u32, 400_000 + number as u32, u32::MAX - 2] {
                    let stride = draws.numbers() + 3;
                    let table = run(&program, &draws, stride, [first, 2]);
                    for (row, iteration) in table.chunks(stride).zip(first..) {
                        let mut wanted = Vec::new();
                        cuts.draw(iteration, &mut wanted);
                        let (found, beside) = row.split_at(draws.numbers());
                        let apart = apart(found, &wanted);
                        let what =
                            format!("{iteration}, composed {composed}, {side}: {settings:?}");
                        assert!(apart < 1e-9, "{apart} at {what}");
                        assert!(beside.iter().all(|n| n.is_nan()), "{what}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_that_are_none_are_far_apart() {
        assert_eq!(apart(&[1.0, f64::INFINITY], &[1.0, f64::INFINITY]), 0.0);
        assert!((apart(&[3.0, 200.0], &[3.0, 202.0]) - 2.0 / 202.0).abs() < 1e-12);
        for (found, wanted) in [
            (vec![f64::NAN], vec![1.0]),
            (vec![1.0], vec![f64::NAN]),
            (vec![f64::INFINITY], vec![f64::NEG_INFINITY]),
            (vec![1.0], vec![1.0, 1.0]),
        ] {
            assert_eq!(apart(&found, &wanted), f64::INFINITY);
        }
    }
}
