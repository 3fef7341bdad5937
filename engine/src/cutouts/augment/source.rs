//! What moves sample from: cutouts, or straight from the images before there are any.

use tch::{Device, Kind, Tensor};

use super::geometry::{BILINEAR, Places};

/// Most pixels of an image that one step of a cutout may span for the moves to sample straight from
/// the image: bilinear sampling reads two of them a side, so that from two on it leaves some out,
/// and close to that fine patterns alias.
const WIDEST_STEP: f64 = 1.5;

/// Whether crops of up to so many pixels a side need no filter to become cutouts of `size`.
pub fn needs_no_filter(largest: i64, size: i64) -> bool {
    largest as f64 <= WIDEST_STEP * size as f64
}

/// Images that cutouts are sampled from, as many of each.
pub struct Source {
    /// [B, C, H, W].
    images: Tensor,
    count: i64,
    /// Side, x and y of each cutout's piece in pixels, float32 [B·count, 3]; without them the
    /// cutouts show squares of their own size.
    crops: Option<Tensor>,
}

impl Source {
    /// The cutouts [N, C, S, S] themselves.
    pub fn cutouts(batch: &Tensor) -> Self {
        Self::squares(batch.shallow_clone(), 1)
    }

    /// The whole of images [B, C, S, S], `count` times each.
    pub fn squares(images: Tensor, count: i64) -> Self {
        Self { images, count, crops: None }
    }

    /// Pieces of images [B, C, H, W], by side, x and y in pixels, [B·count, 3].
    pub fn crops(images: &Tensor, crops: &Tensor, count: i64) -> Self {
        let crops = Some(crops.to_kind(Kind::Float).to_device(images.device()));
        Self { images: images.shallow_clone(), count, crops }
    }

    /// How many cutouts there are.
    pub fn len(&self) -> i64 {
        self.images.size()[0] * self.count
    }

    pub fn device(&self) -> Device {
        self.images.device()
    }

    /// What cutouts of `size` pixels see at these places: [B·count, C, size, size]. Beyond the edge
    /// of the piece they see its outermost pixels.
    pub(super) fn sample(&self, places: &Places, size: i64) -> Tensor {
        let (batch, channels) = (self.images.size()[0], self.images.size()[1]);
        let grid = match &self.crops {
            Some(crops) => self.within(crops, places, size),
            None => places.grid(size),
        };
        const BORDER: i64 = 1;
        // All cutouts of an image are one tall picture of it, so that it is read where it lies.
        let grid = grid.reshape([batch, self.count * size, size, 2]);
        self.images
            .grid_sampler_2d(&grid, BILINEAR, BORDER, true)
            .view([batch, channels, self.count, size, size])
            .transpose(1, 2)
            .reshape([-1, channels, size, size])
    }

    /// The grid of places on cutouts that show pieces of the images, corner on corner as
    /// [`crate::cutouts::resample`] lays them.
    fn within(&self, crops: &Tensor, places: &Places, size: i64) -> Tensor {
        let centre = (size - 1) as f64 / 2.0;
        let number = |i: i64| crops.select(1, i).view([-1, 1, 1]);
        let step = (number(0) - 1.0) / (2.0 * centre).max(1.0);
        let along = |place: &Tensor, start: Tensor, side: i64| {
            let pixel = (place.clamp(-centre, centre) + centre) * &step + start;
            pixel * (2.0 / ((side - 1) as f64).max(1.0)) - 1.0
        };
        let (height, width) = (self.images.size()[2], self.images.size()[3]);
        let x = along(&places.x, number(1), width);
        Tensor::stack(&[x, along(&places.y, number(2), height)], -1)
    }
}
