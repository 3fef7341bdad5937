//! Where the golden fixtures lie.

use std::path::PathBuf;

pub fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../engine/tests/fixtures");
    PathBuf::from(fixtures).join(name)
}

pub fn files(name: &str) -> PathBuf {
    fixture("files").join(name)
}
