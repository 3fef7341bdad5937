//! Turning, scaling and moving: how one picture lies in another, and what a camera does.

use vqfarm_core::animation::{Nesting, Warp};

use crate::warp::Motion;

/// p ↦ a·p + b on points (x, y) in pixels about a picture's middle, y down, as complex numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    pub a: [f64; 2],
    pub b: [f64; 2],
}

fn times(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

fn inverse(a: [f64; 2]) -> [f64; 2] {
    let length = a[0] * a[0] + a[1] * a[1];
    [a[0] / length, -a[1] / length]
}

/// Scaling by `scale` and turning by `turn` radians, counted on from x to y.
fn spiral(scale: f64, turn: f64) -> [f64; 2] {
    [scale * turn.cos(), scale * turn.sin()]
}

/// Where parts of a picture of this size lie about its middle.
fn about_middle(center: [f64; 2], (width, height): (i64, i64)) -> [f64; 2] {
    [(center[0] - 0.5) * (width - 1) as f64, (center[1] - 0.5) * (height - 1) as f64]
}

impl Similarity {
    pub const SAME: Self = Self { a: [1.0, 0.0], b: [0.0, 0.0] };

    /// To the power `u` of what places one picture in another of this size.
    pub fn placing(nesting: &Nesting, size: (i64, i64), u: f64) -> Self {
        // The picture turns clockwise when what is looked at turns the other way.
        let turn = -nesting.angle.to_radians();
        let middle = about_middle(nesting.center, size);
        let a = spiral(nesting.step.powf(-1.0), turn);
        // The point that stays where it is.
        let fixed = times(middle, inverse([1.0 - a[0], -a[1]]));
        Self::about(fixed, spiral(nesting.step.powf(-u), turn * u))
    }

    /// To the power `u` of what takes a point of a moved picture to where it came from.
    pub fn moving(motion: &Motion, size: (i64, i64), u: f64) -> Self {
        let turn = -motion.angle.to_radians();
        let whole = spiral(motion.zoom.powf(-1.0), turn);
        let rest = [1.0 - whole[0], -whole[1]];
        let [x, y] = [motion.translate_x, motion.translate_y];
        if rest[0].hypot(rest[1]) < 1e-12 {
            return Self { a: [1.0, 0.0], b: [-x * u, -y * u] };
        }
        let [center_x, center_y] = about_middle(motion.center, size);
        let [off_x, off_y] = times([x, y], inverse(rest));
        let fixed = [center_x - off_x, center_y - off_y];
        Self::about(fixed, spiral(motion.zoom.powf(-u), turn * u))
    }

    /// What leaves a point in its place.
    fn about(fixed: [f64; 2], a: [f64; 2]) -> Self {
        let moved = times(a, fixed);
        Self { a, b: [fixed[0] - moved[0], fixed[1] - moved[1]] }
    }

    /// The camera's move after which each pixel shows what lay at its image under this.
    pub fn motion(self) -> Motion {
        Motion {
            zoom: 1.0 / self.scale(),
            angle: -self.a[1].atan2(self.a[0]).to_degrees(),
            translate_x: -self.b[0],
            translate_y: -self.b[1],
            center: [0.5; 2],
        }
    }

    /// Where a point goes.
    pub fn apply(self, point: [f64; 2]) -> [f64; 2] {
        let turned = self.turn(point);
        [turned[0] + self.b[0], turned[1] + self.b[1]]
    }

    /// What becomes of the way from one point to another.
    pub fn turn(self, way: [f64; 2]) -> [f64; 2] {
        times(self.a, way)
    }

    /// This after `first`.
    pub fn after(self, first: Self) -> Self {
        Self { a: times(self.a, first.a), b: self.apply(first.b) }
    }

    pub fn inverse(self) -> Self {
        let a = inverse(self.a);
        let b = times(a, self.b);
        Self { a, b: [-b[0], -b[1]] }
    }

    /// How many times longer ways become.
    pub fn scale(self) -> f64 {
        self.a[0].hypot(self.a[1])
    }
}

impl From<&Warp> for Motion {
    fn from(warp: &Warp) -> Self {
        Self {
            zoom: warp.zoom,
            angle: warp.angle,
            translate_x: warp.translate_x,
            translate_y: warp.translate_y,
            center: warp.center,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (i64, i64) = (48, 32);

    fn close(one: Similarity, other: Similarity) -> bool {
        let parts = one.a.iter().chain(&one.b).zip(other.a.iter().chain(&other.b));
        parts.into_iter().all(|(one, other)| (one - other).abs() < 1e-9)
    }

    #[test]
    fn powers_of_a_placing_follow_from_one_another() {
        let nesting = Nesting { step: 2.0, angle: 20.0, center: [0.45, 0.55] };
        let to = |u| Similarity::placing(&nesting, SIZE, u);
        let (half, whole) = (to(0.5), to(1.0));
        assert!(close(half.after(half), whole));
        assert!(close(whole.inverse().after(whole), Similarity::SAME));
        // The next picture's middle lies where it should.
        assert!((whole.apply([0.0; 2])[0] - (0.45 - 0.5) * 47.0).abs() < 1e-9);
    }

    #[test]
    fn powers_of_a_motion_follow_from_one_another_and_are_motions() {
        let still = Motion { translate_x: 3.0, translate_y: -1.0, ..Motion::default() };
        for motion in [still, Motion { zoom: 1.2, angle: 30.0, center: [0.2, 0.9], ..still }] {
            let to = |u| Similarity::moving(&motion, SIZE, u);
            assert!(close(to(0.5).after(to(0.5)), to(1.0)));
            assert!(close(to(-1.0), to(1.0).inverse()));
            assert!(close(Similarity::moving(&to(1.0).motion(), SIZE, 1.0), to(1.0)));
        }
        // The pixel at the kept point shows what lies `translate` back from it.
        let moving = Similarity::moving(&Motion { zoom: 2.0, ..still }, SIZE, 1.0);
        let [x, y] = moving.apply([0.0; 2]);
        assert!((x + 3.0).abs() < 1e-9 && (y - 1.0).abs() < 1e-9 && moving.scale() == 0.5);
    }
}
