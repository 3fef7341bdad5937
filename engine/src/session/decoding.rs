//! A generator's way to images and back, with little or much of it kept in between.

use tch::{Kind, Tensor};
use vqfarm_weights::memory::Decoder;

use crate::model::Generator;

/// Images of quantised latents, and what the way back needs.
pub(super) enum Decoding<'g> {
    /// With all that was computed on the way.
    Whole { raw: Tensor },
    /// With what went into each step.
    Checkpointed { generator: &'g dyn Generator, z_q: Tensor, inputs: Vec<Tensor>, raw: Tensor },
}

impl<'g> Decoding<'g> {
    pub fn new(generator: &'g dyn Generator, z_q: Tensor, decoder: Decoder) -> Self {
        match decoder {
            Decoder::Whole => Self::Whole { raw: generator.decode(&z_q) },
            Decoder::Checkpointed => {
                let mut inputs = Vec::new();
                let raw = tch::no_grad(|| {
                    generator.decode_steps().iter().fold(z_q.detach(), |input, step| {
                        let output = step(&input);
                        inputs.push(input);
                        output
                    })
                });
                Self::Checkpointed { generator, z_q, inputs, raw }
            }
        }
    }

    /// The images, [B, 3, H, W] in about [0, 1].
    pub fn raw(&self) -> &Tensor {
        match self {
            Self::Whole { raw } | Self::Checkpointed { raw, .. } => raw,
        }
    }

    /// Takes the images' gradient back into the latents.
    pub fn backward(self, gradient: Tensor) {
        match self {
            Self::Whole { raw } => back(&raw, &gradient),
            Self::Checkpointed { generator, z_q, inputs, raw } => {
                drop(raw);
                let mut gradient = gradient;
                for (step, input) in generator.decode_steps().iter().zip(inputs).rev() {
                    let input = input.set_requires_grad(true);
                    back(&step(&input), &gradient);
                    gradient = input.grad();
                }
                back(&z_q, &gradient);
            }
        }
    }
}

/// tch goes back from numbers only: from one whose gradient is `gradient` on `output`.
fn back(output: &Tensor, gradient: &Tensor) {
    (output * gradient).sum(Kind::Float).backward();
}
