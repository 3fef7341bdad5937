//! Kind `zoom_legacy`: Pillow's bytes.

use anyhow::{Context, Result};
use image::RgbImage;
use serde::Deserialize;
use tch::Tensor;
use vqfarm_engine::zoom::legacy_zoom;

use crate::fixture::Fixture;
use crate::report::Report;

#[derive(Deserialize)]
struct Case {
    zoom_scale: f64,
    shift_x: i64,
    shift_y: i64,
}

pub fn check(fixture: &Fixture, report: &mut Report) -> Result<()> {
    let pixels = fixture.tensor("image")?;
    let size = pixels.size();
    let bytes = Vec::try_from(pixels.to_device(tch::Device::Cpu).view([-1]))?;
    let image = RgbImage::from_raw(size[1] as u32, size[0] as u32, bytes)
        .context("`image` is not uint8 [height, width, 3]")?;
    for (i, case) in fixture.json::<Vec<Case>>("cases")?.iter().enumerate() {
        let out = legacy_zoom(&image, case.zoom_scale, [case.shift_x, case.shift_y])?;
        let out = Tensor::from_slice(out.as_raw()).view(size.as_slice());
        report.exact(format!("y.{i}"), &out, &fixture.tensor(&format!("y.{i}"))?);
    }
    Ok(())
}
