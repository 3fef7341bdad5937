//! The seams: what a picture generator and a perceptor must offer to the loop.
//!
//! Both are called once an iteration on whole batches, so dynamic dispatch costs nothing.

use tch::Tensor;

use crate::error::Result;

/// One of the steps of decoding.
pub type Step<'a> = Box<dyn Fn(&Tensor) -> Tensor + 'a>;

/// Makes images from latents (VQGAN today).
pub trait Generator: Send {
    /// Image pixels per latent cell, along each side (16 for f16).
    fn factor(&self) -> i64;

    /// Channels of the latent.
    fn channels(&self) -> i64;

    /// Rows in the codebook; a random start draws one of them for each cell.
    fn codes(&self) -> i64;

    /// Codebook rows by index: int64 [B, h, w] → latent [B, e, h, w].
    fn rows(&self, indices: &Tensor) -> Tensor;

    /// Nearest codebook row of each cell, [B, e, h, w] → int64 [B, h, w].
    fn nearest(&self, z: &Tensor) -> Tensor;

    /// Codebook minimum and maximum of each channel, both [1, e, 1, 1].
    fn bounds(&self) -> (&Tensor, &Tensor);

    /// Decodes quantised latents [B, e, h, w] to images in about [0, 1],
    /// unclamped: (decoder output + 1)/2, [B, 3, h·factor, w·factor].
    fn decode(&self, z_q: &Tensor) -> Tensor;

    /// [`Generator::decode`] in steps, each of which takes what the one before gave: who has
    /// little memory keeps only that, and computes the rest again on the way back.
    fn decode_steps(&self) -> Vec<Step<'_>> {
        vec![Box::new(|z_q| self.decode(z_q))]
    }

    /// Quantised latent of an image in [0, 1] whose sides are multiples of the factor.
    fn encode(&self, image: &Tensor) -> Tensor;

    /// `nearest` then `rows`, the gradient passing straight through to `z`.
    fn quantize(&self, z: &Tensor) -> Tensor {
        let q = self.rows(&self.nearest(z));
        q.detach() + (z - z.detach())
    }
}

/// Says how well images and texts agree (CLIP today).
pub trait Perceptor: Send {
    /// Side of the square input in pixels.
    fn resolution(&self) -> i64;

    /// Features [N, d] of normalised images [N, 3, resolution, resolution]; not yet unit length.
    fn encode_image(&self, normalised: &Tensor) -> Tensor;

    /// Features [1, d] of a text; not yet unit length. The flag tells that the text was
    /// longer than the context and was cut.
    fn encode_text(&self, text: &str) -> Result<(Tensor, bool)>;

    /// Mean and standard deviation that normalise an image in [0, 1], per channel.
    fn normalisation(&self) -> ([f64; 3], [f64; 3]);
}
