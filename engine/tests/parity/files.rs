//! `files/`: the same weights in the formats that users have, against the fixture of the stem.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tch::Tensor;
use vqfarm_weights::vqgan::VqganConfig;
use vqfarm_weights::{Kind, StateDict, clip, vqgan};

use crate::fixture::Fixture;
use crate::report::Report;

pub fn check(dir: &Path, report: &mut Report) -> Result<()> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    ensure!(!paths.is_empty(), "it is empty");
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let outcome = if name.ends_with(".yaml") {
            check_config(&path, report)
        } else {
            check_weights(&path, &name, report)
        };
        if let Err(error) = outcome {
            report.fail(format!("{name}: {error:#}"));
        }
    }
    Ok(())
}

/// The fixture that a file's name begins with.
fn fixture(path: &Path) -> Result<Fixture> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    let dir = path.parent().and_then(Path::parent).context("no directory above")?;
    Fixture::open(&dir.join(format!("{stem}.safetensors")))
}

fn check_config(path: &Path, report: &mut Report) -> Result<()> {
    let expected: VqganConfig = fixture(path)?.json("config")?;
    let ours = VqganConfig::read(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if ours == expected {
        report.same(format!("{name}"));
    } else {
        report.fail(format!("{name}: {ours:?}, expected {expected:?}"));
    }
    Ok(())
}

fn check_weights(path: &Path, name: &str, report: &mut Report) -> Result<()> {
    let fixture = fixture(path)?;
    let ours = canonical(path)?;
    let expected = canonical(&fixture.path)?;
    let names = |state: &StateDict| state.names().map(str::to_owned).collect::<Vec<_>>();
    if names(&ours) != names(&expected) {
        bail!("its tensors are {:?}, expected {:?}", names(&ours), names(&expected));
    }
    let flat = |tensors: Vec<Tensor>| Tensor::cat(&tensors, 0);
    let (mut own, mut theirs) = (Vec::new(), Vec::new());
    let originals = fixture.weights();
    for (key, tensor) in ours.iter() {
        let original = originals.get(key).with_context(|| format!("`{key}` is not the model's"))?;
        ensure!(tensor.dims() == original.size(), "`{key}` has shape {:?}", tensor.dims());
        own.push(Tensor::from_slice(&tensor.to_f32()));
        theirs.push(original.view(-1).to_kind(tch::Kind::Float));
    }
    report.exact(name, &flat(own), &flat(theirs));
    Ok(())
}

/// The model in a file, read without being told what it is.
fn canonical(path: &Path) -> Result<StateDict> {
    let checkpoint = vqfarm_weights::read(path)?;
    Ok(match Kind::of(&checkpoint) {
        Some(Kind::Vqgan) => vqgan::canonical(checkpoint, None)?.state,
        Some(Kind::Clip) => clip::canonical(checkpoint, None)?.state,
        None => bail!("it is neither a VQGAN nor a CLIP"),
    })
}
