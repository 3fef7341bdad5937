//! What a reader hands over, whatever the file's format was.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{InFile, Reason, Result};
use crate::format;
use crate::source::{Source, read_text};
use crate::tensor::StateDict;

/// The tensors of a model file, with what the file says about itself.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// Where it came from; errors name it.
    pub path: PathBuf,
    /// The model's tensors under its own names: wrappers such as `module.` or `first_stage_model.`
    /// are taken off, losses and what surrounds the model are left out.
    pub state: StateDict,
    /// Free text in a safetensors header (`__metadata__`); empty for other formats.
    pub metadata: BTreeMap<String, String>,
    /// The JSON config beside the weights, where there is one.
    pub config: Option<serde_json::Value>,
    /// Whether names carried the `module.` of a distributed training run.
    pub(crate) distributed: bool,
}

/// Names of weights in a Hugging Face directory, the preferred first.
const WEIGHTS: [&str; 3] =
    ["model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin"];

/// Reads a model file of any supported format, or a Hugging Face directory.
///
/// Formats are told by content: safetensors, `torch.save` (zip or the older stream),
/// `torch.jit.save`. Nothing in the file is executed. Fails, naming the file and the reason, on
/// files that are damaged, unsafe or in another format.
pub fn read(path: &Path) -> Result<Checkpoint> {
    open(path, Source::file)
}

/// As [`read`], but the tensors of a safetensors file are the file's own pages: nothing is copied,
/// what is not looked at is not read, and processes share the memory.
///
/// Only for files that nobody writes to, and that are replaced by renaming others over them: a
/// change in place changes the tensors, and a file that is cut short ends the process (SIGBUS).
pub fn map(path: &Path) -> Result<Checkpoint> {
    open(path, |file| Source::mapped(&file))
}

fn open<'a>(
    path: &Path,
    source: impl FnOnce(File) -> Result<Source<'a>, Reason>,
) -> Result<Checkpoint> {
    let file = if path.is_dir() {
        let mut files = WEIGHTS.iter().map(|name| path.join(name)).filter(|file| file.is_file());
        let what = || format!("the directory holds none of {}", WEIGHTS.join(", "));
        files.next().ok_or_else(|| Reason::Unrecognised(what()).at(path))?
    } else {
        path.to_owned()
    };
    let source = File::open(&file).map_err(Reason::from).and_then(source);
    let checkpoint = format::read(&source.in_file(&file)?).in_file(&file)?;
    let config = config_beside(&file)?;
    Ok(Checkpoint { path: file, config, ..checkpoint })
}

/// Reads a model file that is in memory; `name` stands for its path in errors.
pub fn read_bytes(name: &Path, bytes: &[u8]) -> Result<Checkpoint> {
    let checkpoint = format::read(&Source::Bytes(bytes)).in_file(name)?;
    Ok(Checkpoint { path: name.to_owned(), ..checkpoint })
}

/// The config that belongs to a file: of the same stem, or under the name that goes with its own.
fn config_beside(file: &Path) -> Result<Option<serde_json::Value>> {
    let name = file.file_name().and_then(|name| name.to_str());
    let config = match name {
        Some("open_clip_model.safetensors") => "open_clip_config.json",
        Some(name) if WEIGHTS.contains(&name) => "config.json",
        _ => return read_config(&file.with_extension("json")),
    };
    read_config(&file.with_file_name(config))
}

fn read_config(path: &Path) -> Result<Option<serde_json::Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let config = serde_json::from_str(&read_text(path)?);
    config.map(Some).map_err(|e| Reason::Unrecognised(format!("not JSON: {e}")).at(path))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::TensorData;

    fn write(path: &Path, values: &[f32]) {
        let state = [("w".to_owned(), TensorData::from_f32(vec![values.len()], values))];
        let file = File::create(path).unwrap();
        crate::write_safetensors(file, &BTreeMap::new(), &state.into_iter().collect()).unwrap();
    }

    #[test]
    fn a_mapped_file_is_what_is_read_and_stays_so_when_another_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a.safetensors"), folder.path().join("b"));
        write(&path, &[1.0, 2.0, 3.0]);
        let (mapped, read) = (map(&path).unwrap(), read(&path).unwrap());
        assert_eq!(mapped.state, read.state);
        write(&other, &[4.0; 100]);
        fs::rename(&other, &path).unwrap();
        assert_eq!(mapped.state, read.state);
        assert_eq!(map(&path).unwrap().state.get("w").unwrap().numel(), 100);
    }

    #[test]
    fn a_mapped_tensor_lies_as_libtorch_wants_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let sizes = [("a", 1), ("b", 16), ("c", 3), ("d", 160)];
        let tensor = |(name, size): (&str, usize)| {
            (name.to_owned(), TensorData::from_f32(vec![size], &vec![1.0; size]))
        };
        let state: StateDict = sizes.into_iter().map(tensor).collect();
        let file = File::create(&path).unwrap();
        crate::write_safetensors(file, &BTreeMap::new(), &state).unwrap();
        let mapped = map(&path).unwrap();
        assert_eq!(mapped.state, state);
        for (name, tensor) in &mapped.state {
            let aligned = tensor.bytes.as_ptr().align_offset(64) == 0;
            // The first of those of odd sizes is, too.
            assert_eq!(aligned, name != "c", "{name}");
        }
    }

    #[test]
    fn what_is_cut_short_or_empty_is_refused_before_it_is_mapped_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        write(&path, &[1.0; 64]);
        let whole = fs::read(&path).unwrap();
        for len in [0, 7, 40, whole.len() - 1] {
            fs::write(&path, &whole[..len]).unwrap();
            let refused = map(&path).unwrap_err().to_string();
            assert!(refused.contains("a.safetensors"), "{refused}");
        }
    }
}
