//! The stream that `torch.save` wrote before version 1.6: five pickles (a magic number, the
//! protocol, the system, the object, the storages' keys), then the storages one after another, each
//! behind its length.

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::Checkpoint;
use crate::error::Reason;
use crate::pickle::{self, Heap, Id, Limits, Value};
use crate::source::{Source, u64_at};
use crate::torch::{self, Storage};

/// 0x1950a86a20f9469cfc6c as a pickle of protocol 2.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const PROTOCOL: i64 = 1001;

pub(crate) fn is_legacy(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

pub(crate) fn read(source: &Source) -> Result<Checkpoint, Reason> {
    let head = source.head(pickle::MAX_BYTES)?;
    let mut at = MAGIC.len();
    let mut next = || -> Result<_, Reason> {
        let loaded = pickle::load(&head[at..], Limits::default()).map_err(|e| shift(e, at))?;
        at += loaded.len;
        Ok((loaded.heap, loaded.root))
    };
    let (protocol, id) = next()?;
    if protocol.int(id) != Some(PROTOCOL) {
        return Err(Reason::Unsupported("its protocol is not PyTorch's 1001".into()));
    }
    let (system, id) = next()?;
    let little = system.lookup(id, "little_endian").map(|id| system.get(id));
    if matches!(little, Some(Value::Bool(false))) {
        return Err(Reason::Unsupported("it was written on a big-endian machine".into()));
    }
    let (heap, root) = next()?;
    let (keys, keys_root) = next()?;

    let views = torch::views(&heap, root)?;
    let places = places(source, &heap, &key_list(&keys, keys_root)?, at as u64)?;
    let distributed = views.distributed;
    if let Some(key) = views.keys().into_iter().find(|key| !places.contains_key(*key)) {
        return Err(Reason::Unsupported(format!("storage `{key}` is not in the file")));
    }
    let state = views.load(source.len(), |storage| {
        source.read(&format!("storage `{}`", storage.key), places[&storage.key], storage.bytes()?)
    })?;
    Ok(Checkpoint { state, distributed, ..Checkpoint::default() })
}

fn key_list(heap: &Heap, root: Id) -> Result<Vec<String>, Reason> {
    let keys = match heap.get(root) {
        Value::List(items) => items.iter().map(|&id| heap.str(id).map(str::to_owned)).collect(),
        _ => None,
    };
    keys.ok_or_else(|| Reason::Unsupported("its list of storages is damaged".into()))
}

/// Where each storage's bytes begin. All are walked over, for each one's place depends on those
/// before it.
fn places(
    source: &Source,
    heap: &Heap,
    keys: &[String],
    mut at: u64,
) -> Result<BTreeMap<String, u64>, Reason> {
    let mut storages: HashMap<String, Storage> = HashMap::new();
    for value in heap.values() {
        if let Value::Persistent(reference) = value
            && let Ok(Some((storage, _))) = torch::storage(heap, *reference)
        {
            storages.insert(storage.key.clone(), storage);
        }
    }
    let mut places = BTreeMap::new();
    for key in keys {
        let Some(storage) = storages.get(key) else {
            return Err(Reason::Unsupported(format!("nothing refers to storage `{key}`")));
        };
        let what = format!("the length of storage `{key}`");
        let len = u64_at(&source.read(&what, at, 8)?, 0);
        if len != storage.len {
            let what =
                format!("{what} is {len} before its bytes and {} where it is used", storage.len);
            return Err(Reason::Unsupported(what));
        }
        at += 8;
        let end = at.saturating_add(storage.bytes()?);
        if end > source.len() {
            let (what, len) = (format!("storage `{key}`"), source.len());
            return Err(Reason::Truncated { what, from: at, to: end, len });
        }
        if places.insert(key.clone(), at).is_some() {
            return Err(Reason::Unsupported(format!("storage `{key}` occurs twice")));
        }
        at = end;
    }
    Ok(places)
}

/// Counts the position in a later pickle from the start of the file.
fn shift(reason: Reason, by: usize) -> Reason {
    match reason {
        Reason::Pickle { at, what } => Reason::Pickle { at: at + by, what },
        other => other,
    }
}
