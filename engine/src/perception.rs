//! From images to a perceptor's features: cutouts, normalisation, network.

use std::num::NonZero;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::Key;

use crate::clamp::masked_gradient;
use crate::cutouts::Cutter;
use crate::cutouts::ahead::CutsAhead;
use crate::error::Result;
use crate::loss::Targets;
use crate::model::Perceptor;
use crate::models::Models;
use crate::session::Stage;

/// How cutouts are made. [`Cutter`] makes them as the settings say; another way can be given
/// to [`crate::Session::with_cutouts`].
pub trait Cut: Send {
    /// Cutouts of one image.
    fn count(&self) -> i64;

    /// Whether the cutouts are to be clamped to [0, 1] as [`crate::clamp`] does.
    fn clamps(&self) -> bool;

    /// Images [B, 3, H, W], with one key (seed, frame, iteration) each, → [B·count, 3, cut, cut],
    /// image by image, unclamped.
    fn cut(&self, images: &Tensor, keys: &[Key]) -> Tensor;

    /// The same cutouts by draws made ahead, for images of this height and width with one key
    /// (seed, frame) each. None for a way that cannot.
    fn ahead(&self, _keys: &[Key], _size: [i64; 2], _device: Device) -> Option<CutsAhead> {
        None
    }
}

impl Cut for Cutter {
    fn count(&self) -> i64 {
        self.count()
    }

    fn clamps(&self) -> bool {
        self.clamps()
    }

    fn cut(&self, images: &Tensor, keys: &[Key]) -> Tensor {
        self.cut(images, keys)
    }

    fn ahead(&self, keys: &[Key], size: [i64; 2], device: Device) -> Option<CutsAhead> {
        Some(self.ahead(keys, size, device))
    }
}

/// Makes the cutouts' maker for perceptors of a resolution.
pub type MakeCut<'a> = dyn Fn(i64) -> Result<Box<dyn Cut>> + 'a;

/// Cutouts of one size, and the perceptors that look at them.
pub(crate) struct Eye {
    resolution: i64,
    cutter: Box<dyn Cut>,
    views: Vec<View>,
}

/// A perceptor, by its number among the models, with its normalisation.
pub(crate) struct View {
    pub perceptor: usize,
    normal: Normal,
}

/// How a perceptor wants its pixels: mean and deviation, [1, 3, 1, 1].
pub(crate) struct Normal {
    mean: Tensor,
    deviation: Tensor,
}

/// Cutouts on their way to the perceptors, with the graph cut between the two: what the
/// perceptors computed is freed before the gradient goes on into the image.
pub(crate) struct Pieces {
    raw: Tensor,
    seen: Tensor,
    /// What the perceptors left so far.
    gradient: Option<Tensor>,
    clamped: bool,
}

impl Eye {
    /// Side of the cutouts in pixels.
    pub fn resolution(&self) -> i64 {
        self.resolution
    }

    /// The eyes of all perceptors: those of one resolution share their cutouts.
    ///
    /// # Errors
    /// The cutouts' settings make no sense.
    pub fn of(models: &Models, cutter: &MakeCut) -> Result<Vec<Self>> {
        let mut eyes: Vec<Self> = Vec::new();
        for (perceptor, network) in models.perceptors.iter().enumerate() {
            let normal = Normal::of(&**network, models.device());
            let view = View { perceptor, normal };
            let resolution = network.resolution();
            match eyes.iter_mut().find(|eye| eye.resolution == resolution) {
                Some(eye) => eye.views.push(view),
                None => {
                    let cutter = cutter(resolution)?;
                    eyes.push(Self { resolution, cutter, views: vec![view] });
                }
            }
        }
        Ok(eyes)
    }

    /// Who looks through this eye.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// How the cutouts are made.
    pub fn cutter(&self) -> &dyn Cut {
        &*self.cutter
    }

    /// Cutouts of images [B, 3, H, W], one key each.
    pub fn cut(&self, images: &Tensor, keys: &[Key]) -> Pieces {
        self.pieces(self.cutter.cut(images, keys))
    }

    /// Cutouts [B·count, 3, cut, cut] on their way to the perceptors.
    pub fn pieces(&self, raw: Tensor) -> Pieces {
        let clamped = self.cutter.clamps();
        let seen = raw.detach();
        let seen = if clamped { seen.clamp(0.0, 1.0) } else { seen };
        Pieces { raw, seen, gradient: None, clamped }
    }

