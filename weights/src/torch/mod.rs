//! What PyTorch puts into a pickle: tensors as views of storages, and where the state dict is.

mod state;
mod view;

pub(crate) use state::views;
pub(crate) use view::{Storage, storage};
