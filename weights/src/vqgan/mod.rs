//! VQGAN: its sizes and its weights under the names of its published code.

mod config;

pub use config::{Quantizer, VqganConfig};
