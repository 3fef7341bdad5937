//! The farm's coordinator: takes jobs, answers questions about them, ends lost leases, puts a
//! farm back together whose queue has lost its memory.
//!
//! [`Options`](options::Options) → [`Service`] → [`Service::run`]. Everything that it does to a
//! farm is a method of [`Farm`], whoever asks.

mod assets;
mod audit;
mod audit_log;
mod changed;
mod control;
mod convert;
mod demand;
mod ending;
mod error;
mod estimate;
mod expiry;
mod farm;
mod files;
mod gc;
mod grpc;
mod keep;
mod map;
mod memory;
pub mod meters;
mod models;
mod notify;
pub mod options;
mod pace;
mod quotas;
mod recent;
mod reconcile;
#[cfg(test)]
mod reference;
mod refusals;
mod service;
mod status;
mod stitching;
mod submit;
mod tend;
mod tls;
pub mod tokens;
mod watching;
mod web;
mod why;

pub use audit::{Audit, Problem, ProblemKind};
pub use error::{Error, Result};
pub use farm::{Farm, Limits};
pub use grpc::Grpc;
pub use models::Pushed;
pub use notify::NotifyError;
pub use reconcile::Reconciled;
pub use service::{Service, ServiceError};
pub use submit::{Submit, Submitted};
