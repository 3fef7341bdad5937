//! Where a latent starts.

use image::{Rgb, RgbImage};
use tch::{Device, Tensor};
use vqfarm_core::render::Init;
use vqfarm_core::rng::{Key, Purpose};

use crate::error::{EngineError, Result};
use crate::image_io;
use crate::model::Generator;
use crate::picture::Picture;
use crate::zoom::lanczos_resize;

/// The starting latent [1, e, h, w] of a picture of `width`×`height` pixels, both multiples
/// of the generator's factor.
///
/// # Errors
/// The settings start from a picture that `picture` does not carry; libtorch fails.
pub fn start(
    generator: &dyn Generator,
    picture: &Picture,
    [width, height]: [u32; 2],
    device: Device,
) -> Result<Tensor> {
    let key = Key { purpose: Purpose::Init as u32, ..picture.key() };
    let image = match (&picture.init, &picture.settings.init) {
        (Some(image), _) => lanczos_resize(image, width, height),
        (None, Init::Noise) => noise(key, width, height),
        (None, Init::Gradient) => gradient(key, width, height),
        (None, Init::Random) => {
            let factor = generator.factor();
            let (h, w) = (i64::from(height) / factor, i64::from(width) / factor);
            return random_rows(generator, key, h, w, device);
        }
        (None, Init::Image(name)) => {
            let reason = format!("the picture {name:?} was not read");
            return Err(EngineError::Setting { field: "init", reason });
        }
    };
    Ok(generator.encode(&image_io::to_tensor(&image, device)?))
}

/// A random codebook row at every position.
fn random_rows(
    generator: &dyn Generator,
    key: Key,
    height: i64,
    width: i64,
    device: Device,
) -> Result<Tensor> {
    let mut stream = key.stream();
    let codes = u32::try_from(generator.codes()).unwrap_or(u32::MAX);
    let rows: Vec<i64> =
        (0..height * width).map(|_| i64::from(stream.below(codes.max(1)))).collect();
    let indices = Tensor::from_slice(&rows).f_view([1, height, width])?.to_device(device);
    Ok(generator.rows(&indices))
}

/// Every byte uniform on its own.
fn noise(key: Key, width: u32, height: u32) -> RgbImage {
    let mut stream = key.stream();
    RgbImage::from_fn(width, height, |_, _| {
        let word = stream.word().to_le_bytes();
        Rgb([word[0], word[1], word[2]])
    })
}

/// A linear ramp in each channel between two random values: red from left to right, green
/// and blue from top to bottom, as NR has it.
fn gradient(key: Key, width: u32, height: u32) -> RgbImage {
    let mut stream = key.stream();
    let mut ramp = || (stream.range(0.0, 256.0), stream.range(0.0, 256.0));
    let ramps = [ramp(), ramp(), ramp()];
    let part = |at: u32, side: u32| f64::from(at) / f64::from(side.saturating_sub(1).max(1));
    RgbImage::from_fn(width, height, |x, y| {
        let along = [part(x, width), part(y, height), part(y, height)];
        let value = |c: usize| (ramps[c].0 + (ramps[c].1 - ramps[c].0) * along[c]) as u8;
        Rgb([value(0), value(1), value(2)])
    })
}
