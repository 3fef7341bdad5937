//! Skies and grounds, in unit coordinates: (0, 0) top left, (1, 1) bottom right.

use std::f32::consts::TAU;

use tiny_skia::{GradientStop, LinearGradient, PathBuilder, Point, Shader, SpreadMode, Transform};
use vqfarm_core::rng::Stream;

use super::CELL;
use super::canvas::{Canvas, Rgb};
use crate::scene::{Ground, Sky};

/// Fills the canvas with a sky, lit from the horizon at `horizon`.
pub fn sky(c: &mut Canvas, sky: Sky, horizon: f32, stream: &mut Stream) {
    let stops: &[(f32, Rgb)] = match sky {
        Sky::Day => &[(0.0, Rgb(78.0, 160.0, 240.0)), (1.0, Rgb(204.0, 232.0, 252.0))],
        Sky::Night => &[(0.0, Rgb(18.0, 20.0, 66.0)), (1.0, Rgb(70.0, 72.0, 144.0))],
        Sky::Sunset => &[
            (0.0, Rgb(104.0, 56.0, 128.0)),
            (0.5, Rgb(232.0, 98.0, 88.0)),
            (1.0, Rgb(255.0, 186.0, 92.0)),
        ],
        Sky::Dawn => &[(0.0, Rgb(242.0, 158.0, 196.0)), (1.0, Rgb(255.0, 226.0, 216.0))],
        Sky::Aurora => &[(0.0, Rgb(10.0, 36.0, 56.0)), (1.0, Rgb(26.0, 92.0, 96.0))],
        Sky::Golden => &[(0.0, Rgb(250.0, 208.0, 96.0)), (1.0, Rgb(255.0, 244.0, 196.0))],
    };
    let stops = stops.iter().map(|(at, c)| GradientStop::new(*at, c.color(1.0))).collect();
    let (top, bottom) = (Point::from_xy(0.0, 0.0), Point::from_xy(0.0, horizon));
    let gradient = LinearGradient::new(top, bottom, stops, SpreadMode::Pad, Transform::identity());
    c.fill(
        tiny_skia::Rect::from_ltrb(0.0, 0.0, 1.0, 1.0).map(PathBuilder::from_rect),
        gradient.unwrap_or(Shader::SolidColor(tiny_skia::Color::WHITE)),
    );
    match sky {
        Sky::Day | Sky::Dawn => clouds(c, stream),
        Sky::Night => stars(c, horizon, stream),
        Sky::Aurora => ribbons(c, horizon, stream),
        Sky::Sunset | Sky::Golden => {}
    }
}

fn clouds(c: &mut Canvas, stream: &mut Stream) {
    for side in [1.0, 9.5] {
        let x = CELL * (side + stream.below(2) as f32);
        let y = CELL * (1.5 + stream.below(4) as f32);
        let r = 0.0625;
        for (dx, dy, scale) in [(-1.1, 0.2, 0.8), (0.0, 0.0, 1.15), (1.2, 0.25, 0.75)] {
            let radii = (1.5 * r * scale, r * scale);
            c.soft_ellipse((x + dx * r, y + dy * r), radii, Rgb(255.0, 255.0, 255.0), 0.75);
        }
    }
}

fn stars(c: &mut Canvas, horizon: f32, stream: &mut Stream) {
    let rows = (horizon / CELL) as u32 - 1;
    for _ in 0..9 {
        // In the middle of a cell each.
        let at = |n: u32| (n as f32 + 0.5) * CELL;
        let (x, y) = (at(stream.below(12)), at(stream.below(rows)));
        let r = if stream.chance(0.3) { 0.02 } else { 0.013 };
        c.circle((x, y), r, Rgb(255.0, 246.0, 214.0));
    }
}

fn ribbons(c: &mut Canvas, horizon: f32, stream: &mut Stream) {
    let phase = stream.below(4) as f32 / 4.0;
    let crest = |x: f32| horizon * (0.26 + 0.11 * (TAU * (x * 0.9 + phase)).sin());
    // Layers fade the ribbon out downwards.
    for depth in [0.5, 0.3] {
        let mut path = PathBuilder::new();
        path.move_to(0.0, crest(0.0));
        for i in 1..=16 {
            path.line_to(i as f32 / 16.0, crest(i as f32 / 16.0));
        }
        for i in (0..=16).rev() {
            let x = i as f32 / 16.0;
            path.line_to(x, crest(x) + horizon * depth);
        }
        path.close();
        let colour = Rgb(84.0, 240.0, 150.0).color(0.38);
        c.fill(path.finish(), Shader::SolidColor(colour));
    }
}

/// Everything below the horizon: a far band and nearer, stronger ones.
pub fn ground(c: &mut Canvas, ground: Ground, horizon: f32, stream: &mut Stream) {
    let (bands, swell, waves): (&[Rgb], f32, f32) = match ground {
        Ground::Sea => (
            &[Rgb(46.0, 132.0, 200.0), Rgb(30.0, 104.0, 180.0), Rgb(22.0, 76.0, 150.0)],
            0.012,
            3.0,
        ),
        Ground::Grass => (&[Rgb(134.0, 190.0, 84.0), Rgb(84.0, 154.0, 66.0)], 0.04, 0.8),
        Ground::Snow => (&[Rgb(246.0, 249.0, 255.0), Rgb(214.0, 226.0, 244.0)], 0.035, 0.7),
        Ground::Desert => (&[Rgb(238.0, 200.0, 132.0), Rgb(212.0, 158.0, 90.0)], 0.045, 0.6),
        Ground::Lavender => (
            &[Rgb(178.0, 140.0, 216.0), Rgb(146.0, 104.0, 194.0), Rgb(114.0, 74.0, 164.0)],
            0.022,
            0.9,
        ),
    };
    for (i, colour) in bands.iter().enumerate() {
        let share = i as f32 / bands.len() as f32;
        let level = horizon + (1.0 - horizon) * share;
        let phase = stream.below(4) as f32 / 4.0;
        // The horizon of a sea is straight.
        let swell = if i == 0 && ground == Ground::Sea { 0.0 } else { swell };
        let crest = |x: f32| level + swell * (TAU * (waves * x + phase)).sin();
        let mut path = PathBuilder::new();
        path.move_to(0.0, 1.0);
        for i in 0..=24 {
            let x = i as f32 / 24.0;
            path.line_to(x, crest(x));
        }
        path.line_to(1.0, 1.0);
        path.close();
        c.fill(path.finish(), Shader::SolidColor(colour.color(1.0)));
    }
}
