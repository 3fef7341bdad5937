//! The containers that weights come in, told apart by their content.

pub(crate) mod archive;
pub(crate) mod legacy;
pub(crate) mod safetensors;
pub(crate) mod zip;

use crate::checkpoint::Checkpoint;
use crate::error::Reason;
use crate::pickle::{self, Limits};
use crate::source::Source;

/// No published checkpoint that this program can use comes near it.
const MAX_FILE: u64 = 64 << 30;

/// Reads whichever format the content is in.
pub(crate) fn read(source: &Source) -> Result<Checkpoint, Reason> {
    if source.len() > MAX_FILE {
        return Err(Reason::Limit {
            what: "its size in bytes".into(),
            found: source.len(),
            limit: MAX_FILE,
        });
    }
    let head = source.head(64)?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        archive::read(source)
    } else if legacy::is_legacy(&head) {
        legacy::read(source)
    } else if head.len() > 8 && head[8] == b'{' {
        safetensors::read(source)
    } else {
        Err(unrecognised(source, &head)?)
    }
}

/// What is wrong with a file in none of the formats; a hostile bare pickle is named as such.
fn unrecognised(source: &Source, head: &[u8]) -> Result<Reason, Reason> {
    const KNOWN: &str =
        "expected safetensors, or a checkpoint written by torch.save or torch.jit.save";
    if head.is_empty() {
        return Ok(Reason::Unrecognised("it is empty".into()));
    }
    if head.starts_with(b"<") || head.starts_with(b"version https://git-lfs") {
        let what = "it is text (a web page or a Git LFS pointer saved in place of the weights?)";
        return Ok(Reason::Unrecognised(format!("{what}; {KNOWN}")));
    }
    let bytes = source.head(pickle::MAX_BYTES)?;
    Ok(match pickle::load(&bytes, Limits::default()) {
        Ok(_) => Reason::Unrecognised(format!("it is a bare pickle; {KNOWN}")),
        Err(hostile @ Reason::Hostile { .. }) => hostile,
        Err(_) => Reason::Unrecognised(KNOWN.into()),
    })
}
