//! The figures: each fills a box of [-1, 1]² with a silhouette of its own.

use vqfarm_core::rng::Stream;

use super::canvas::{Canvas, Rgb};
use crate::scene::{Colour, Subject};

const CREAM: Rgb = Rgb(252.0, 244.0, 224.0);
const WOOD: Rgb = Rgb(112.0, 74.0, 48.0);
const LEAF: Rgb = Rgb(52.0, 134.0, 70.0);
const INK: Rgb = Rgb(30.0, 28.0, 40.0);

/// The paint of a colour's name.
pub fn paint(colour: Colour) -> Rgb {
    match colour {
        Colour::Red => Rgb(216.0, 46.0, 48.0),
        Colour::Orange => Rgb(243.0, 136.0, 32.0),
        Colour::Yellow => Rgb(252.0, 212.0, 48.0),
        Colour::Green => Rgb(48.0, 160.0, 74.0),
        Colour::Blue => Rgb(40.0, 92.0, 214.0),
        Colour::Purple => Rgb(134.0, 62.0, 184.0),
        Colour::Pink => Rgb(246.0, 124.0, 176.0),
        Colour::White => Rgb(250.0, 248.0, 242.0),
        Colour::Black => Rgb(32.0, 30.0, 40.0),
    }
}

/// Draws patches of a figure's colours, heaped up in its box.
pub fn blot(c: &mut Canvas, main: Rgb, stream: &mut Stream) {
    let dark = main.0 + main.1 + main.2 < 200.0;
    let others =
        [if dark { main.lighter(0.22) } else { main.darker(0.25) }, CREAM, WOOD, LEAF, INK];
    for n in 0..4 + stream.below(5) {
        let at = (stream.range(-0.55, 0.55) as f32, stream.range(-0.6, 0.6) as f32);
        let radii = (stream.range(0.15, 0.55) as f32, stream.range(0.15, 0.55) as f32);
        let other = n > 0 && stream.chance(0.35);
        let colour = if other { others[stream.below(5) as usize] } else { main };
        c.soft_ellipse(at, radii, colour, stream.range(0.6, 1.0) as f32);
    }
}

/// Draws a figure through the canvas's transform.
pub fn draw(c: &mut Canvas, subject: Subject, main: Rgb) {
    // Details must show on black as well as on white.
    let dark = main.0 + main.1 + main.2 < 200.0;
    let shade = if dark { main.lighter(0.22) } else { main.darker(0.25) };
    let light = main.lighter(if dark { 0.35 } else { 0.45 });
    match subject {
        Subject::Sun => sun(c, main, light),
        Subject::Moon => c.curves(
            (0.25, -0.95),
            &[
                ((-0.95, -0.85), (-0.92, 0.05)),
                ((-0.85, 0.95), (0.1, 0.95)),
                ((0.6, 0.95), (0.85, 0.5)),
                ((-0.35, 0.75), (-0.35, -0.1)),
                ((-0.35, -0.7), (0.25, -0.95)),
            ],
            main,
        ),
        Subject::Star => {
            c.polygon(&star_points(5, 0.0, 1.0, 0.45), main);
            c.polygon(&star_points(5, 0.0, 0.55, 0.25), light);
        }
        Subject::Balloon => balloon(c, main, light, shade),
        Subject::Bird => bird(c, main, shade),
        Subject::Mountain => mountain(c, main, shade),
        Subject::Boat => boat(c, main, shade),
        Subject::Tree => tree(c, main, light, shade),
        Subject::House => house(c, main, shade),
        Subject::Tower => tower(c, main, shade),
        Subject::Flower => flower(c, main, shade),
        Subject::Fish => fish(c, main, light, shade),
        Subject::Cat => cat(c, main, light),
        Subject::Mushroom => mushroom(c, main, light),
    }
}

fn star_points(n: usize, turn: f32, outer: f32, inner: f32) -> Vec<(f32, f32)> {
    (0..2 * n)
        .map(|i| {
            let angle = std::f32::consts::PI * i as f32 / n as f32 + turn;
            let r = if i % 2 == 0 { outer } else { inner };
            (r * angle.sin(), -r * angle.cos())
        })
        .collect()
}

fn sun(c: &mut Canvas, main: Rgb, light: Rgb) {
    c.polygon(&star_points(12, 0.0, 1.0, 0.66), main);
    c.circle((0.0, 0.0), 0.62, light);
    c.circle((0.0, 0.0), 0.52, main);
}

