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
    /// A saved state does not belong to this optimisation.
    #[error("saved state lacks {0}")]
    State(String),
    /// libtorch refused an operation; out of memory comes this way.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

pub type Result<T, E = EngineError> = std::result::Result<T, E>;
