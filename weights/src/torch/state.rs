//! Where a checkpoint keeps the model's tensors.

use std::collections::{BTreeMap, BTreeSet};

use super::view::{View, tensor};
use crate::error::Reason;
use crate::pickle::{Heap, Id};
use crate::select::Selection;
use crate::tensor::{MAX_NAME, StateDict, TensorData};

/// Keys under which trainers store the state dict beside other things.
const STATE_KEYS: [&str; 4] = ["state_dict", "model_state_dict", "model", "params"];
const MAX_TENSORS: u64 = 200_000;
/// Deepest nesting of scripted modules, and most of them.
const MAX_DEPTH: usize = 64;
const MAX_MODULES: u64 = 200_000;

/// The model's tensors, named but not yet read.
pub(crate) struct Views {
    views: BTreeMap<String, View>,
    pub distributed: bool,
}

/// Finds the state dict under the root of a pickle: of a plain one, a Lightning checkpoint or a
/// scripted module.
pub(crate) fn views(heap: &Heap, root: Id) -> Result<Views, Reason> {
    let ids = if is_scripted(heap, root) {
        scripted(heap, root)?
    } else {
        let state = STATE_KEYS
            .iter()
            .find_map(|key| heap.lookup(root, key).filter(|&state| heap.pairs(state).is_some()));
        plain(heap, state.unwrap_or(root))?
    };
    if ids.len() as u64 > MAX_TENSORS {
        let found = ids.len() as u64;
        return Err(Reason::Limit {
            what: "the number of tensors".into(),
            found,
            limit: MAX_TENSORS,
        });
    }
    let selection = Selection::of(ids.keys().map(String::as_str));
    let mut views = BTreeMap::new();
    for (name, &id) in &ids {
        let Some(own) = selection.name(name) else { continue };
        if let Some(view) = tensor(heap, id).map_err(|problem| Reason::tensor(name, problem))? {
            views.insert(own.to_owned(), view);
        }
    }
    if views.is_empty() {
        return Err(Reason::Unsupported(
            "no state dict with tensors in it (if it holds a whole pickled module, save \
             `module.state_dict()` instead)"
                .into(),
        ));
    }
    Ok(Views { views, distributed: selection.distributed() })
}

/// The pairs with text keys. Others (a class as a key, say) name no tensors.
fn plain(heap: &Heap, state: Id) -> Result<BTreeMap<String, Id>, Reason> {
    let mut ids = BTreeMap::new();
    for &(key, value) in heap.pairs(state).unwrap_or_default() {
        if let Some(name) = heap.str(key) {
            ids.insert(checked(name)?, value);
        }
    }
    Ok(ids)
}

fn is_scripted(heap: &Heap, id: Id) -> bool {
    heap.object(id)
        .and_then(|object| heap.global(object.class))
        .is_some_and(|(module, _)| module.split('.').next() == Some("__torch__"))
}

/// All tensor attributes of a scripted module and its submodules: parameters and buffers alike.
fn scripted(heap: &Heap, root: Id) -> Result<BTreeMap<String, Id>, Reason> {
    let mut ids = BTreeMap::new();
    let mut modules = 0;
    let mut waiting = vec![(String::new(), root, 0)];
    while let Some((prefix, id, depth)) = waiting.pop() {
        modules += 1;
        for (what, found, limit) in [
            ("the number of modules", modules, MAX_MODULES),
            ("the nesting of modules", depth as u64, MAX_DEPTH as u64),
        ] {
            if found > limit {
                return Err(Reason::Limit { what: what.into(), found, limit });
            }
        }
        let state = heap.object(id).and_then(|object| object.state);
        for &(key, value) in state.and_then(|state| heap.pairs(state)).unwrap_or_default() {
            let Some(key) = heap.str(key) else { continue };
            let name = checked(&format!("{prefix}{key}"))?;
            if is_scripted(heap, value) {
                waiting.push((name + ".", value, depth + 1));
            } else {
                ids.insert(name, value);
            }
        }
    }
    Ok(ids)
}

fn checked(name: &str) -> Result<String, Reason> {
    if name.len() > MAX_NAME {
        let (found, limit) = (name.len() as u64, MAX_NAME as u64);
        return Err(Reason::Limit { what: "the length of a tensor's name".into(), found, limit });
    }
    Ok(name.to_owned())
}

impl Views {
    /// Reads the tensors, each storage once. `read` gives a storage's bytes; `file` is the length
    /// of the file, which bounds what they may come to.
    pub fn load(
        self,
        file: u64,
        mut read: impl FnMut(&super::Storage) -> Result<Vec<u8>, Reason>,
    ) -> Result<StateDict, Reason> {
        // Tied weights share a storage, so that a model may be somewhat larger than its file.
        let limit = file.saturating_mul(4);
        let found = self.views.values().fold(0, |sum: u64, view| sum.saturating_add(view.bytes()));
        if found > limit {
            let what = "the tensors' size in bytes (four times the file's)".into();
            return Err(Reason::Limit { what, found, limit });
        }
        let mut order: Vec<_> = self.views.iter().collect();
        order.sort_by(|(_, a), (_, b)| a.storage.key.cmp(&b.storage.key));
        let mut tensors: Vec<(String, TensorData)> = Vec::with_capacity(order.len());
        let mut current: Option<(&super::Storage, Vec<u8>)> = None;
        for (name, view) in order {
            let held = current.take().filter(|(storage, _)| **storage == view.storage);
            let (storage, bytes) = match held {
                Some(held) => held,
                None => (&view.storage, read(&view.storage)?),
            };
            if bytes.len() as u64 != storage.bytes()? {
                let problem = format!(
                    "storage `{}` has {} bytes and should have {}",
                    storage.key,
                    bytes.len(),
                    storage.bytes()?
                );
                return Err(Reason::tensor(name, problem));
            }
            tensors.push((name.clone(), view.copy(&bytes)));
            current = Some((storage, bytes));
        }
        Ok(tensors.into_iter().collect())
    }

    /// Keys of the storages that are needed.
    pub fn keys(&self) -> BTreeSet<&str> {
        self.views.values().map(|view| view.storage.key.as_str()).collect()
    }
}
