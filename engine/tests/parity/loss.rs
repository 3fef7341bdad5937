//! Kind `loss`: the prompt loss and its gradient to the image features.

use anyhow::Result;
use serde::Deserialize;
use vqfarm_engine::loss::{Target, Targets};

use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

/// A prompt as fixtures write it.
#[derive(Deserialize)]
pub struct Case {
    pub weight: f64,
    pub stop: Option<f64>,
}

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let cases: Vec<Case> = fixture.json("cases")?;
    let features = fixture.tensor("image_features")?;
    for (i, case) in cases.iter().enumerate() {
        let target = Target {
            embeddings: fixture.tensor(&format!("embed.{i}"))?,
            weight: case.weight,
            stop: case.stop,
        };
        let targets = Targets::new(&[&[target]])?;
        let input = features.unsqueeze(0).set_requires_grad(true);
        let loss = targets.losses(&input, input.size()[1]);
        loss.sum(tch::Kind::Float).backward();
        let expected = fixture.tensor(&format!("loss.{i}"))?;
        report.close(format!("loss.{i}"), &loss.view(()), &expected, BLOCK);
        let expected = fixture.tensor(&format!("grad.{i}"))?;
        report.close(format!("grad.{i}"), &input.grad().squeeze_dim(0), &expected, BLOCK);
    }
    Ok(())
}
