//! A tensor as the pickle has it: a strided window on a storage that lies elsewhere in the file.

use crate::error::Reason;
use crate::pickle::{Heap, Id, Value};
use crate::tensor::{Dtype, MAX_DIMENSIONS, TensorData};

/// A storage that the pickle refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub key: String,
    pub dtype: Dtype,
    /// Length in elements.
    pub len: u64,
}

impl Storage {
    /// Length in bytes.
    pub fn bytes(&self) -> Result<u64, Reason> {
        self.len.checked_mul(self.dtype.size() as u64).ok_or_else(|| Reason::Limit {
            what: format!("the length of storage `{}`", self.key),
            found: self.len,
            limit: u64::MAX / 8,
        })
    }
}

/// A window on a storage, in elements. Lies within it: `tensor` checks.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub storage: Storage,
    offset: u64,
    shape: Vec<usize>,
    strides: Vec<u64>,
}

/// Deepest nesting of wrappers (parameters, subclasses) around a tensor.
const MAX_WRAPPERS: usize = 8;

/// Reads a reference to a storage: `('storage', class, key, device, length[, view])`.
///
/// The last part, in old files, is `(key, offset, length)` of a window; its offset is returned.
pub(crate) fn storage(heap: &Heap, reference: Id) -> Result<Option<(Storage, u64)>, String> {
    let Some([tag, class, key, _device, len, rest @ ..]) = heap.tuple(reference) else {
        return Ok(None);
    };
    if heap.str(*tag) != Some("storage") {
        return Ok(None);
    }
    let Some((_, class)) = heap.global(*class) else {
        return Err("its storage has no type".into());
    };
    let dtype = match class {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" | "UntypedStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        other => return Err(format!("its storage is a {other}, which is not supported")),
    };
    let (Some(key), Some(len)) = (heap.str(*key), heap.size(*len)) else {
        return Err("the reference to its storage is damaged".into());
    };
    let storage = Storage { key: key.to_owned(), dtype, len };
    let window = match rest {
        [] => return Ok(Some((storage, 0))),
        [window, ..] => window,
    };
    match (heap.get(*window), heap.tuple(*window)) {
        (Value::None, _) => Ok(Some((storage, 0))),
        (_, Some([_key, offset, window_len])) => {
            let fits = |&(offset, len): &(u64, u64)| {
                offset.checked_add(len).is_some_and(|end| end <= storage.len)
            };
            let window = heap.size(*offset).zip(heap.size(*window_len)).filter(fits);
            let (offset, _) = window.ok_or("its window lies outside its storage")?;
            Ok(Some((storage, offset)))
        }
        _ => Err("the reference to its storage is damaged".into()),
    }
}

/// Reads a value as a tensor; none when it is something else.
pub(crate) fn tensor(heap: &Heap, mut id: Id) -> Result<Option<View>, String> {
    for _ in 0..MAX_WRAPPERS {
        let Some(object) = heap.object(id) else { return Ok(None) };
        let (Some((module, name)), Some(args)) =
            (heap.global(object.class), heap.tuple(object.args))
        else {
            return Ok(None);
        };
        if !matches!(module, "torch._utils" | "torch._tensor" | "torch.nn.parameter") {
            return Ok(None);
        }
        match (name, args) {
            ("_rebuild_tensor_v2" | "_rebuild_tensor", [storage, offset, shape, strides, ..]) => {
                return view(heap, *storage, *offset, *shape, *strides).map(Some);
            }
            ("_rebuild_parameter" | "_rebuild_parameter_with_state" | "Parameter", [data, ..]) => {
                id = *data;
            }
            ("_rebuild_from_type" | "_rebuild_from_type_v2", [_, _, args, ..]) => {
                match heap.tuple(*args) {
                    Some([storage, offset, shape, strides, ..]) => {
                        return view(heap, *storage, *offset, *shape, *strides).map(Some);
                    }
                    _ => return Err("it is of an unsupported tensor class".into()),
                }
            }
            (name, _) if name.starts_with("_rebuild") => {
                return Err(format!("it is made by {name}, which is not supported"));
            }
            _ => return Ok(None),
        }
    }
    Err("it is wrapped too often".into())
}

fn view(heap: &Heap, at: Id, offset: Id, shape: Id, strides: Id) -> Result<View, String> {
    let reference = match heap.get(at) {
        Value::Persistent(reference) => storage(heap, *reference)?,
        _ => None,
    };
    let (storage, window) = reference.ok_or("it has no storage")?;
    let sizes =
        |id| -> Option<Vec<u64>> { heap.tuple(id)?.iter().map(|&size| heap.size(size)).collect() };
    let shape = sizes(shape).ok_or("its shape is damaged or negative")?;
    let strides = sizes(strides).ok_or("its strides are damaged or negative")?;
    if shape.len() != strides.len() || shape.len() > MAX_DIMENSIONS {
        return Err("its shape and strides do not fit each other".into());
    }
    let offset = heap
        .size(offset)
        .and_then(|offset| offset.checked_add(window))
        .ok_or("its offset is damaged")?;
    let numel = shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size));
    // One past the last element that is touched.
    let end = shape.iter().zip(&strides).try_fold(1u64, |end, (&size, &stride)| {
        end.checked_add(size.saturating_sub(1).checked_mul(stride)?)
    });
    let end = end.and_then(|end| end.checked_add(offset));
    match (numel, end) {
        (Some(0), _) => {}
        // Overlapping windows could make a small file fill the memory.
        (Some(numel), Some(end)) if end <= storage.len && numel <= storage.len => {}
        _ => {
            let what = format!("shape {shape:?}, strides {strides:?}, offset {offset}");
            return Err(format!("{what} lie outside its storage of {} elements", storage.len));
        }
    }
    let shape = shape.iter().map(|&size| size as usize).collect();
    Ok(View { storage, offset, shape, strides })
}

impl View {
    /// Bytes that the tensor takes by itself.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.storage.dtype.size() as u64
    }

    /// Copies the tensor out of its storage, `bytes`, which must have the length it promises.
    pub fn copy(&self, bytes: &[u8]) -> TensorData {
        let dtype = self.storage.dtype;
        let size = dtype.size();
        let numel: usize = self.shape.iter().product();
        let mut out = Vec::with_capacity(numel * size);
        if numel > 0 && self.is_row_major() {
            let from = self.offset as usize * size;
            out.extend_from_slice(&bytes[from..from + numel * size]);
        } else if numel > 0 {
            let mut index = vec![0; self.shape.len()];
            let mut at = self.offset as usize;
            for _ in 0..numel {
                out.extend_from_slice(&bytes[at * size..(at + 1) * size]);
                // Counts up like an odometer, the last dimension fastest.
                for dim in (0..index.len()).rev() {
                    let stride = self.strides[dim] as usize;
                    index[dim] += 1;
                    at += stride;
                    if index[dim] < self.shape[dim] {
                        break;
                    }
                    at -= stride * self.shape[dim];
                    index[dim] = 0;
                }
            }
        }
        TensorData { shape: self.shape.clone(), dtype, bytes: out.into() }
    }

    fn is_row_major(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size as u64;
            fits
        })
    }
}
