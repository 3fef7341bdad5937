//! libtorch's refusals inside the networks, as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{EngineError, Result};

/// Runs a computation of the networks. They use tch's plain operations, which panic when
/// libtorch refuses one, mostly for want of memory; here that becomes an error. What the
/// computation was changing must not be used afterwards.
///
/// Gradients are recorded, but for what the computation itself does without.
pub(crate) fn guard<T>(compute: impl FnOnce() -> T) -> Result<T> {
    // tch's `no_grad` leaves them off on this thread when it is left by a panic.
    let _as_before = tch::no_grad_guard();
    catch_unwind(AssertUnwindSafe(|| tch::with_grad(compute)))
        .map_err(|panic| EngineError::Failed(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a computation failed")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn gradients_are_recorded_again_after_a_panic_without_them() {
        let failed = guard(|| tch::no_grad(|| panic!("out of memory")));
        assert!(failed.is_err_and(|error: EngineError| error.is_out_of_memory()));
        let x = Tensor::ones([2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        assert!((&x * 2.0).requires_grad());
        assert!(!guard(|| tch::no_grad(|| (&x * 2.0).requires_grad())).is_ok_and(|on| on));
    }
}
