//! This machine: the worker program and what it computes with, models.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use vqfarm_core::probe::Probe;
use vqfarm_weights::library::{Config, Library};

use super::Check;
use crate::farm::show;
use crate::worker;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    match worker::find() {
        Err(error) => {
            let remedy = "build it with `make build`, or put both programs into one folder";
            checks.push(Check::missing("worker", format!("{error:#}"), remedy));
        }
        Ok(program) => {
            let ran = Command::new(&program).arg("probe").stdin(Stdio::null()).output();
            let place = program.display();
            match ran {
                Ok(ran) if ran.status.success() => match serde_json::from_slice(&ran.stdout) {
                    Ok(probe) => checks.extend(probed(&probe, &place.to_string())),
                    Err(error) => checks.push(other_version(&format!("{place} says {error}"))),
                },
                Ok(ran) => checks.push(failed(&place.to_string(), &ran)),
                Err(error) => {
                    let text = format!("{place} cannot be started: {error}");
                    checks.push(Check::missing("worker", text, "build it with `make build`"));
                }
            }
        }
    }
    checks.push(models());
    checks
}

/// What a worker told of itself and its machine.
fn probed(probe: &Probe, place: &str) -> Vec<Check> {
    let worker = match probe.version == VERSION {
        true => Check::ok("worker", format!("{place}, version {VERSION}")),
        false => other_version(&format!("{place} is of version {}", probe.version)),
    };
    let cores = show::count(probe.cores, "core");
    let memory = show::memory(probe.memory);
    let libtorch = Check::ok("libtorch", format!("computes, with {cores} and {memory}"));
    let driver = Path::new("/proc/driver/nvidia").exists();
    let gpu = match (probe.gpus.as_slice(), &probe.cuda) {
        ([], _) if !driver => {
            let text = "no NVIDIA driver runs here, so pictures are computed on the CPU";
            Check::warning("gpu", text, "where there is such a GPU, install its driver")
        }
        ([], reason) => {
            let why = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            let remedy = "install PyTorch with CUDA, of the version in README.md";
            Check::warning("gpu", format!("none can be used{why}"), remedy)
        }
        (gpus, _) => {
            let each =
                gpus.iter().map(|gpu| format!("{} {}", gpu.device, show::memory(gpu.memory)));
            Check::ok("gpu", each.collect::<Vec<_>>().join(", "))
        }
    };
    let ffmpeg = match probe.ffmpeg {
        true => Check::ok("ffmpeg", "found"),
        false => Check::warning(
            "ffmpeg",
            "not found: no films, but for GIFs and numbered pictures",
            "install it, as with `apt install ffmpeg`",
        ),
    };
    vec![worker, libtorch, gpu, ffmpeg]
}

fn other_version(text: &str) -> Check {
    let remedy = format!("use programs of one version; vqfarm is of {VERSION}");
    Check::missing("worker", text, remedy)
}

/// A worker that did not get as far as telling.
fn failed(place: &str, ran: &Output) -> Check {
    let said = String::from_utf8_lossy(&ran.stderr);
    let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    if said.contains("unrecognized subcommand") {
        return other_version(&format!("{place} does not know `probe`"));
    }
    let remedy = match said.contains("shared libraries") {
        true => "run `make setup`, which fetches libtorch into .libtorch/, and `make build`",
        false => "see README.md on libtorch; `vqfarm-worker probe` shows all that it says",
    };
    Check::missing("libtorch", format!("{place} fails ({}): {said}", ran.status), remedy)
}

fn models() -> Check {
    let pull = "pull some, as with `vqfarm models pull ViT-B/32`, or import your own files";
    let library = match Library::of_user() {
        Ok(library) => library,
        Err(error) => return Check::missing("models", error.to_string(), "set VQFARM_MODELS"),
    };
    let root = library.root().display().to_string();
    let entries = match library.list() {
        Ok(entries) => entries,
        Err(error) => {
            let remedy = format!("mend or remove that file below {root}");
            return Check::missing("models", error.to_string(), remedy);
        }
    };
    let gone = entries.iter().find(|entry| !entry.path.is_file());
    if let Some(entry) = gone {
        let text = format!("{} has no weights at {}", entry.name, entry.path.display());
        return Check::missing("models", text, "pull or import it again");
    }
    let generators =
        entries.iter().filter(|entry| matches!(entry.record.config, Config::Vqgan(_))).count()
            as u64;
    let perceptors = entries.len() as u64 - generators;
    let text = format!(
        "{}, {}; yours lie in {root}",
        show::count(generators, "generator"),
        show::count(perceptors, "perceptor")
    );
    match generators > 0 && perceptors > 0 {
        true => Check::ok("models", text),
        false => Check::missing("models", text, pull),
    }
}
