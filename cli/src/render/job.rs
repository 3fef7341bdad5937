//! From a job file and flags to a resolved job that this machine can render.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::JobName;
use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::keys;
use vqfarm_core::needs::{ModelUse, Role};
use vqfarm_core::record::JobRecord;
use vqfarm_core::render::RenderSettings;
use vqfarm_weights::library::{Config, Library};

use super::assets::{self, Asset};
use super::{Failure, RenderArgs};

/// A resolved job, the pictures it needs, and the folder of its results.
pub struct Loaded {
    pub job: Job,
    pub assets: Vec<Asset>,
    pub out: PathBuf,
}

/// Settings that suit the bundled demo models; flags and `--set` come after.
const DEMO: [&str; 7] = [
    "render.generator=\"demo-f8\"",
    "render.perceptors=[\"demo-clip\"]",
    "render.size=[96, 96]",
    "render.iterations=200",
    "render.step_size=0.1",
    "render.cutouts.count=16",
    "render.cutouts.method=\"latest\"",
];

/// Reads and checks everything, and changes nothing.
pub fn load(args: &RenderArgs) -> Result<Loaded, Failure> {
    let library = library(args)?;
    let (mut document, beside) = match &args.file {
        Some(file) => (read(file)?, folder_of(file)),
        None => (without_file(&library), PathBuf::from(".")),
    };
    let set = |result: Result<(), vqfarm_core::file::JobError>| {
        result.map_err(|e| Failure::Usage(e.to_string()))
    };
    if let Some(prompt) = &args.prompt {
        set(document.set_text("--prompt", "render.prompt", prompt))?;
        if args.file.is_none() {
            set(document.set_text("--prompt", "name", name_of(prompt).as_str()))?;
        }
    }
    if let Some(seed) = args.seed {
        set(document.set(&format!("render.seed={seed}")))?;
    }
    for assignment in &args.set {
        set(document.set(assignment))?;
    }
    let read_beside = |path: &str| fs::read(beside.join(path));
    let mut job =
        document.job(Limits::default(), read_beside).map_err(|e| Failure::Usage(e.to_string()))?;
    check_models(&document, &job, &library)?;
    let (assets, missing) = assets::resolve(&mut job, &beside);
    refuse(&document, missing)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => Path::new("out").join(default_folder(args, &job)),
    };
    check_out(&out, &job)?;
    Ok(Loaded { job, assets, out })
}

fn library(args: &RenderArgs) -> anyhow::Result<Library> {
    let library = Library::of_user().context("cannot find the model library")?;
    Ok(match &args.models {
        Some(dir) => library.moved_to(dir),
        None => library,
    })
}

fn read(file: &Path) -> Result<Document, Failure> {
    let bytes = fs::read(file).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "; to render a text, use --prompt",
            _ => "",
        };
        Failure::Usage(format!("{}: cannot read the job file: {error}{hint}", file.display()))
    })?;
    Document::parse(&file.display().to_string(), &bytes).map_err(|e| Failure::Usage(e.to_string()))
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A job of flags alone: with the default published models where they are installed, else
/// with the bundled demo models.
fn without_file(library: &Library) -> Document {
    let mut document = Document::empty();
    let defaults = RenderSettings::default();
    let installed = std::iter::once(&defaults.generator)
        .chain(&defaults.perceptors)
        .all(|name| library.open(name).is_ok());
    if !installed {
        for assignment in DEMO {
            // Constants of ours; a mistake in one shows when the job is checked.
            let _ = document.set(assignment);
        }
    }
    document
}

/// Words of a prompt as a job's name.
fn name_of(prompt: &str) -> JobName {
    let words: Vec<String> = prompt
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .take(8)
        .map(str::to_lowercase)
        .collect();
    let mut name = words.join("-");
    name.truncate(60);
    JobName::new(name.trim_end_matches('-')).unwrap_or_default()
}

fn default_folder(args: &RenderArgs, job: &Job) -> String {
    match args.file {
        Some(_) => job.name.to_string(),
        None => format!("{}-{}", job.name, job.render.seed),
    }
}

/// Refuses names that the library does not have, and perceptors as generators.
fn check_models(document: &Document, job: &Job, library: &Library) -> Result<(), Failure> {
    let unfit = |used: ModelUse| {
        let problem = match library.open(&used.name) {
            Err(error) => error.to_string(),
            Ok(entry) => match (used.role, entry.record.config) {
                (Role::Generator, Config::Clip(_)) => {
                    format!("`{}` is a perceptor, not a generator", used.name)
                }
                (Role::Perceptor, Config::Vqgan(_)) => {
                    format!("`{}` is a generator, not a perceptor", used.name)
                }
                _ => return None,
            },
        };
        Some(FieldError::new(used.field, problem))
    };
    refuse(document, job.models().into_iter().filter_map(unfit).collect())
}

fn refuse(document: &Document, errors: Vec<FieldError>) -> Result<(), Failure> {
    match errors.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::Usage(document.refuse(errors).to_string())),
    }
}

/// Refuses a folder that holds another job's results.
fn check_out(out: &Path, job: &Job) -> Result<(), Failure> {
    let record = out.join(keys::JOB_RECORD);
    let bytes = match fs::read(&record) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Failure::Usage(format!("--out {}: {error}", out.display())));
        }
    };
    let stored: JobRecord = serde_json::from_slice(&bytes).map_err(|error| {
        Failure::Usage(format!("{}: not a job of vqfarm: {error}", record.display()))
    })?;
    if stored.spec_hash != job.spec_hash() {
        let message = format!(
            "--out {}: the folder holds another job ({:?}); choose another folder, or remove \
             this one to start over",
            out.display(),
            stored.spec.name.as_str()
        );
        return Err(Failure::Usage(message));
    }
    Ok(())
}
