//! Draws scenes.

mod backdrop;
mod canvas;
mod figures;
mod style;

use tiny_skia::{ColorU8, Pixmap, PremultipliedColorU8, Transform};
use vqfarm_core::rng::Stream;

use crate::scene::{Scene, Style, Subject};
use canvas::{Canvas, Rgb};

/// Draws `scene` as sRGB bytes, `size`·`size`·3, row by row. Places, sizes and small
/// accidents come from `stream`, so one scene has endless pictures.
///
/// # Panics
/// When `size` is 0 or above 8,192.
pub fn paint(scene: &Scene, size: u32, stream: &mut Stream) -> Vec<u8> {
    assert!((1..=8192).contains(&size), "a picture of {size} pixels a side");
    let mut c = Canvas {
        pixmap: Pixmap::new(size, size).expect("the size was checked"),
        transform: Transform::from_scale(size as f32, size as f32),
    };
    let unit = c.transform;
    let horizon = stream.range(0.6, 0.74) as f32;
    backdrop::sky(&mut c, scene.sky, horizon, stream);

    let places = places(scene, horizon, stream);
    // Mountains stand behind the ground, everything else before it.
    for behind in [true, false] {
        if !behind {
            c.transform = unit;
            backdrop::ground(&mut c, scene.ground, horizon, stream);
            restyle(&mut c, |pixels| style::pattern(scene.style, pixels, size as usize));
        }
        for (figure, place) in scene.figures.iter().zip(&places).rev() {
            if (figure.subject == Subject::Mountain) == behind {
                let mirror = if place.mirrored { -place.half } else { place.half };
                c.transform = unit
                    .pre_translate(place.x, place.y)
                    .pre_rotate(place.tilt)
                    .pre_scale(mirror, place.half);
                let tint = figures::paint(figure.colour);
                let tint = tint.mix(Rgb(128.0, 128.0, 128.0), stream.range(0.0, 0.08) as f32);
                figures::draw(&mut c, figure.subject, tint);
            }
        }
    }

    if scene.style == Style::Watercolour {
        restyle(&mut c, |pixels| style::watercolour(pixels, size as usize, stream));
    }
    c.pixmap.pixels().iter().flat_map(|p| [p.red(), p.green(), p.blue()]).collect()
}

/// Hands the (opaque) pixels to a style's pass and takes them back.
fn restyle(c: &mut Canvas, pass: impl FnOnce(&mut [Rgb])) {
    let of = |p: &PremultipliedColorU8| Rgb(p.red().into(), p.green().into(), p.blue().into());
    let mut pixels: Vec<Rgb> = c.pixmap.pixels().iter().map(of).collect();
    pass(&mut pixels);
    for (to, from) in c.pixmap.pixels_mut().iter_mut().zip(&pixels) {
        let byte = |v: f32| v.clamp(0.0, 255.0).round() as u8;
        *to = ColorU8::from_rgba(byte(from.0), byte(from.1), byte(from.2), 255).premultiply();
    }
}

/// Where a figure's box lies, in units of the picture's side.
struct Place {
    x: f32,
    y: f32,
    half: f32,
    /// Degrees, clockwise.
    tilt: f32,
    mirrored: bool,
}

fn places(scene: &Scene, horizon: f32, stream: &mut Stream) -> Vec<Place> {
    let alone = scene.figures.len() == 1;
    let left_first = stream.chance(0.5);
    scene
        .figures
        .iter()
        .enumerate()
        .map(|(i, figure)| {
            let half = match (alone, i) {
                (true, _) => stream.range(0.27, 0.37),
                (false, 0) => stream.range(0.23, 0.27),
                (false, _) => stream.range(0.17, 0.21),
            } as f32;
            let x = if alone {
                stream.range(0.38, 0.62) as f32
            } else if (i == 0) == left_first {
                stream.range(0.26, 0.32) as f32
            } else {
                stream.range(0.72, 0.78) as f32
            };
            use Subject::*;
            let (half, y) = match figure.subject {
                Sun | Moon | Star | Balloon | Bird => {
                    let half = half * 0.92;
                    (half, stream.range(half as f64 + 0.02, 0.06 + horizon as f64 - half as f64))
                }
                Fish => (half, stream.range(0.36, 0.56)),
                // Its foot is hidden behind the ground's waves.
                Mountain => (half * 1.1, f64::from(horizon + 0.05 - half * 1.1)),
                _ => (half, f64::from(horizon - half) + stream.range(0.05, 0.14)),
            };
            let lean = match figure.subject {
                Sun | Moon | Star | Fish | Bird => 9.0,
                Balloon | Boat | Flower => 4.0,
                _ => 0.0,
            };
            Place {
                x,
                y: y as f32,
                half,
                tilt: stream.range(-lean, lean) as f32,
                mirrored: stream.chance(0.5),
            }
        })
        .collect()
}
