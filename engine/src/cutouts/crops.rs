//! Square crops of random size and place, resampled to the perceptor's size.

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::Stream;

use super::resample::{Rows, resample};

/// A square piece of an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    pub size: i64,
    /// Of the upper left corner.
    pub x: i64,
    pub y: i64,
}

impl Crop {
    /// NR's draw: the side is U^power between the cut's size and the image's shorter side
    /// (never more than that), the place uniform.
    pub fn draw(stream: &mut Stream, width: i64, height: i64, cut: i64, power: f64) -> Self {
        let max = width.min(height);
        let min = max.min(cut);
        let size = (stream.uniform().powf(power) * (max - min) as f64 + min as f64) as i64;
        let mut below = |n: i64| i64::from(stream.below(n as u32));
        Self { size, x: below(width - size + 1), y: below(height - size + 1) }
    }
}

/// Crops of every image [B, C, H, W] → [all crops, C, cut, cut], image by image; each has as
/// many.
pub fn cut_out_of_all(images: &Tensor, crops: &[Vec<Crop>], cut: i64) -> Tensor {
    if images.device() != Device::Cpu {
        return at_once(images, crops, cut);
    }
    let of_image =
        |(b, crops): (usize, &Vec<Crop>)| cut_out(&images.get(b as i64), crops, cut, resample);
    Tensor::cat(&crops.iter().enumerate().map(of_image).collect::<Vec<_>>(), 0)
}

/// How images [N, C, H, W] get another height and width.
pub type Resample = fn(&Tensor, [i64; 2]) -> Tensor;

/// Crops of one image [C, H, W] → [crops, C, cut, cut].
///
/// One crop after another: on a CPU that touches only the pixels of the crop, and no result
/// depends on how many there are.
pub fn cut_out(image: &Tensor, crops: &[Crop], cut: i64, resample: Resample) -> Tensor {
    let pieces: Vec<Tensor> = crops
        .iter()
        .map(|c| {
            let piece = image.narrow(1, c.y, c.size).narrow(2, c.x, c.size);
            resample(&piece.unsqueeze(0), [cut, cut])
        })
        .collect();
    Tensor::cat(&pieces, 0)
}

/// All crops of all images in two batched products, for a GPU, which a hundred small ones
/// would leave waiting: the resampling matrices stand among zeros as wide as the image.
fn at_once(images: &Tensor, crops: &[Vec<Crop>], cut: i64) -> Tensor {
    let crops = crops.concat();
    let sizes: Vec<i64> = crops.iter().map(|c| c.size).collect();
    let bands = Bands::new(&sizes, cut, images.device());
    let column = |of: fn(&Crop) -> i64| {
        let values: Vec<i64> = crops.iter().map(of).collect();
        Tensor::from_slice(&values).to_device(images.device())
    };
    bands.resample(images, &column(|c| c.x), &column(|c| c.y))
}

/// The resampling matrices of crops of any size that is drawn, on the device.
pub(super) struct AllBands {
    smallest: i64,
    bands: Bands,
}

impl AllBands {
    /// For images of this width and height.
    pub fn new(width: i64, height: i64, cut: i64, device: Device) -> Self {
        let largest = width.min(height);
        let smallest = largest.min(cut);
        let sizes: Vec<i64> = (smallest..=largest).collect();
        Self { smallest, bands: Bands::new(&sizes, cut, device) }
    }

    /// Crops of images [B, C, H, W] by size, x and y on the device, int64 [N, 3], as many of each
    /// image → [N, C, cut, cut].
    pub fn cut_out(&self, images: &Tensor, crops: &Tensor) -> Tensor {
        let own = self.bands.chosen(&(crops.select(1, 0) - self.smallest));
        own.resample(images, &crops.select(1, 1), &crops.select(1, 2))
    }
}

/// The resampling matrices of many sizes, only what is not zero: little to bring to a GPU.
struct Bands {
    /// [sizes, cut, longest band].
    weights: Tensor,
    /// Index within the crop of each weight, of the same shape.
    places: Tensor,
}