fn balloon(c: &mut Canvas, main: Rgb, light: Rgb, shade: Rgb) {
    c.polygon(&[(-0.34, 0.3), (0.34, 0.3), (0.18, 0.75), (-0.18, 0.75)], WOOD.lighter(0.4));
    c.circle((0.0, -0.28), 0.7, main);
    c.polygon(&[(-0.62, 0.05), (0.62, 0.05), (0.24, 0.52), (-0.24, 0.52)], main);
    c.ellipse((0.0, -0.25), (0.26, 0.72), light);
    c.polygon(&[(-0.24, 0.0), (0.24, 0.0), (0.1, 0.52), (-0.1, 0.52)], light);
    c.rect((-0.24, 0.48), (0.24, 0.56), shade);
    c.rect((-0.19, 0.7), (0.19, 0.98), WOOD);
}

fn bird(c: &mut Canvas, main: Rgb, shade: Rgb) {
    // Tail, body and head face right; two raised wings.
    c.polygon(&[(-0.5, 0.12), (-1.0, 0.0), (-0.98, 0.38), (-0.5, 0.36)], shade);
    c.ellipse((0.0, 0.25), (0.6, 0.3), main);
    c.circle((0.55, 0.08), 0.26, main);
    c.polygon(&[(0.76, -0.02), (1.05, 0.12), (0.76, 0.2)], Rgb(244.0, 160.0, 40.0));
    c.curves((0.3, 0.12), &[((0.2, -0.7), (-0.75, -0.85)), ((-0.5, -0.1), (-0.2, 0.25))], shade);
    c.curves((0.36, 0.2), &[((0.55, -0.6), (0.1, -1.0)), ((-0.2, -0.4), (-0.1, 0.28))], main);
    c.circle((0.62, 0.04), 0.07, INK);
    c.circle((0.64, 0.02), 0.03, CREAM);
}

fn mountain(c: &mut Canvas, main: Rgb, shade: Rgb) {
    c.polygon(&[(0.1, 1.0), (0.68, -0.15), (1.3, 1.0)], shade);
    c.polygon(&[(-1.3, 1.0), (-0.15, -0.95), (1.0, 1.0)], main);
    c.polygon(&[(-0.15, -0.95), (1.0, 1.0), (0.2, 1.0), (0.05, 0.1)], shade);
    let cap =
        [(-0.15, -0.95), (0.22, -0.32), (0.08, -0.22), (-0.1, -0.4), (-0.3, -0.2), (-0.5, -0.36)];
    c.polygon(&cap, Rgb(252.0, 252.0, 255.0));
}

fn boat(c: &mut Canvas, main: Rgb, shade: Rgb) {
    c.rect((-0.08, -0.95), (0.03, 0.4), WOOD);
    c.curves((0.08, -0.9), &[((0.75, -0.3), (0.8, 0.25)), ((0.4, 0.3), (0.08, 0.25))], CREAM);
    c.polygon(&[(-0.13, -0.7), (-0.13, 0.25), (-0.7, 0.25)], main.lighter(0.55));
    c.curves(
        (-1.0, 0.36),
        &[((-0.8, 1.0), (-0.5, 1.0)), ((0.0, 1.0), (0.55, 1.0)), ((0.9, 0.9), (1.0, 0.36))],
        main,
    );
    c.polygon(&[(-1.0, 0.36), (1.0, 0.36), (0.96, 0.52), (-0.95, 0.52)], shade);
}

fn tree(c: &mut Canvas, main: Rgb, light: Rgb, shade: Rgb) {
    c.polygon(&[(-0.12, 0.2), (0.12, 0.2), (0.2, 1.0), (-0.2, 1.0)], WOOD);
    c.circle((-0.45, 0.08), 0.44, shade);
    c.circle((0.45, 0.08), 0.44, main);
    c.circle((0.0, -0.4), 0.56, main);
    c.circle((-0.08, 0.1), 0.42, main);
    c.circle((-0.18, -0.52), 0.22, light);
}

fn house(c: &mut Canvas, main: Rgb, shade: Rgb) {
    c.rect((0.38, -0.8), (0.6, -0.2), WOOD);
    c.rect((-0.75, -0.1), (0.75, 1.0), main);
    c.polygon(&[(-1.0, -0.05), (0.0, -0.95), (1.0, -0.05)], shade);
    c.rect((-0.55, 0.35), (-0.15, 1.0), WOOD.darker(0.2));
    c.rect((0.12, 0.18), (0.56, 0.58), Rgb(255.0, 236.0, 150.0));
    c.rect((0.31, 0.18), (0.37, 0.58), shade);
}

fn tower(c: &mut Canvas, main: Rgb, shade: Rgb) {
    let half = |y: f32| 0.26 + 0.09 * (y + 0.5);
    let band = |top: f32, bottom: f32| {
        [(-half(top), top), (half(top), top), (half(bottom), bottom), (-half(bottom), bottom)]
    };
    c.polygon(&band(-0.5, 1.0), main);
    // White bands would vanish on a white tower.
    let stripe = if main.1 > 235.0 { Rgb(196.0, 204.0, 220.0) } else { CREAM };
    for top in [-0.2, 0.4] {
        c.polygon(&band(top, top + 0.28), stripe);
    }
    c.rect((-0.38, -0.55), (0.38, -0.45), shade);
    c.rect((-0.2, -0.8), (0.2, -0.55), Rgb(255.0, 232.0, 130.0));
    c.polygon(&[(-0.32, -0.76), (0.0, -1.05), (0.32, -0.76)], shade);
}

