//! The zip archives of `torch.save` (since 1.6) and `torch.jit.save`: a pickle `data.pkl` in the
//! archive's one folder, storages under `data/` beside it, and code, which is left alone.

use crate::checkpoint::Checkpoint;
use crate::error::Reason;
use crate::format::zip::Archive;
use crate::pickle::{self, Limits};
use crate::source::Source;
use crate::torch;

pub(crate) fn read(source: &Source) -> Result<Checkpoint, Reason> {
    let archive = Archive::open(source)?;
    let root = root(&archive)?;
    let name = format!("{root}/data.pkl");
    let size = archive.size(&name).unwrap_or(0);
    if size > pickle::MAX_BYTES {
        let what = "the length of data.pkl".into();
        return Err(Reason::Limit { what, found: size, limit: pickle::MAX_BYTES });
    }
    if archive.size(&format!("{root}/byteorder")).is_some_and(|size| size <= 16)
        && archive.read(&format!("{root}/byteorder"))? != b"little"
    {
        return Err(Reason::Unsupported("it was written on a big-endian machine".into()));
    }
    let loaded = pickle::load(&archive.read(&name)?, Limits::default())?;
    let views = torch::views(&loaded.heap, loaded.root)?;
    let distributed = views.distributed;
    let state = views.load(source.len(), |storage| {
        let name = format!("{root}/data/{}", storage.key);
        // Before reading: a wrong size is said as such, and costs nothing.
        match archive.size(&name) {
            Some(size) if size != storage.bytes()? => Err(Reason::Zip(format!(
                "entry `{name}` has {size} bytes where its tensors need {}",
                storage.bytes()?
            ))),
            _ => archive.read(&name),
        }
    })?;
    Ok(Checkpoint { state, distributed, ..Checkpoint::default() })
}

/// The one folder with a `data.pkl` in it.
fn root<'a>(archive: &'a Archive) -> Result<&'a str, Reason> {
    let mut roots = archive
        .names()
        .filter_map(|name| name.strip_suffix("/data.pkl"))
        .filter(|root| !root.contains('/'));
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        _ => {
            let what = "a zip archive, but not one of PyTorch's: there is not one data.pkl in it";
            Err(Reason::Unrecognised(what.into()))
        }
    }
}
