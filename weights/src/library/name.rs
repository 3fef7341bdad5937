//! Names of models, and what they are called on disk.

use std::fmt;

use super::error::{LibraryError, Result};

const MAX_LEN: usize = 100;

/// A name that is safe to show and to store: letters, digits and `.`, `_`, `-`, `@`, `+`, in parts
/// separated by `/` (`ViT-B/32`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    pub fn new(name: &str) -> Result<Self> {
        let refuse = |problem| Err(LibraryError::Name { name: name.to_owned(), problem });
        if name.is_empty() || name.len() > MAX_LEN {
            return refuse("should have 1 to 100 characters");
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-@+/".contains(c);
        if !name.chars().all(legal) {
            return refuse("may have letters, digits and . _ - @ + / only");
        }
        if name.split('/').any(|part| part.is_empty() || part.starts_with(['.', '-'])) {
            return refuse("a part between slashes is empty or begins with `.` or `-`");
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a file name without extension. `%` is not legal in names, so this is unique.
    pub(super) fn file_stem(&self) -> String {
        self.0.replace('/', "%2F")
    }

    pub(super) fn from_file_stem(stem: &str) -> Result<Self> {
        Self::new(&stem.replace("%2F", "/"))
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_encoded_and_come_back() {
        for name in ["ViT-B/32", "imagenet-f16-16384", "ViT-L/14@336px", "a/b/c"] {
            let name = ModelName::new(name).unwrap();
            assert!(!name.file_stem().contains('/'));
            assert_eq!(ModelName::from_file_stem(&name.file_stem()).unwrap(), name);
        }
    }

    #[test]
    fn path_tricks_are_no_names() {
        for name in [
            "", "..", "../x", "a/../b", "/a", "a/", "a//b", ".a", "-a", "a\\b", "a b", "a%2Fb",
            "a\0", "é",
        ] {
            assert!(ModelName::new(name).is_err(), "{name:?}");
        }
        assert!(ModelName::new(&"x".repeat(101)).is_err());
    }
}