fn flower(c: &mut Canvas, main: Rgb, shade: Rgb) {
    c.rect((-0.06, 0.1), (0.06, 1.0), LEAF);
    c.curves(
        (0.0, 0.85),
        &[((0.2, 0.4), (0.62, 0.45)), ((0.5, 0.85), (0.0, 0.85))],
        LEAF.lighter(0.15),
    );
    c.curves((0.0, 0.95), &[((-0.2, 0.55), (-0.62, 0.6)), ((-0.5, 0.95), (0.0, 0.95))], LEAF);
    for i in 0..6 {
        let angle = std::f32::consts::TAU * i as f32 / 6.0;
        let petal = if i % 2 == 0 { main } else { main.mix(shade, 0.45) };
        c.circle((0.4 * angle.sin(), -0.35 - 0.4 * angle.cos()), 0.27, petal);
    }
    let heart = if main.0 > 230.0 && main.1 > 180.0 && main.2 < 120.0 {
        Rgb(200.0, 110.0, 40.0)
    } else {
        Rgb(252.0, 206.0, 64.0)
    };
    c.circle((0.0, -0.35), 0.24, heart);
}

fn fish(c: &mut Canvas, main: Rgb, light: Rgb, shade: Rgb) {
    c.polygon(&[(0.4, 0.0), (1.0, -0.52), (0.86, 0.0), (1.0, 0.52)], shade);
    c.curves((-0.3, -0.4), &[((0.1, -0.85), (0.4, -0.62)), ((0.3, -0.4), (0.35, -0.2))], shade);
    c.curves((-0.98, 0.05), &[((-0.4, -0.75), (0.62, 0.0)), ((-0.4, 0.85), (-0.98, 0.05))], main);
    c.ellipse((-0.25, 0.16), (0.42, 0.16), light);
    c.circle((-0.6, -0.07), 0.13, CREAM);
    c.circle((-0.62, -0.07), 0.075, INK);
}

fn cat(c: &mut Canvas, main: Rgb, light: Rgb) {
    // Sitting, seen from the front, the tail to the right.
    c.curves(
        (0.3, 1.0),
        &[((1.15, 1.0), (0.9, 0.1)), ((0.82, -0.12), (0.72, 0.1)), ((0.85, 0.65), (0.3, 0.7))],
        main,
    );
    c.curves((-0.55, 1.0), &[((-0.65, 0.1), (0.0, -0.05)), ((0.65, 0.1), (0.55, 1.0))], main);
    c.polygon(&[(-0.5, -0.35), (-0.48, -1.0), (-0.05, -0.65)], main);
    c.polygon(&[(0.5, -0.35), (0.48, -1.0), (0.05, -0.65)], main);
    c.ellipse((0.0, -0.32), (0.52, 0.43), main);
    c.ellipse((0.0, 0.58), (0.26, 0.36), light);
    for side in [-1.0, 1.0] {
        c.ellipse((side * 0.2, -0.36), (0.12, 0.13), Rgb(250.0, 240.0, 140.0));
        c.ellipse((side * 0.2, -0.36), (0.05, 0.11), INK);
    }
    c.polygon(&[(-0.08, -0.18), (0.08, -0.18), (0.0, -0.09)], Rgb(236.0, 130.0, 140.0));
}

fn mushroom(c: &mut Canvas, main: Rgb, light: Rgb) {
    let stalk = Rgb(244.0, 230.0, 204.0);
    c.curves(
        (-0.24, 0.0),
        &[((-0.2, 0.6), (-0.36, 1.0)), ((0.0, 1.05), (0.36, 1.0)), ((0.2, 0.6), (0.24, 0.0))],
        stalk,
    );
    c.ellipse((0.0, 0.12), (0.92, 0.14), stalk.darker(0.25));
    c.curves(
        (-1.0, 0.1),
        &[((-0.95, -0.9), (0.0, -0.92)), ((0.95, -0.9), (1.0, 0.1)), ((0.0, 0.22), (-1.0, 0.1))],
        main,
    );
    let spot = if main.1 > 235.0 { Rgb(214.0, 120.0, 110.0) } else { light.lighter(0.5) };
    c.ellipse((-0.1, -0.5), (0.22, 0.18), spot);
    c.ellipse((0.52, -0.25), (0.17, 0.17), spot);
    c.ellipse((-0.6, -0.18), (0.17, 0.16), spot);
}
