//! The safetensors format: an eight-byte length, a JSON header, then the tensors' bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::checkpoint::Checkpoint;
use crate::error::Reason;
use crate::select::Selection;
use crate::source::{Source, u64_at};
use crate::tensor::{Dtype, MAX_DIMENSIONS, MAX_NAME, StateDict, TensorData};

/// The format allows 100 MB. No model has more than a few thousand tensors of a hundred bytes each, and
/// read as JSON a header takes many times its bytes.
const MAX_HEADER: u64 = 16 << 20;

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// What a file says about itself, checked against its length.
pub(crate) struct Header {
    pub metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, Entry>,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl Header {
    /// Number of elements in all tensors together.
    pub fn parameters(&self) -> u64 {
        let numel = |entry: &Entry| entry.shape.iter().fold(1u64, |n, &d| n.saturating_mul(d));
        self.tensors.values().fold(0, |n, entry| n.saturating_add(numel(entry)))
    }
}

pub(crate) fn read_header(source: &Source) -> Result<Header, Reason> {
    let len = u64_at(&source.read("the header's length", 0, 8)?, 0);
    if len > MAX_HEADER {
        return Err(Reason::Limit {
            what: "the header's length".into(),
            found: len,
            limit: MAX_HEADER,
        });
    }
    let text = source.read("the header", 8, len)?;
    let mut header: Header =
        serde_json::from_slice(&text).map_err(|e| Reason::Safetensors(e.to_string()))?;
    header.start = 8 + len;
    check_layout(&header.tensors, header.start, source.len())?;
    Ok(header)
}

pub(crate) fn read(source: &Source) -> Result<Checkpoint, Reason> {
    let header = read_header(source)?;
    let selection = Selection::of(header.tensors.keys().map(String::as_str));
    let mut state = StateDict::new();
    for (name, entry) in &header.tensors {
        let Some(own) = selection.name(name) else { continue };
        let tensor = read_tensor(source, name, entry, header.start)?;
        state.insert(own, tensor);
    }
    let distributed = selection.distributed();
    Ok(Checkpoint { state, metadata: header.metadata, distributed, ..Checkpoint::default() })
}

/// The tensors must fill the rest of the file, without holes or overlaps.
fn check_layout(tensors: &BTreeMap<String, Entry>, start: u64, len: u64) -> Result<(), Reason> {
    let mut ranges: Vec<_> = tensors.iter().map(|(name, e)| (e.data_offsets, name)).collect();
    ranges.sort();
    let mut end = 0;
    for ((from, to), name) in ranges {
        if from != end || to < from {
            let problem = format!("data_offsets {from}..{to} leave a hole or overlap others");
            return Err(Reason::tensor(name, problem));
        }
        if to > len - start {
            return Err(Reason::Truncated {
                what: format!("tensor `{name}`"),
                from: start.saturating_add(from),
                to: start.saturating_add(to),
                len,
            });
        }
        end = to;
    }
    if end != len - start {
        let extra = len - start - end;
        return Err(Reason::Safetensors(format!("{extra} bytes at the end belong to no tensor")));
    }
    Ok(())
}

fn read_tensor(
    source: &Source,
    name: &str,
    entry: &Entry,
    start: u64,
) -> Result<TensorData, Reason> {
    let Some(dtype) = dtype(&entry.dtype) else {
        return Err(Reason::tensor(name, format!("unsupported element type {}", entry.dtype)));
    };
    let dimensions = entry.shape.len();
    if dimensions > MAX_DIMENSIONS {
        let problem = format!("{dimensions} dimensions; at most {MAX_DIMENSIONS} are read");
        return Err(Reason::tensor(name, problem));
    }
    let (from, to) = entry.data_offsets;
    let bytes = entry
        .shape
        .iter()
        .try_fold(dtype.size() as u64, |n, &d| n.checked_mul(d))
        .filter(|&bytes| bytes == to - from);
    let Some(bytes) = bytes else {
        let problem = format!(
            "shape {:?} of {} does not fit its {} bytes",
            entry.shape,
            entry.dtype,
            to - from
        );
        return Err(Reason::tensor(name, problem));
    };
    let bytes = source.share(name, start + from, bytes)?;
    let shape = entry.shape.iter().map(|&d| d as usize).collect();
    Ok(TensorData { shape, dtype, bytes })
}

const DTYPES: [(&str, Dtype); 10] = [
    ("F64", Dtype::F64),
    ("F32", Dtype::F32),
    ("F16", Dtype::F16),
    ("BF16", Dtype::BF16),
    ("I64", Dtype::I64),
    ("I32", Dtype::I32),
    ("I16", Dtype::I16),
    ("I8", Dtype::I8),
    ("U8", Dtype::U8),
    ("BOOL", Dtype::Bool),
];

fn dtype(name: &str) -> Option<Dtype> {
    DTYPES.iter().find(|(n, _)| *n == name).map(|&(_, dtype)| dtype)
}

fn dtype_name(dtype: Dtype) -> &'static str {
    DTYPES.iter().find(|(_, d)| *d == dtype).map_or("U8", |&(name, _)| name)
}

impl<'de> Deserialize<'de> for Header {
    /// Like a map, but a name that occurs twice is an error and not a choice.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header =
                    Header { metadata: BTreeMap::new(), tensors: BTreeMap::new(), start: 0 };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                        continue;
                    }
                    if name.len() > MAX_NAME {
                        let length = name.len();
                        return Err(serde::de::Error::custom(format!(
                            "a tensor's name of {length} bytes; at most {MAX_NAME} are read"
                        )));
                    }
                    let twice = serde::de::Error::custom(format!("`{name}` occurs twice"));
                    if header.tensors.insert(name, map.next_value()?).is_some() {
                        return Err(twice);
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// Tensors begin at multiples of this in files that are written here, where their sizes allow it:
/// libtorch's own memory does, so that it can use a mapped file as it lies.
const ALIGNED: usize = 64;

/// Writes a safetensors file. Equal content gives equal bytes, so that its hash identifies a model.
pub fn write(
    mut out: impl Write,
    metadata: &BTreeMap<String, String>,
    state: &StateDict,
) -> io::Result<()> {
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut end = 0;
    // Those that would leave the next one between multiples come last.
    let mut tensors: Vec<(&String, &TensorData)> = state.iter().collect();
    tensors.sort_by_key(|(_, tensor)| !tensor.bytes.len().is_multiple_of(ALIGNED));
    for &(name, tensor) in &tensors {
        let from = end;
        end += tensor.bytes.len();
        let entry = serde_json::json!({
            "dtype": dtype_name(tensor.dtype), "shape": tensor.shape, "data_offsets": [from, end],
        });
        header.insert(name.clone(), entry);
    }
    let mut header = serde_json::Value::Object(header).to_string().into_bytes();
    header.resize((8 + header.len()).next_multiple_of(ALIGNED) - 8, b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    tensors.iter().try_for_each(|(_, tensor)| out.write_all(&tensor.bytes))?;
    out.flush()
}
