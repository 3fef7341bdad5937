//! The words of the farm, as plain data: no I/O, no runtime.

pub mod render;
pub mod rng;
