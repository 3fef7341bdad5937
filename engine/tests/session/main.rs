//! The optimisation as a user of the engine sees it, with the small networks of the fixtures.

mod determinism;
mod refused;
mod steering;
mod tiny;
