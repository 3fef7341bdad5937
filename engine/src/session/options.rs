//! Switches of how sessions compute, beyond what a picture's settings say.

/// How sessions compute. The defaults are what is quickest on each device; the switches serve
/// measuring, and whoever mistrusts one of them. Pictures change by rounding at most, but for
/// `composed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the numbers of the next iterations are drawn before and lie on the device, instead
    /// of being brought there as they are needed. Left out: on a GPU. Without it there are no
    /// graphs either.
    pub ahead: Option<bool>,
    /// Whether consecutive augmentations that move pixels are sampled at once. Sharper than one
    /// after another, as the originals do it. Left out: on a GPU.
    pub composed: Option<bool>,
    pub graphs: Graphs,
    /// Whether the pictures of a batch are computed in two halves side by side, so that the decoder
    /// of one fills what the perceptor of the other leaves free. On a GPU only.
    pub halves: bool,
}

/// Whether iterations are captured as a CUDA graph, which the GPU repeats by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Graphs {
    /// Where it can be done and is worth it.
    #[default]
    Auto,
    Off,
}
