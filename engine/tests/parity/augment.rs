//! Kinds `augment_*`: what kornia does to cutouts for given parameters.

use anyhow::Result;
use tch::Tensor;
use vqfarm_engine::cutouts::augment::colour;

use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

type Change = fn(&Tensor, &Tensor) -> Tensor;

pub fn check_color(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let x = fixture.tensor("x")?;
    let changes: [(&str, Change); 4] = [
        ("brightness_additive", colour::brightness),
        ("contrast_multiplicative", colour::contrast),
        ("saturation", colour::saturation),
        ("hue", colour::hue),
    ];
    for (name, change) in changes {
        let mut parameter = fixture.tensor(&format!("{name}.param"))?;
        if name == "brightness_additive" {
            // kornia draws brightness as a factor about 1 and adds what it has above 1.
            parameter -= 1.0;
        }
        let y = change(&x, &parameter);
        report.close(name, &y, &fixture.tensor(&format!("{name}.y"))?, BLOCK);
    }
    Ok(())
}
