//! Draws scenes.
//!
//! Everything keeps to the cells of an f8 latent of 96 pixels: figures, horizons, clouds and
//! stars stand at few places between cells, curves begin at few phases, watercolours are on few
//! papers. A small codebook can then say a scene exactly, and a loop has few ways to be right.

mod backdrop;
mod canvas;
mod figures;
mod style;

use tiny_skia::{ColorU8, Pixmap, PremultipliedColorU8, Transform};
use vqfarm_core::rng::Stream;

use crate::scene::{Scene, Style, Subject};
use canvas::{Canvas, Rgb};

/// Side of a latent's cell, in units of the picture's side.
const CELL: f32 = 1.0 / 12.0;
/// Sheets that watercolours are painted on.
const PAPERS: u32 = 4;

/// Draws `scene` as sRGB bytes, `size`·`size`·3, row by row. Places and small
/// accidents come from `stream`, so one scene has many pictures.
///
/// # Panics
/// When `size` is 0 or above 8,192.
pub fn paint(scene: &Scene, size: u32, stream: &mut Stream) -> Vec<u8> {
    paint_with(scene, size, stream, figures::draw)
}

/// The same scene with a blot in its own colours in the place of each figure: what a loop makes
/// that has found out where something is wanted, but not what.
pub fn blotted(scene: &Scene, size: u32, stream: &mut Stream) -> Vec<u8> {
    let mut shapes = stream.clone();
    paint_with(scene, size, stream, |c, _, colour| figures::blot(c, colour, &mut shapes))
}

fn paint_with(
    scene: &Scene,
    size: u32,
    stream: &mut Stream,
    mut draw: impl FnMut(&mut Canvas, Subject, Rgb),
) -> Vec<u8> {
    assert!((1..=8192).contains(&size), "a picture of {size} pixels a side");
    let mut c = Canvas {
        pixmap: Pixmap::new(size, size).expect("the size was checked"),
        transform: Transform::from_scale(size as f32, size as f32),
    };
    let unit = c.transform;
    let horizon = CELL * (8 + stream.below(2)) as f32;
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
                c.transform = unit.pre_translate(place.x, place.y).pre_scale(mirror, place.half);
                draw(&mut c, figure.subject, figures::paint(figure.colour));
            }
        }
    }

    if scene.style == Style::Watercolour {
        let paper = stream.below(PAPERS);
        restyle(&mut c, |pixels| style::watercolour(pixels, size as usize, paper));
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
    mirrored: bool,
}

fn places(scene: &Scene, horizon: f32, stream: &mut Stream) -> Vec<Place> {
    let alone = scene.figures.len() == 1;
    let left_first = stream.chance(0.5);
    let mut either = |a: f32, b: f32| if stream.chance(0.5) { a } else { b };
    scene
        .figures
        .iter()
        .enumerate()
        .map(|(i, figure)| {
            use Subject::{Balloon, Bird, Fish, Moon, Mountain, Star, Sun};
            let in_sky = matches!(figure.subject, Sun | Moon | Star | Balloon | Bird);
            // All in cells.
            let half = match (alone, i) {
                (true, _) if in_sky => 3.5,
                (true, _) => 4.0,
                (false, 0) => 3.0,
                (false, _) => 2.5,
            };
            let x = match alone {
                true => either(5.5, 6.5),
                false if (i == 0) == left_first => 3.25,
                false => 8.75,
            };
            let (half, y) = match figure.subject {
                _ if in_sky => (half, either(4.0, 5.0)),
                Fish => (half, either(5.0, 6.0)),
                // Its foot is hidden behind the ground's waves.
                Mountain => (half + 0.5, horizon / CELL - half),
                _ => (half, horizon / CELL + 1.0 - half),
            };
            // A pair faces each other. Alone, each has one side only: of two a loop would
            // paint both at once.
            let mirrored = !alone && (x < 6.0) == (figure.subject == Fish);
            Place { x: x * CELL, y: y * CELL, half: half * CELL, mirrored }
        })
        .collect()
}
