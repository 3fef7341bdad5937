//! Kind `clip`: features of images and texts, and the gradient to the image.

use anyhow::Result;
use tch::Kind;
use vqfarm_engine::model::Perceptor;
use vqfarm_engine::net::{Clip, Weights};

use crate::fixture::Fixture;
use crate::report::{NETWORK, Report};

/// The network that a fixture of this kind holds.
pub fn load(fixture: &Fixture) -> Result<Clip> {
    let weights = fixture.weights();
    Ok(Clip::new(&Weights::new(&weights, Kind::Float), &fixture.json("config")?)?)
}

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let net = load(fixture)?;
    let image = fixture.tensor("image")?.set_requires_grad(true);
    let features = net.encode_image(&image);
    report.close("image_features", &features, &fixture.tensor("image_features")?, NETWORK);
    (&features * fixture.tensor("cotangent")?).sum(Kind::Float).backward();
    report.close("grad_image", &image.grad(), &fixture.tensor("grad_image")?, NETWORK);

    let texts = net.encode_tokens(&fixture.tensor("tokens")?);
    report.close("text_features", &texts, &fixture.tensor("text_features")?, NETWORK);
    Ok(())
}
