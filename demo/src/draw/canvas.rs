//! A pixmap with the few shapes that scenes are made of.

use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Shader, Transform};

/// sRGB, each channel in 0..=255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rgb(pub f32, pub f32, pub f32);

impl Rgb {
    /// Straight mix; `t` = 0 gives this colour, 1 the other.
    pub fn mix(self, other: Rgb, t: f32) -> Rgb {
        let lerp = |a: f32, b: f32| a + (b - a) * t;
        Rgb(lerp(self.0, other.0), lerp(self.1, other.1), lerp(self.2, other.2))
    }

    pub fn darker(self, t: f32) -> Rgb {
        self.mix(Rgb(20.0, 18.0, 36.0), t)
    }

    pub fn lighter(self, t: f32) -> Rgb {
        self.mix(Rgb(255.0, 252.0, 244.0), t)
    }

    pub(super) fn color(self, alpha: f32) -> Color {
        let unit = |v: f32| (v / 255.0).clamp(0.0, 1.0);
        Color::from_rgba(unit(self.0), unit(self.1), unit(self.2), alpha.clamp(0.0, 1.0))
            .unwrap_or(Color::BLACK)
    }
}

/// Right and down.
pub type Point = (f32, f32);

/// Draws into a pixmap through a transform: figures use a box of [-1, 1]², y down.
pub struct Canvas {
    pub pixmap: Pixmap,
    pub transform: Transform,
}

impl Canvas {
    pub fn fill(&mut self, path: Option<Path>, shader: Shader<'_>) {
        let Some(path) = path else { return };
        let paint = Paint { shader, anti_alias: true, ..Paint::default() };
        self.pixmap.fill_path(&path, &paint, FillRule::Winding, self.transform, None);
    }

    pub fn polygon(&mut self, points: &[(f32, f32)], colour: Rgb) {
        self.fill(polygon(points), Shader::SolidColor(colour.color(1.0)));
    }

    pub fn ellipse(&mut self, (x, y): (f32, f32), (rx, ry): (f32, f32), colour: Rgb) {
        self.soft_ellipse((x, y), (rx, ry), colour, 1.0);
    }

    pub fn soft_ellipse(&mut self, (x, y): (f32, f32), (rx, ry): (f32, f32), c: Rgb, alpha: f32) {
        let path = Rect::from_ltrb(x - rx, y - ry, x + rx, y + ry).and_then(PathBuilder::from_oval);
        self.fill(path, Shader::SolidColor(c.color(alpha)));
    }

    pub fn circle(&mut self, at: (f32, f32), r: f32, colour: Rgb) {
        self.ellipse(at, (r, r), colour);
    }

    pub fn rect(&mut self, (x0, y0): (f32, f32), (x1, y1): (f32, f32), colour: Rgb) {
        self.polygon(&[(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour);
    }

    /// A closed shape of quadratic curves: a start, then (control, end) pairs.
    pub fn curves(&mut self, start: Point, rest: &[(Point, Point)], colour: Rgb) {
        let mut path = PathBuilder::new();
        path.move_to(start.0, start.1);
        for ((cx, cy), (x, y)) in rest {
            path.quad_to(*cx, *cy, *x, *y);
        }
        path.close();
        self.fill(path.finish(), Shader::SolidColor(colour.color(1.0)));
    }
}

fn polygon(points: &[(f32, f32)]) -> Option<Path> {
    let mut path = PathBuilder::new();
    let (first, rest) = points.split_first()?;
    path.move_to(first.0, first.1);
    for (x, y) in rest {
        path.line_to(*x, *y);
    }
    path.close();
    path.finish()
}
