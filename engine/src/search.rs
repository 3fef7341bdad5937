//! Which pictures show a text best: the perceptors' judgement of whole pictures, many at once.

use image::RgbImage;
use tch::{Device, Kind, Tensor};
use vqfarm_core::render::Precision;
use vqfarm_weights::Model;
use vqfarm_weights::clip::ClipConfig;

use crate::device;
use crate::error::Result;
use crate::guard::guard;
use crate::image_io;
use crate::loss::unit;
use crate::model::Perceptor;
use crate::net::{Clip, Weights, to_tensors};
use crate::perception::{Normal, whole};

/// Perceptors that look for one text.
pub struct Search {
    judges: Vec<Judge>,
    device: Device,
    is_cut: bool,
}

struct Judge {
    network: Box<dyn Perceptor>,
    normal: Normal,
    /// Unit features of the text, [1, d].
    text: Tensor,
}

/// A picture as each perceptor sees it, [1, 3, side, side] on the CPU.
pub struct Seen(Vec<Tensor>);

impl Search {
    /// Builds the perceptors in float32, as scores of frames are computed, and reads the text.
    ///
    /// # Errors
    /// Weights do not fit their configuration; the device has too little memory.
    pub fn new(perceptors: &[Model<ClipConfig>], device: Device, text: &str) -> Result<Self> {
        let (kind, _) = device::set_precision(device, Precision::Float32)?;
        let mut search = Self { judges: Vec::new(), device, is_cut: false };
        for model in perceptors {
            let tensors = to_tensors(&model.state, device)?;
            let weights = Weights::new(&tensors, kind).fast();
            let network = Box::new(Clip::new(&weights, &model.config)?);
            let (text, cut) = guard(|| network.encode_text(text)).and_then(|result| result)?;
            search.is_cut |= cut;
            let normal = Normal::of(&*network, device);
            search.judges.push(Judge { network, normal, text: unit(&text) });
        }
        Ok(search)
    }

    /// Whether the text is longer than a perceptor reads.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Sides of what the perceptors see, in pixels.
    pub fn resolutions(&self) -> Vec<i64> {
        self.judges.iter().map(|judge| judge.network.resolution()).collect()
    }

    /// For each picture the cosine between its features and the text's, the mean of all
    /// perceptors: what a frame's score is for a prompt of this text alone.
    ///
    /// # Errors
    /// libtorch fails, mostly for want of memory.
    pub fn scores(&self, pictures: &[Seen]) -> Result<Vec<f32>> {
        if pictures.is_empty() {
            return Ok(Vec::new());
        }
        let mut sum = Tensor::zeros([pictures.len() as i64], (Kind::Float, self.device));
        for (number, judge) in self.judges.iter().enumerate() {
            let images: Vec<&Tensor> = pictures.iter().map(|seen| &seen.0[number]).collect();
            let images = Tensor::f_cat(&images, 0)?;
            let pixels = images.size()[2] * images.size()[3] * images.size()[0];
            device::set_threads(self.device, pixels.unsigned_abs());
            let images = judge.normal.apply(&images.f_to_device(self.device)?);
            let look = || tch::no_grad(|| unit(&judge.network.encode_image(&images)));
            let cosines = (guard(look)? * &judge.text).sum_dim_intlist(
                [-1i64].as_slice(),
                false,
                Kind::Float,
            );
            sum += cosines / self.judges.len() as f64;
        }
        Ok(Vec::try_from(sum.to_device(Device::Cpu))?)
    }
}

impl Seen {
    /// Shrinks a picture to what the perceptors see. Any thread may do so.
    ///
    /// # Errors
    /// libtorch is out of memory.
    pub fn new(picture: &RgbImage, resolutions: &[i64]) -> Result<Self> {
        let image = image_io::to_tensor(picture, Device::Cpu)?;
        let views = resolutions.iter().map(|&side| whole(&image, side));
        Ok(Self(views.collect::<Result<_>>()?))
    }
}
