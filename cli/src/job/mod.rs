//! From a job file and flags to a resolved job, the same for this machine and for a farm.

pub mod assets;
mod picture;
mod source;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueHint};
use clap_complete::ArgValueCompleter;
use vqfarm_core::file::{Document, JobError, Limits};
use vqfarm_core::id::JobName;
use vqfarm_core::job::{FieldError, Job};
use vqfarm_core::render::RenderSettings;
use vqfarm_core::sweep::Beside;
use vqfarm_weights::library::Library;

use self::assets::Asset;
use crate::complete;
use crate::failure::Failure;

/// Which job: a file, flags, or both.
#[derive(Clone, Debug, Args)]
pub struct JobArgs {
    /// The job file: TOML, YAML or JSON
    #[arg(value_name = "JOB", required_unless_present_any = ["prompt", "from"],
          add = complete::job_files())]
    pub file: Option<PathBuf>,

    /// Take everything from a picture that vqfarm made: its PNG holds its settings
    #[arg(long, value_name = "PNG", conflicts_with = "file", value_hint = ValueHint::FilePath)]
    pub from: Option<PathBuf>,

    /// What the picture should show: `text`, or `text:weight | other text:weight`
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,

    /// The same seed gives the same picture
    #[arg(short, long, value_name = "N")]
    pub seed: Option<u64>,

    /// Set any field of the job, as in render.iterations=50; may be given more than once
    #[arg(long, value_name = "FIELD=VALUE", add = ArgValueCompleter::new(complete::settings))]
    pub set: Vec<String>,

    /// Add an axis to the sweep, as in seed=1-8, style=flat,dots or step_size=[0.05, 0.1]; may be
    /// given more than once
    #[arg(long, value_name = "NAME=VALUES", add = ArgValueCompleter::new(complete::axes))]
    pub axis: Vec<String>,

    /// Folder of the models [default: ~/.local/share/vqfarm/models]
    #[arg(long, value_name = "DIR", env = "VQFARM_MODELS", value_hint = ValueHint::DirPath)]
    pub models: Option<PathBuf>,
}

/// A resolved job and the files it needs.
pub struct Resolved {
    pub job: Job,
    pub assets: Vec<Asset>,
    /// Where each field stands, for what only others can find wrong.
    pub document: Document,
}

impl Resolved {
    /// Shows mistakes where they stand in the job file.
    pub fn refuse(&self, errors: Vec<FieldError>) -> Result<(), Failure> {
        refuse(&self.document, errors)
    }
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
pub fn load(args: &JobArgs, library: &Library) -> Result<Resolved, Failure> {
    let (mut document, beside) = match (&args.file, &args.from) {
        (Some(file), _) => (read(file)?, folder_of(file)),
        (None, Some(picture)) => picture::job_of(picture, library)
            .map_err(|reason| Failure::Usage(format!("--from {}: {reason}", picture.display())))?,
        (None, None) => (without_file(library), PathBuf::from(".")),
    };
    let set = |result: Result<(), JobError>| result.map_err(Failure::job);
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
    for assignment in &args.axis {
        set(document.set_axis(assignment))?;
    }
    let taken = source::take_apart(&mut document, &beside);
    let taken = taken.map_err(|error| Failure::job(document.refuse(vec![error])))?;
    let job = document.job_beside(Limits::default(), &mut Folder(&beside));
    let mut job = job.map_err(Failure::job)?;
    let (assets, missing) = assets::resolve(&mut job, &beside, taken);
    refuse(&document, missing)?;
    Ok(Resolved { job, assets, document })
}

/// The job file's folder.
struct Folder<'a>(&'a Path);

impl Beside for Folder<'_> {
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(path))
    }

    fn names(&mut self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.0.join(folder))? {
            let entry = entry?;
            // What has no name in text cannot be named in a job.
            if let Ok(name) = entry.file_name().into_string()
                && entry.path().is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }
}

/// The models on this machine.
pub fn library(models: Option<&Path>) -> anyhow::Result<Library> {
    let library = Library::of_user().context("cannot find the model library")?;
    Ok(match models {
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
    Document::parse(&file.display().to_string(), &bytes).map_err(Failure::job)
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

fn refuse(document: &Document, errors: Vec<FieldError>) -> Result<(), Failure> {
    match errors.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::job(document.refuse(errors))),
    }
}
