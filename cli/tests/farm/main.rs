//! The farm's commands as a person types them, against a coordinator in this process.

#![allow(clippy::unwrap_used)]

mod completing;
mod diagnosing;
mod following;
mod helping;
mod naming;
mod printing;
mod refusing;
mod secure;
mod support;
mod tokens;
mod top;
