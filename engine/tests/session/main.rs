//! The optimisation as a user of the engine sees it, with the small networks of the fixtures.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod ahead;
mod arithmetic;
mod determinism;
mod refused;
mod steering;
mod thrift;
mod tiny;
