//! What a VQGAN's decoder keeps of one picture. Numbers, not bytes.

use super::thrift::Decoder;
use crate::vqgan::VqganConfig;

/// Numbers that are alive because of the decoder.
pub(super) struct Activations {
    /// From the way there to the way back.
    pub kept: f64,
    /// Besides, on the way back.
    pub back: f64,
}

/// A step of the decoder.
struct Step {
    input: f64,
    /// What it keeps for the way back besides its input.
    inner: f64,
    output: f64,
}

/// Gradients and temporaries of a step's larger side that are alive on the way back, and the gaps
/// between what is kept: by measurement.
const GRADIENTS: f64 = 15.0;

pub(super) fn activations(config: &VqganConfig, size: [f64; 2], decoder: Decoder) -> Activations {
    let steps = steps(config, size);
    let larger = |step: &Step| step.input.max(step.output);
    let inputs: f64 = steps.iter().map(|step| step.input).sum();
    match decoder {
        Decoder::Whole => Activations {
            kept: inputs + steps.iter().map(|step| step.inner).sum::<f64>(),
            back: steps.iter().map(|step| GRADIENTS * larger(step)).fold(0.0, f64::max),
        },
        Decoder::Checkpointed => Activations {
            kept: inputs,
            back: steps
                .iter()
                .map(|step| step.inner + GRADIENTS * larger(step))
                .fold(0.0, f64::max),
        },
    }
}

/// Each latent cell's distances to the codebook's rows, and what they are computed from.
pub(super) fn distances(config: &VqganConfig, size: [f64; 2]) -> f64 {
    3.0 * cells(config, size) * config.n_embed as f64
}

fn cells(config: &VqganConfig, [width, height]: [f64; 2]) -> f64 {
    let factor = config.factor() as f64;
    (width / factor).floor().max(1.0) * (height / factor).floor().max(1.0)
}

fn steps(config: &VqganConfig, size: [f64; 2]) -> Vec<Step> {
    let ch = config.ch as f64;
    let mut area = cells(config, size);
    let mut resolution = config.resolution >> config.ch_mult.len().saturating_sub(1).min(62);
    let mut channels = ch * config.ch_mult.last().copied().unwrap_or(1) as f64;
    let latent = config.embed_dim.max(config.z_channels) as f64;
    let mut steps = vec![
        Step { input: latent * area, inner: latent * area, output: channels * area },
        residual(channels, channels, area),
        attention(channels, area),
        residual(channels, channels, area),
    ];
    for (level, mult) in config.ch_mult.iter().enumerate().rev() {
        let width = ch * *mult as f64;
        for _ in 0..=config.num_res_blocks {
            steps.push(residual(channels, width, area));
            channels = width;
            if config.attn_resolutions.contains(&resolution) {
                steps.push(attention(width, area));
            }
        }
        if level > 0 {
            let enlarged = 4.0 * width * area;
            steps.push(Step { input: width * area, inner: 0.0, output: enlarged });
            area *= 4.0;
            resolution *= 2;
        }
    }
    let numbers = channels * area;
    let output = config.out_ch as f64 * area;
    steps.push(Step { input: numbers, inner: 2.0 * numbers, output });
    steps
}

/// Norm, swish and convolution, twice: the input of each is kept.
fn residual(inputs: f64, outputs: f64, area: f64) -> Step {
    Step {
        input: inputs * area,
        inner: (2.0 * inputs + 3.0 * outputs) * area,
        output: outputs * area,
    }
}

/// The norm's output, queries, keys, values, and what was made of them in two layouts.
fn attention(channels: f64, area: f64) -> Step {
    let numbers = channels * area;
    Step { input: numbers, inner: 6.0 * numbers, output: numbers }
}
