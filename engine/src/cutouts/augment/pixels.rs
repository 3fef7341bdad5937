//! Augmentations of single pixels and their neighbours: sharpness and erasing.

use tch::{Kind, Tensor};
use vqfarm_core::rng::Stream;

/// kornia's `sharpness`: blends the image with its 3×3 blur (centre weight 5 of 13), factor 1
/// keeping the image, 0 the blur; pixels of the edge stay. `factor` is float32 [N].
pub fn sharpness(x: &Tensor, factor: &Tensor) -> Tensor {
    let shape = x.size();
    let inner = x.narrow(2, 1, shape[2] - 2).narrow(3, 1, shape[3] - 2);
    let mean = x.avg_pool2d([3, 3], [1, 1], [0, 0], false, true, None);
    let blurred = ((mean * 9.0 + &inner * 4.0) / 13.0).clamp(0.0, 1.0);
    let towards_blur: Tensor = (blurred - inner) * (1.0 - factor.view([-1, 1, 1, 1]));
    x + towards_blur.constant_pad_nd([1, 1, 1, 1])
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    pub x: i64,
    pub y: i64,
    pub width: i64,
    pub height: i64,
}

impl Rectangle {
    /// kornia's draw within a square of `size` pixels: an area between `areas` of the whole and
    /// an aspect in [`lowest`, 1] or [1, 1/`lowest`], either by the toss of a coin.
    pub fn draw(stream: &mut Stream, areas: [f64; 2], lowest: f64, size: i64) -> Self {
        let area = stream.range(areas[0], areas[1]) * (size * size) as f64;
        let (tall, wide) = (stream.range(lowest, 1.0), stream.range(1.0, 1.0 / lowest));
        let aspect = if stream.chance(0.5) { tall } else { wide };
        let side = |length: f64| (length.sqrt().round_ties_even() as i64).clamp(1, size);
        let (height, width) = (side(area * aspect), side(area / aspect));
        let mut place = |length: i64| i64::from(stream.below((size - length + 1) as u32));
        Self { x: place(width), y: place(height), width, height }
    }
}

/// Blackens one rectangle in each cutout.
pub fn erase(x: &Tensor, rectangles: &[Rectangle]) -> Tensor {
    let numbers: Vec<i64> = rectangles.iter().flat_map(|r| [r.x, r.y, r.width, r.height]).collect();
    erase_at(x, &Tensor::from_slice(&numbers).to_device(x.device()).view([-1, 4]))
}

/// As [`erase`], by x, y, width and height on the device, int64 [N, 4].
pub fn erase_at(x: &Tensor, rectangles: &Tensor) -> Tensor {
    let size = x.size();
    let within = |n: i64, side: i64| {
        let at = Tensor::arange(n, (Kind::Int64, x.device())).unsqueeze(0);
        let (start, length) = (rectangles.narrow(1, side, 1), rectangles.narrow(1, side + 2, 1));
        at.ge_tensor(&start).logical_and(&at.lt_tensor(&(&start + length)))
    };
    let (columns, rows) = (within(size[3], 0), within(size[2], 1));
    let inside = rows.unsqueeze(2).logical_and(&columns.unsqueeze(1));
    x.masked_fill(&inside.unsqueeze(1), 0.0)
}
