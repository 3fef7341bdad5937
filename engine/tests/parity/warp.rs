//! Kind `warp_subpixel`: the camera's bicubic sampling.

use anyhow::{Result, bail};
use serde::Deserialize;
use vqfarm_engine::warp::{Edge, Motion, warp};

use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

#[derive(Deserialize)]
struct Case {
    zoom: f64,
    angle_deg: f64,
    translate_x: f64,
    translate_y: f64,
    padding: String,
}

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let x = fixture.tensor("x")?;
    for (i, case) in fixture.json::<Vec<Case>>("cases")?.iter().enumerate() {
        let motion = Motion {
            zoom: case.zoom,
            angle: case.angle_deg,
            translate_x: case.translate_x,
            translate_y: case.translate_y,
            ..Motion::default()
        };
        let edge = match case.padding.as_str() {
            "border" => Edge::Border,
            "reflection" => Edge::Reflect,
            "zeros" => Edge::Black,
            other => bail!("padding `{other}` is unknown here"),
        };
        let expected = fixture.tensor(&format!("y.{i}"))?;
        report.close(format!("y.{i}"), &warp(&x, &motion, edge), &expected, BLOCK);
    }
    Ok(())
}
