//! Fitting a state dict to the tensors that an architecture has.

use crate::error::Reason;
use crate::tensor::StateDict;

/// Largest number of anything in a config: channels, rows, pixels.
const MAX_SIZE: i64 = 1 << 20;
/// Most blocks, levels or stages.
const MAX_DEPTH: i64 = 256;

/// Tensors that an architecture has: names and shapes.
#[derive(Default)]
pub(crate) struct Spec(pub Vec<(String, Vec<i64>)>);

impl Spec {
    pub fn add(&mut self, name: impl Into<String>, shape: &[i64]) {
        self.0.push((name.into(), shape.to_vec()));
    }

    /// A weight and a bias of `shape[0]`, as convolutions, linear layers and norms have.
    pub fn pair(&mut self, name: &str, shape: &[i64]) {
        self.add(format!("{name}.weight"), shape);
        self.add(format!("{name}.bias"), &shape[..1]);
    }

    /// Takes exactly these tensors out of a state dict, and checks them. What is left over belongs
    /// to training.
    pub fn fit(self, mut state: StateDict) -> Result<StateDict, Reason> {
        self.0
            .into_iter()
            .map(|(name, shape)| {
                let Some(tensor) = state.remove(&name) else {
                    let hint = "the file is incomplete or of another architecture".into();
                    return Err(Reason::MissingTensor { name, hint });
                };
                if tensor.dims() != shape {
                    let problem =
                        format!("shape {:?} where the config asks for {shape:?}", tensor.shape);
                    return Err(Reason::Tensor { name, problem });
                }
                if !tensor.dtype.is_float() {
                    let problem = format!("{:?} where weights are floating-point", tensor.dtype);
                    return Err(Reason::Tensor { name, problem });
                }
                Ok((name, tensor))
            })
            .collect()
    }
}

/// A size from a config, which must be sane before anything is computed from it.
pub(crate) fn check_size(field: &str, value: i64) -> Result<(), Reason> {
    if (1..=MAX_SIZE).contains(&value) {
        return Ok(());
    }
    Err(Reason::config(field, format!("{value} is not between 1 and {MAX_SIZE}")))
}

/// A number of blocks from a config.
pub(crate) fn check_depth(field: &str, value: i64) -> Result<(), Reason> {
    if (1..=MAX_DEPTH).contains(&value) {
        return Ok(());
    }
    Err(Reason::config(field, format!("{value} is not between 1 and {MAX_DEPTH}")))
}

/// A dimension of a tensor, from which a size is inferred.
pub(crate) fn dim(state: &StateDict, name: &str, dim: usize) -> Result<i64, Reason> {
    let Some(tensor) = state.get(name) else {
        let hint = "the file is incomplete or of another architecture".into();
        return Err(Reason::MissingTensor { name: name.into(), hint });
    };
    let size = tensor.shape.get(dim).and_then(|&size| i64::try_from(size).ok());
    size.ok_or_else(|| {
        Reason::tensor(name, format!("shape {:?} has too few dimensions", tensor.shape))
    })
}

/// How many of `prefix0suffix`, `prefix1suffix`, … there are.
pub(crate) fn count(state: &StateDict, prefix: &str, suffix: &str) -> i64 {
    (0..MAX_DEPTH).take_while(|i| state.contains(&format!("{prefix}{i}{suffix}"))).count() as i64
}
