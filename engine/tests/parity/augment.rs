//! Kinds `augment_*`: what kornia does to cutouts for given parameters.

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tch::Tensor;
use vqfarm_engine::cutouts::augment::bend::{HELD_IN_KORNIA, ThinPlate, elastic, thin_plate};
use vqfarm_engine::cutouts::augment::colour;
use vqfarm_engine::cutouts::augment::geometry::{Affine, Edge, Map, sample};
use vqfarm_engine::cutouts::augment::pixels::{Rectangle, erase, sharpness};

use crate::cutouts::pull_back;
use crate::fixture::Fixture;
use crate::report::{BLOCK, Report};

/// Where samples are interpolated: their places are float32 and the fixtures are not, and a
/// place's last digit shows in the difference of neighbouring pixels.
const SAMPLED: f64 = 3e-6;

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

/// Runs `change` on `x.i` and compares it and its gradient with what the fixture holds.
fn check_case(
    fixture: &Fixture,
    report: &mut Report,
    i: usize,
    tolerance: f64,
    change: impl FnOnce(&Tensor) -> Tensor,
) -> Result<()> {
    let x = fixture.tensor(&format!("x.{i}"))?.set_requires_grad(true);
    let y = change(&x);
    let gradient = pull_back(&x, &y, &fixture.tensor(&format!("cotangent.{i}"))?);
    report.close(format!("y.{i}"), &y, &fixture.tensor(&format!("y.{i}"))?, tolerance);
    let expected = fixture.tensor(&format!("grad.{i}"))?;
    report.close(format!("grad.{i}"), &gradient, &expected, tolerance);
    Ok(())
}

/// One parameter a cutout in each list.
#[derive(Deserialize)]
#[serde(tag = "move", rename_all = "snake_case")]
enum Moved {
    Affine { padding: String, angle: Vec<f64>, translate: Vec<[f64; 2]>, shear: Vec<[f64; 2]> },
    Perspective { corners: Vec<[[f64; 2]; 4]> },
    Rotation { angle: Vec<f64> },
    ResizedCrop { boxes: Vec<[f64; 4]> },
}

pub fn check_geometry(fixture: &Fixture, report: &mut Report) -> Result<()> {
    for (i, case) in fixture.json::<Vec<Moved>>("cases")?.into_iter().enumerate() {
        let size = fixture.tensor(&format!("x.{i}"))?.size()[3];
        let (maps, edge) = match case {
            Moved::Affine { padding, angle, translate, shear } => {
                let draws = angle.iter().zip(translate).zip(shear);
                let maps: Vec<Map> = draws
                    .map(|((&angle, translate), shear)| {
                        let affine = Affine { angle, translate, shear };
                        Map::affine(&affine, size).with_affine_quirk(size)
                    })
                    .collect();
                let edge = match padding.as_str() {
                    "zeros" => Edge::Zeros,
                    "border" => Edge::Border,
                    other => bail!("padding `{other}` is unknown here"),
                };
                (maps, edge)
            }
            Moved::Perspective { corners } => {
                let map = |c| Map::corners(c, size).with_perspective_quirk(size);
                (corners.iter().map(map).collect(), Edge::Zeros)
            }
            Moved::Rotation { angle } => {
                let map = |&a: &f64| Affine { angle: -a, ..Affine::default() };
                (angle.iter().map(|a| Map::affine(&map(a), size)).collect(), Edge::Zeros)
            }
            Moved::ResizedCrop { boxes } => {
                let map =
                    |&[x, y, width, height]: &[f64; 4]| Map::zoom_in(x, y, width, height, size);
                (boxes.iter().map(map).collect(), Edge::Zeros)
            }
        };
        check_case(fixture, report, i, SAMPLED, |x| sample(x, &maps, edge))?;
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum Changed {
    Sharpness { factor: Vec<f32> },
    Erase { boxes: Vec<[i64; 4]> },
    Elastic,
    ThinPlate { moved: Vec<[[f64; 2]; 5]> },
}

/// Kinds `augment_pixels` and `augment_bend`.
pub fn check_changes(fixture: &Fixture, report: &mut Report) -> Result<()> {
    for (i, case) in fixture.json::<Vec<Changed>>("cases")?.into_iter().enumerate() {
        match case {
            Changed::Sharpness { factor } => {
                check_case(fixture, report, i, BLOCK, |x| {
                    sharpness(x, &Tensor::from_slice(&factor).to_device(x.device()))
                })?;
            }
            Changed::Erase { boxes } => {
                let rectangle =
                    |&[x, y, width, height]: &[i64; 4]| Rectangle { x, y, width, height };
                let rectangles: Vec<_> = boxes.iter().map(rectangle).collect();
                check_case(fixture, report, i, BLOCK, |x| erase(x, &rectangles))?;
            }
            Changed::Elastic => {
                let noise = fixture.tensor(&format!("noise.{i}"))?;
                check_case(fixture, report, i, SAMPLED, |x| elastic(x, &noise, false))?;
            }
            Changed::ThinPlate { moved } => {
                let splines = moved
                    .iter()
                    .map(|moved| ThinPlate::with_kornias_quirk(&HELD_IN_KORNIA, moved))
                    .collect::<Option<Vec<_>>>()
                    .context("no spline through these points")?;
                check_case(fixture, report, i, SAMPLED, |x| thin_plate(x, &splines, false))?;
            }
        }
    }
    Ok(())
}
