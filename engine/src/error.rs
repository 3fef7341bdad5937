//! What can go wrong in the engine.

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A weight that the architecture needs is not in the file, or has another shape.
    #[error("weights of another architecture: {0}")]
    Architecture(String),
    /// A setting that the loaded models or pictures cannot satisfy.
    #[error("{field}: {reason}")]
    Setting { field: &'static str, reason: String },
    /// A setting out of its range.
    #[error(transparent)]
    Invalid(#[from] vqfarm_core::job::FieldError),
    /// The device that was asked for is not to be had.
    #[error("device {asked:?}: {reason}")]
    Device { asked: String, reason: String },
    /// A saved state does not belong to this optimisation.
    #[error("saved state lacks {0}")]
    State(String),
    /// libtorch refused an operation; out of memory comes this way.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A computation of the networks failed; what libtorch said.
    #[error("libtorch: {0}")]
    Failed(String),
}

impl EngineError {
    /// Whether a smaller batch or picture might succeed.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Torch(error) => says_out_of_memory(&error.to_string()),
            Self::Failed(what) => says_out_of_memory(what),
            _ => false,
        }
    }
}

fn says_out_of_memory(what: &str) -> bool {
    // CUDA; the CPU's allocator on Linux and elsewhere; oneDNN; C++.
    let ways = [
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "memory object",
        "bad_alloc",
    ];
    ways.iter().any(|way| what.contains(way))
}

pub type Result<T, E = EngineError> = std::result::Result<T, E>;
