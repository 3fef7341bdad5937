//! Compares the engine with numbers that the PyTorch originals produced.
//!
//! Every `.safetensors` file of the fixture directory names its own `kind`; the table below
//! says who checks it. `VQFARM_FIXTURES` names another directory. A word on the command line
//! keeps only the files whose name contains it. `VQFARM_PARITY_DEVICE` names a GPU to compute on.

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
use vqfarm_core::render::Precision;
use vqfarm_engine::device::set_precision;

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

/// Sets of the processor's kernels, any of which the originals' numbers may have been computed
/// with. Each rounds otherwise, and optimisers that divide by the gradient's size multiply that
/// a hundredfold, so like is compared with like: a file must agree with one of them throughout.
/// Set `ATEN_CPU_CAPABILITY` to compare with your own choice.
const KERNELS: &[[(&str, &str); 2]] = &[
    [("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2")],
    [("ATEN_CPU_CAPABILITY", "avx512"), ("ONEDNN_MAX_CPU_ISA", "ALL")],
];

/// Begins the line that names a file with failures.
const FAILED: &str = "parity: failed: ";

fn main() -> ExitCode {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    // A GPU has kernels of its own.
    let chosen =
        [KERNELS[0][0].0, fixture::DEVICE].into_iter().any(|v| std::env::var_os(v).is_some());
    let outcome = if chosen { with_these_kernels(&filter) } else { with_kernels(&filter) };
    match outcome {
        Ok(0) => ExitCode::SUCCESS,
        Ok(files) => {
            println!("parity: {files} files do not agree");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("parity: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn with_these_kernels(filter: &str) -> Result<usize> {
    tch::set_num_threads(1);
    // Also keeps a GPU from rounding to TF32.
    set_precision(fixture::device()?, Precision::Float32)?;
    let dir = std::env::var_os("VQFARM_FIXTURES").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
        PathBuf::from,
    );
    run(&dir, filter)
}

/// Runs this program again with each set of kernels, as libtorch chooses once, when it is
/// loaded; with the second and later ones only for files that agreed with none before.
/// Returns how many agreed with none at all.
fn with_kernels(filter: &str) -> Result<usize> {
    let mut left = vec![filter.to_owned()];
    for kernels in KERNELS.iter().filter(|kernels| run_here(*kernels)) {
        println!("with {} kernels\n", kernels[0].1);
        let mut failed = Vec::new();
        for filter in &left {
            failed.extend(again(kernels, filter)?);
        }
        if failed.is_empty() {
            return Ok(0);
        }
        left = failed;
    }
    Ok(left.len())
}

/// Whether this processor has the instructions.
fn run_here(kernels: &[(&str, &str)]) -> bool {
    #[cfg(target_arch = "x86_64")]
    return match kernels[0].1 {
        "avx512" => std::is_x86_feature_detected!("avx512bw"),
        _ => std::is_x86_feature_detected!("avx2"),
    };
    #[cfg(not(target_arch = "x86_64"))]
    return kernels == KERNELS[0];
}

/// The files that do not agree with these kernels; the report is printed.
fn again(kernels: &[(&str, &str)], filter: &str) -> Result<Vec<String>> {
    let exe = std::env::current_exe().context("finding this program")?;
    let output = std::process::Command::new(exe)
        .arg(filter)
        .envs(kernels.iter().copied())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("starting this program again")?;
    let report = String::from_utf8_lossy(&output.stdout);
    print!("{report}");
    let failed: Vec<_> =
        report.lines().filter_map(|line| line.strip_prefix(FAILED)).map(str::to_owned).collect();
    if !output.status.success() && failed.is_empty() {
        bail!("it ended with {} before it was done", output.status);
    }
    Ok(failed)
}

/// Checks the whole directory and returns how many files had failures.
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
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    println!("{name}\n{report}");
    if report.failures() > 0 {
        println!("{FAILED}{name}");
        return 1;
    }
    0
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
