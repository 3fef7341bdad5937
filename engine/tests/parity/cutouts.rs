//! Kinds `clamp_with_grad`, `resample`, `cutouts_original`, `cutouts_pooled`: the image's way
//! to the perceptor without anything random.

use anyhow::Result;
use serde::Deserialize;
use tch::{Kind, Tensor};
use vqfarm_engine::clamp::masked_gradient;
use vqfarm_engine::cutouts::crops::{Crop, Resample, cut_out};
use vqfarm_engine::cutouts::pooled::pooled;
use vqfarm_engine::cutouts::resample::{resample, resample_in_steps};

use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

pub fn check_clamp(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let (low, high) = (fixture.json("min")?, fixture.json("max")?);
    let x = fixture.tensor("x")?;
    let gradient = masked_gradient(&x, &fixture.tensor("cotangent")?, low, high);
    report.close("y", &x.clamp(low, high), &fixture.tensor("y")?, BLOCK);
    report.close("grad", &gradient, &fixture.tensor("grad")?, BLOCK);
    Ok(())
}

/// What rendering does, and what the originals do.
const WAYS: [(&str, Resample); 2] = [("by matrices", resample), ("in steps", resample_in_steps)];

#[derive(Deserialize)]
struct Resized {
    size: [i64; 2],
}

pub fn check_resample(fixture: &Fixture, report: &mut Report) -> Result<()> {
    for (i, case) in fixture.json::<Vec<Resized>>("cases")?.iter().enumerate() {
        let cotangent = fixture.tensor(&format!("cotangent.{i}"))?;
        for (how, resample) in WAYS {
            let x = fixture.tensor(&format!("x.{i}"))?.copy().set_requires_grad(true);
            let y = resample(&x, case.size);
            let expected = fixture.tensor(&format!("y.{i}"))?;
            report.close(format!("y.{i}, {how}"), &y, &expected, BLOCK);
            let gradient = pull_back(&x, &y, &cotangent);
            let expected = fixture.tensor(&format!("grad.{i}"))?;
            report.close(format!("grad.{i}, {how}"), &gradient, &expected, BLOCK);
        }
    }
    Ok(())
}

pub fn check_original(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let cut = fixture.json("cut_size")?;
    let boxes = fixture.integers("boxes")?;
    let crops: Vec<Crop> = boxes.chunks(3).map(|b| Crop { size: b[0], x: b[1], y: b[2] }).collect();
    for (how, resample) in WAYS {
        let x = fixture.tensor("x")?.copy().set_requires_grad(true);
        let raw = cut_out(&x.get(0), &crops, cut, resample);
        let cotangent = masked_gradient(&raw, &fixture.tensor("cotangent")?, 0.0, 1.0);
        let expected = fixture.tensor("y")?;
        report.close(format!("y, {how}"), &raw.clamp(0.0, 1.0), &expected, BLOCK);
        let gradient = pull_back(&x, &raw, &cotangent);
        report.close(format!("grad, {how}"), &gradient, &fixture.tensor("grad")?, BLOCK);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Pooled {
    cut_size: i64,
}

pub fn check_pooled(fixture: &Fixture, report: &mut Report) -> Result<()> {
    for (i, case) in fixture.json::<Vec<Pooled>>("cases")?.iter().enumerate() {
        let x = fixture.tensor(&format!("x.{i}"))?.set_requires_grad(true);
        let y = pooled(&x, case.cut_size);
        let gradient = pull_back(&x, &y, &fixture.tensor(&format!("cotangent.{i}"))?);
        report.close(format!("y.{i}"), &y, &fixture.tensor(&format!("y.{i}"))?, BLOCK);
        let expected = fixture.tensor(&format!("grad.{i}"))?;
        report.close(format!("grad.{i}"), &gradient, &expected, BLOCK);
    }
    Ok(())
}

/// The gradient of x for a gradient of y.
pub fn pull_back(x: &Tensor, y: &Tensor, cotangent: &Tensor) -> Tensor {
    (y * cotangent).sum(Kind::Float).backward();
    x.grad()
}
