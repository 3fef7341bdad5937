//! libtorch's refusals inside the networks, as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{EngineError, Result};

/// Runs a computation of the networks. They use tch's plain operations, which panic when
/// libtorch refuses one, mostly for want of memory; here that becomes an error. What the
/// computation was changing must not be used afterwards.
pub(crate) fn guard<T>(compute: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(compute)).map_err(|panic| EngineError::Failed(message(&*panic)))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a computation failed")
        .to_owned()
}
