//! Cutouts: the pieces of the image that the perceptor looks at.
//!
//! Every draw comes from the key of its own image and cutout, so an image's cutouts do not
//! depend on the batch it is rendered in, nor on libtorch's random numbers.

pub mod ahead;
pub mod augment;
pub mod crops;
pub(crate) mod list;
mod normals;
pub mod pooled;
pub mod resample;

use std::sync::Arc;

use tch::{Device, Tensor};
use vqfarm_core::render::{CutoutMethod, Cutouts};
use vqfarm_core::rng::{Key, Purpose, Stream};

use crate::error::{EngineError, Result};
use ahead::CutsAhead;
use augment::{Augmentations, Source, Start, needs_no_filter};
use crops::Crop;

/// Makes the cutouts of a batch of images for one perceptor.
#[derive(Clone)]
pub struct Cutter {
    settings: Cutouts,
    size: i64,
    augmentations: Arc<Augmentations>,
}

impl Cutter {
    /// `cut_size` is the perceptor's resolution.
    ///
    /// # Errors
    /// Names the setting that makes no sense.
    pub fn new(settings: &Cutouts, cut_size: i64) -> Result<Self> {
        check(settings)?;
        Ok(Self {
            settings: settings.clone(),
            size: cut_size,
            augmentations: Arc::new(Augmentations::new(settings, cut_size)),
        })
    }

    /// Whether consecutive augmentations that move pixels are sampled at once (off at first), the
    /// first ones straight from the image. Sharper and quicker than one after another, as the
    /// originals do it, but not equal.
    pub fn composed(self, composed: bool) -> Self {
        let augmentations = Augmentations::new(&self.settings, self.size).composed(composed);
        Self { augmentations: Arc::new(augmentations), ..self }
    }

    /// Cutouts of one image.
    pub fn count(&self) -> i64 {
        i64::from(self.settings.count)
    }

    /// Whether the cutouts are to be clamped to [0, 1] by [`crate::clamp`] before they are
    /// normalised. `cut` leaves that to the loop, which cuts the graph there.
    pub fn clamps(&self) -> bool {
        self.settings.method == CutoutMethod::Original
    }

    /// Images [B, 3, H, W] in [0, 1] with one key (seed, frame, iteration) each
    /// → [B·count, 3, cut, cut], differentiable, image by image.
    ///
    /// # Panics
    /// When there is not one key an image.
    pub fn cut(&self, images: &Tensor, keys: &[Key]) -> Tensor {
        assert_eq!(images.size()[0], keys.len() as i64, "one key an image");
        let start = self.before_augmentation(images, keys);
        self.noisy(self.augmentations.apply(start, self.size, keys), keys)
    }

    fn before_augmentation(&self, images: &Tensor, keys: &[Key]) -> Start {
        if self.pools() {
            return self.pooled(images);
        }
        let shape = images.size();
        let crops: Vec<Vec<Crop>> = keys.iter().map(|key| self.crops(*key, &shape)).collect();
        if self.opens([shape[2], shape[3]]) {
            let numbers: Vec<i64> =
                crops.iter().flatten().flat_map(|c| [c.size, c.x, c.y]).collect();
            let crops = Tensor::from_slice(&numbers).view([-1, 3]);
            return Start::Images(Source::crops(images, &crops, self.count()));
        }
        Start::Cutouts(crops::cut_out_of_all(images, &crops, self.size))
    }

    /// Whether the cutouts show the whole image.
    fn pools(&self) -> bool {
        matches!(self.settings.method, CutoutMethod::Latest | CutoutMethod::Updatedpooling)
    }

    /// Whether the first augmentations sample images of this height and width themselves.
    fn opens(&self, [height, width]: [i64; 2]) -> bool {
        self.augmentations.begins_with_moves()
            && (self.pools() || needs_no_filter(height.min(width), self.size))
    }

    /// The whole of each image, as often as it has cutouts.
    fn pooled(&self, images: &Tensor) -> Start {
        let pooled = pooled::pooled(images, self.size);
        if self.augmentations.begins_with_moves() {
            return Start::Images(Source::squares(pooled, self.count()));
        }
        let each = pooled.unsqueeze(1).expand([-1, self.count(), -1, -1, -1], true).reshape([
            -1,
            images.size()[1],
            self.size,
            self.size,
        ]);
        // Of one image the above is only a view, in the decoder's layout.
        Start::Cutouts(each.contiguous())
    }

    fn crops(&self, key: Key, shape: &[i64]) -> Vec<Crop> {
        let draw = |i: u32| {
            let mut stream = drawn(key, Purpose::Crop).cutout(i).stream();
            Crop::draw(&mut stream, shape[3], shape[2], self.size, self.settings.power)
        };
        (0..self.settings.count).map(draw).collect()
    }

    fn adds_noise(&self) -> bool {
        self.settings.noise != 0.0 && !self.clamps()
    }

    /// Mixes U(0, noise)·normal into each cutout.
    fn noisy(&self, batch: Tensor, keys: &[Key]) -> Tensor {
        if !self.adds_noise() {
            return batch;
        }
        let mut streams = self.noise_streams(keys);
        let strengths: Vec<f32> =
            streams.iter_mut().map(|stream| self.noise_strength(stream) as f32).collect();
        let strengths = Tensor::from_slice(&strengths).to_device(batch.device());
        let noise = normals::normals(&batch, &mut streams);
        batch + strengths.view([-1, 1, 1, 1]) * noise
    }

    /// Each cutout's noise: first its strength.
    fn noise_streams(&self, keys: &[Key]) -> Vec<Stream> {
        let of_cutout = |i: u32, key: &Key| drawn(*key, Purpose::CutoutNoise).cutout(i).stream();
        keys.iter()
            .flat_map(|key| (0..self.settings.count).map(move |i| of_cutout(i, key)))
            .collect()
    }

    fn noise_strength(&self, stream: &mut Stream) -> f64 {
        stream.range(0.0, self.settings.noise)
    }

    /// The same cutouts of images of this height and width, in every iteration by the same
    /// operations. One key an image, but for the iteration.
    pub fn ahead(&self, keys: &[Key], size: [i64; 2], device: Device) -> CutsAhead {
        CutsAhead::new(self, keys, size, device)
    }
}

fn drawn(key: Key, purpose: Purpose) -> Key {
    Key { purpose: purpose as u32, ..key }
}

fn check(settings: &Cutouts) -> Result<()> {
    let refuse = |field, reason: String| Err(EngineError::Setting { field, reason });
    if settings.count == 0 {
        return refuse("cutouts.count", "must be at least 1".into());
    }
    if !(settings.power.is_finite() && settings.power > 0.0) {
        return refuse("cutouts.power", format!("must be above 0, not {}", settings.power));
    }
    if !(settings.noise.is_finite() && settings.noise >= 0.0) {
        return refuse("cutouts.noise", format!("must be 0 or more, not {}", settings.noise));
    }
    if settings.method == CutoutMethod::Original
        && settings.augmentations.as_ref().is_some_and(|list| !list.is_empty())
    {
        let reason = "the method `original` has none; take `nrupdated` for crops with your own";
        return refuse("cutouts.augmentations", reason.into());
    }
    Ok(())
}