impl Bands {
    fn new(sizes: &[i64], cut: i64, device: Device) -> Self {
        let rows: Vec<Rows> =
            sizes.iter().map(|&size| Rows::new(size as usize, cut as usize)).collect();
        let bands = || rows.iter().flat_map(Rows::bands);
        let longest = bands().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let mut weights = vec![0f32; sizes.len() * cut as usize * longest];
        for ((_, band), out) in bands().zip(weights.chunks_mut(longest)) {
            out[..band.len()].copy_from_slice(band);
        }
        let first: Vec<i64> = bands().map(|(first, _)| first as i64).collect();
        let on = |t: Tensor, last: i64| t.to_device(device).view([-1, cut, last]);
        let along = Tensor::arange(longest as i64, (Kind::Int64, device));
        Self {
            weights: on(Tensor::from_slice(&weights), longest as i64),
            places: on(Tensor::from_slice(&first), 1) + along,
        }
    }

    /// Those with these numbers.
    fn chosen(&self, numbers: &Tensor) -> Self {
        let chosen = |t: &Tensor| t.index_select(0, numbers);
        Self { weights: chosen(&self.weights), places: chosen(&self.places) }
    }

    /// One crop for each of the sizes, from (x, y) of images [B, C, H, W], as many of each.
    fn resample(&self, images: &Tensor, x: &Tensor, y: &Tensor) -> Tensor {
        let shape = images.size();
        let (batch, channels, height, width) = (shape[0], shape[1], shape[2], shape[3]);
        let cut = self.weights.size()[1];
        let lines = images.permute([0, 2, 1, 3]).reshape([batch, height, channels * width]);
        let rows = self.widened(height, y);
        let columns = self.widened(width, x);
        rows.view([batch, -1, height])
            .bmm(&lines)
            .view([-1, cut * channels, width])
            .bmm(&columns.transpose(1, 2))
            .view([-1, cut, channels, cut])
            .permute([0, 2, 1, 3])
            .contiguous()
    }

    /// The matrices over a whole side of the image, [sizes, cut, side], starting at `starts`.
    fn widened(&self, side: i64, starts: &Tensor) -> Tensor {
        // Past the end there are only the zeros that fill up a short band.
        let places = (&self.places + starts.reshape([-1, 1, 1])).clamp_max(side - 1);
        let shape = self.weights.size();
        let zeros = Tensor::zeros([shape[0], shape[1], side], (Kind::Float, starts.device()));
        zeros.scatter_add(2, &places, &self.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vqfarm_core::rng::{Key, Purpose};

    #[test]
    fn at_once_is_as_one_by_one() {
        let mut noise = vec![0f32; 2 * 3 * 30 * 44];
        Key::new(1, Purpose::Scene).stream().fill_normal(&mut noise);
        let images = Tensor::from_slice(&noise).view([2, 3, 30, 44]);
        let draw = |image, cutout| {
            let mut stream = Key::new(image, Purpose::Crop).cutout(cutout).stream();
            Crop::draw(&mut stream, 44, 30, 16, 1.0)
        };
        let crops: Vec<Vec<Crop>> =
            (0..2).map(|image| (0..5).map(|cutout| draw(image, cutout)).collect()).collect();
        let back = |cut: fn(&Tensor, &[Vec<Crop>], i64) -> Tensor| {
            let x = images.copy().set_requires_grad(true);
            let y = cut(&x, &crops, 16);
            y.square().sum(Kind::Float).backward();
            (y.detach(), x.grad())
        };
        let (one_by_one, gradient) = back(cut_out_of_all);
        let (together, its_gradient) = back(at_once);
        for (a, b) in [(one_by_one, together), (gradient, its_gradient)] {
            let error = (a - &b).abs().max() / b.abs().max();
            assert!(error.double_value(&[]) < 1e-6, "{error:?}");
        }
    }
}