    /// Losses [B, P] of all cutouts as one perceptor sees them, whose gradient is left on the
    /// pieces. Looks at so many cutouts of an image at a time. `clock` is told after each way
    /// there and back.
    pub fn look(
        &self,
        models: &Models,
        view: &View,
        pieces: &mut Pieces,
        targets: &Targets,
        at_once: Option<NonZero<u32>>,
        clock: &mut dyn FnMut(Stage),
    ) -> Tensor {
        let count = self.cutter.count();
        let at_once = at_once.map_or(count, |most| i64::from(most.get()).min(count));
        let (mut losses, mut gradients) = (None, Vec::new());
        for first in (0..count).step_by(at_once.max(1) as usize) {
            let some = pieces.some(count, first, at_once.min(count - first));
            let features = view.features(models, &some.flatten(0, 1));
            let size = some.size();
            let loss = targets.losses(&features.view([size[0], size[1], -1]), count);
            clock(Stage::Perceive);
            loss.sum(Kind::Float).backward();
            gradients.push(some.grad());
            losses = Some(match losses {
                Some(sum) => sum + loss.detach(),
                None => loss.detach(),
            });
            clock(Stage::PerceiveBack);
        }
        pieces.leave(match gradients.len() {
            1 => gradients.remove(0),
            _ => Tensor::cat(&gradients, 1),
        });
        losses.unwrap_or_default()
    }

    /// Features [count, d] of one image [1, 3, H, W], without gradients.
    pub fn look_once(&self, models: &Models, view: &View, image: &Tensor, key: Key) -> Tensor {
        tch::no_grad(|| view.features(models, &self.cut(image, &[key]).seen))
    }
}

impl View {
    /// Features [N, d] of images [N, 3, resolution, resolution] in [0, 1].
    pub fn features(&self, models: &Models, images: &Tensor) -> Tensor {
        models.perceptors[self.perceptor].encode_image(&self.normal.apply(images))
    }
}

impl Normal {
    pub fn of(network: &dyn Perceptor, device: Device) -> Self {
        let (mean, deviation) = network.normalisation();
        let per_channel = |values: [f64; 3]| {
            let values = Tensor::from_slice(&values).to_kind(Kind::Float);
            values.view([1, 3, 1, 1]).to_device(device)
        };
        Self { mean: per_channel(mean), deviation: per_channel(deviation) }
    }

    /// Images in [0, 1] as the perceptor wants them.
    pub fn apply(&self, images: &Tensor) -> Tensor {
        (images - &self.mean) / &self.deviation
    }
}

/// An image [1, 3, H, W] as a perceptor of this resolution sees it as a whole, stretched to
/// [1, 3, side, side].
///
/// # Errors
/// libtorch fails.
pub(crate) fn whole(image: &Tensor, side: i64) -> Result<Tensor> {
    // Averaged areas when shrinking, and no ringing when enlarging.
    let sized = || image.f_internal_upsample_bilinear2d_aa([side, side], false, None, None);
    Ok(tch::no_grad(sized)?)
}

impl Pieces {
    /// Some cutouts of each image, of which there are `count`, as a leaf [B, n, 3, cut, cut].
    fn some(&self, count: i64, first: i64, n: i64) -> Tensor {
        let size = self.seen.size();
        let by_image = self.seen.view([-1, count, size[1], size[2], size[3]]);
        by_image.narrow(1, first, n).detach().set_requires_grad(true)
    }

    /// Adds a gradient of all cutouts.
    fn leave(&mut self, gradient: Tensor) {
        let gradient = gradient.reshape(self.seen.size());
        self.gradient = Some(match self.gradient.take() {
            Some(sum) => sum + gradient,
            None => gradient,
        });
    }

    /// Takes the gradient that the perceptors left on the cutouts back into the images.
    pub fn backward(self) {
        let Some(mut gradient) = self.gradient else { return };
        if self.clamped {
            gradient = masked_gradient(&self.raw, &gradient, 0.0, 1.0);
        }
        (self.raw * gradient).sum(Kind::Float).backward();
    }
}
