//! Compares the engine with numbers that the PyTorch originals produced.
//!
//! Every `.safetensors` file of the fixture directory names its own `kind`; the table below
//! says who checks it. `VQFARM_FIXTURES` names another directory. A word on the command line
//! keeps only the files whose name contains it.

mod fixture;
mod report;

mod augment;
mod clip;
mod cutouts;
mod files;
mod loops;
mod loss;
mod optimizers;
mod tokenizer;
mod vqgan;
mod warp;
mod zoom;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use fixture::Fixture;
use report::Report;

type Check = fn(&Fixture, &mut Report) -> Result<()>;
type EntryCheck = fn(&Path, &mut Report) -> Result<()>;

/// Who checks which kind. To add one: a file beside this one, and a line here.
const KINDS: &[(&str, Check)] = &[
    ("augment_bend", augment::check_changes),
    ("augment_color", augment::check_color),
    ("augment_geometry", augment::check_geometry),
    ("augment_pixels", augment::check_changes),
    ("clamp_with_grad", cutouts::check_clamp),
    ("clip", clip::check),
    ("cutouts_original", cutouts::check_original),
    ("cutouts_pooled", cutouts::check_pooled),
    ("loop", loops::check),
    ("loss", loss::check),
    ("optimizers", optimizers::check),
    ("resample", cutouts::check_resample),
    ("vqgan", vqgan::check),
    ("warp_subpixel", warp::check),
    ("zoom_legacy", zoom::check),
];

/// Who checks what is not one `.safetensors` file: entries of the directory by name.
const ENTRIES: &[(&str, EntryCheck)] =
    &[("files", files::check), ("tokenizer.json", tokenizer::check)];

/// The processor's kernels that the originals' numbers were computed with. Each kind rounds
/// otherwise, and optimisers that divide by the gradient's size multiply that a hundredfold, so
/// like is compared with like. Set `ATEN_CPU_CAPABILITY` to compare with others.
const KERNELS: &[(&str, &str)] = &[("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")];

fn main() -> ExitCode {
    if std::env::var_os(KERNELS[0].0).is_none() {
        return with_kernels();
    }
    tch::set_num_threads(1);
    let dir = std::env::var_os("VQFARM_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
        PathBuf::from,
    );
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    match run(&dir, &filter) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            println!("\nparity: {failed} comparisons failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("parity: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs this program again: libtorch chooses its kernels once, when it is loaded.
fn with_kernels() -> ExitCode {
    let again = std::env::current_exe().and_then(|exe| {
        let mut command = std::process::Command::new(exe);
        command.args(std::env::args_os().skip(1)).envs(KERNELS.iter().copied()).status()
    });
    match again {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            println!("parity: cannot start itself: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Checks the whole directory and returns how many comparisons failed.
fn run(dir: &Path, filter: &str) -> Result<usize> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>())
        .with_context(|| format!("reading the fixtures in {}", dir.display()))?;
    names.sort();
    let fixtures = names.iter().filter(|p| p.extension().is_some_and(|e| e == "safetensors"));
    if fixtures.clone().next().is_none() {
        bail!("{} holds no .safetensors fixture", dir.display());
    }
    let wanted = |path: &Path| path.to_string_lossy().contains(filter);

    let mut failed = 0;
    for path in fixtures.filter(|p| wanted(p)) {
        failed += one(path, |report| check_fixture(path, report));
    }
    for (name, check) in ENTRIES {
        let path = dir.join(name);
        if path.exists() && wanted(&path) {
            failed += one(&path, |report| check(&path, report));
        }
    }
    Ok(failed)
}

fn one(path: &Path, check: impl FnOnce(&mut Report) -> Result<()>) -> usize {
    let mut report = Report::default();
    if let Err(error) = check(&mut report) {
        report.fail(format!("{error:#}"));
    }
    if report.compared() == 0 {
        report.fail("nothing was compared");
    }
    println!("{}\n{report}", path.file_name().unwrap_or_default().to_string_lossy());
    report.failures()
}

fn check_fixture(path: &Path, report: &mut Report) -> Result<()> {
    let fixture = Fixture::open(path)?;
    let kind: String = fixture.text("kind")?;
    let (_, check) = KINDS
        .iter()
        .find(|(name, _)| *name == kind)
        .with_context(|| format!("kind `{kind}` is unknown here"))?;
    check(&fixture, report)?;
    for name in fixture.unread() {
        report.note(format!("{name}: in the file, not compared"));
    }
    Ok(())
}
