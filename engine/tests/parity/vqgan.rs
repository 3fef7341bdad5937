//! Kind `vqgan`: encoder, codebook and decoder, and the gradient through all of the loop's part.

use anyhow::{Result, ensure};
use tch::Kind;
use vqfarm_engine::clamp::masked_gradient;
use vqfarm_engine::model::Generator;
use vqfarm_engine::net::{Vqgan, Weights};

use crate::fixture::Fixture;
use crate::report::{NETWORK, Report};

/// The network that a fixture of this kind holds.
pub fn load(fixture: &Fixture) -> Result<Vqgan> {
    let weights = fixture.weights();
    Ok(Vqgan::new(&Weights::new(&weights, Kind::Float), &fixture.json("config")?)?)
}

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let net = load(fixture)?;

    let x = fixture.tensor("x")?;
    report.close("encoder_out", &net.encoder_out(&x), &fixture.tensor("encoder_out")?, NETWORK);
    let prequant = net.prequant(&x);
    report.close("prequant", &prequant, &fixture.tensor("prequant")?, NETWORK);
    // Codes are compared for the original's own numbers: a near tie must not decide the check.
    let prequant = fixture.tensor("prequant")?;
    if let Some(logits) = net.gumbel_logits(&prequant) {
        report.close("gumbel_logits", &logits, &fixture.tensor("gumbel_logits")?, NETWORK);
    } else {
        ensure!(!fixture.has("gumbel_logits"), "the config makes no Gumbel quantiser");
    }
    let indices = net.encode_indices(&prequant);
    report.exact("encode_indices", &indices, &fixture.tensor("encode_indices")?);
    report.exact("encode_z", &net.rows(&indices), &fixture.tensor("encode_z")?);

    let (low, high) = net.bounds();
    report.exact("z_min", &low.view(-1), &fixture.tensor("z_min")?);
    report.exact("z_max", &high.view(-1), &fixture.tensor("z_max")?);

    let z = fixture.tensor("z")?.set_requires_grad(true);
    let z_q = net.quantize(&z);
    report.close("z_quantized", &z_q, &fixture.tensor("z_quantized")?, NETWORK);
    report.close("decoded", &net.decoder_out(&z_q), &fixture.tensor("decoded")?, NETWORK);
    let raw = net.decode(&z_q);
    report.close("image", &raw.clamp(0.0, 1.0), &fixture.tensor("image")?, NETWORK);
    let gradient = masked_gradient(&raw, &fixture.tensor("cotangent")?, 0.0, 1.0);
    (&raw * gradient).sum(Kind::Float).backward();
    report.close("grad_z", &z.grad(), &fixture.tensor("grad_z")?, NETWORK);
    Ok(())
}
