//! Numbers that change from one iteration to the next.

use std::ops::{Div, Mul, MulAssign};

use tch::Tensor;

/// A number that the host knows now, or that the device will read when it comes to it.
#[derive(Debug)]
pub(crate) enum Number {
    Host(f64),
    /// float32, of one element.
    Device(Tensor),
}

impl Mul<&Number> for Tensor {
    type Output = Tensor;

    fn mul(self, number: &Number) -> Tensor {
        match number {
            Number::Host(value) => self * *value,
            Number::Device(value) => self * value,
        }
    }
}

impl Mul<&Number> for &Tensor {
    type Output = Tensor;

    fn mul(self, number: &Number) -> Tensor {
        self.shallow_clone() * number
    }
}

impl Div<&Number> for Tensor {
    type Output = Tensor;

    fn div(self, number: &Number) -> Tensor {
        match number {
            Number::Host(value) => self / *value,
            Number::Device(value) => self / value,
        }
    }
}

impl MulAssign<&Number> for Tensor {
    fn mul_assign(&mut self, number: &Number) {
        match number {
            Number::Host(value) => *self *= *value,
            Number::Device(value) => *self *= value,
        }
    }
}
