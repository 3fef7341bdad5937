//! What several test programs share: where the golden fixtures lie, and builders of small files.

#![allow(dead_code, reason = "each test program uses its part")]

pub mod pickle;
pub mod server;
pub mod zip;

use std::path::PathBuf;

pub fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/fixtures");
    PathBuf::from(fixtures).join(name)
}

pub fn files(name: &str) -> PathBuf {
    fixture("files").join(name)
}
