//! Python's pickle format, read as data.
//!
//! A pickle is a program for a stack machine that may name any Python function and call it. Here
//! the program runs as far as building lists, dictionaries and numbers goes; whatever it names
//! stays a name, a call stays a record of the call, and nothing is ever looked up or executed.
//! Names that only serve to run code make the file refused.

mod globals;
mod machine;
mod opcode;
mod reader;
mod value;

pub(crate) use machine::{Limits, load};
pub(crate) use value::{Heap, Id, Value};

/// Longest pickle that is read. Those of published checkpoints take a few megabytes at most.
pub(crate) const MAX_BYTES: u64 = 64 << 20;
