//! `vqfarm rank`: which pictures of a folder or of a job of the farm show a text best.

mod pictures;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use clap_complete::ArgValueCompleter;
use vqfarm_core::event::Event;
use vqfarm_core::id::ModelName;
use vqfarm_core::search::Search;
use vqfarm_weights::library::Config;

use crate::complete;
use crate::failure::Failure;
use crate::farm::{self, ConnectArgs};
use crate::job;
use crate::stitch::Target;
use crate::style;
use crate::worker::{self, Outcome, Worker};
use pictures::Pictures;
use report::Progress;

const EXAMPLES: &str = "\
`last` and hexadecimal digits are a job of the farm, whose frames are fetched for it; anything else
is a folder, as out/boats or ./last. A render's pictures are judged by the perceptors that it was
made with; others, and pictures of any other folder, by --perceptor.

Examples:
  The ten frames of a sweep that look most like it:
    vqfarm rank \"a red boat\" out/boats

  The best forty as a contact sheet, the best first:
    vqfarm rank \"a dog playing the violin\" last --top 40 --sheet dogs.png

  Any folder of PNG, JPEG or WebP files, one JSON object a line:
    vqfarm rank \"a quiet street\" ~/pictures --perceptor ViT-B/32 --json

Exit status: 0 done, 1 failed, 2 bad usage, 130 interrupted.";

/// Search pictures by text: those that show it best come first
///
/// A score is the cosine between a picture's and the text's features, as in scores.csv; compare
/// scores of one text and one perceptor only.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RankArgs {
    /// What the pictures shall show
    text: String,

    /// A folder of `vqfarm render` or `vqfarm fetch`, any folder of pictures, or a job of the farm
    #[arg(value_name = "DIR|JOB", add = ArgValueCompleter::new(complete::jobs_and_folders))]
    target: String,

    /// So many of the best
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    top: u16,

    /// Write a contact sheet of them, in their order
    #[arg(long, value_name = "FILE.png")]
    sheet: Option<PathBuf>,

    /// Who judges; may be given more than once: the mean of all counts [default: the render's own]
    #[arg(long, value_name = "MODEL", add = ArgValueCompleter::new(complete::perceptors))]
    perceptor: Vec<String>,

    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "VQFARM_DEVICE")]
    device: String,

    /// Folder of the models [default: ~/.local/share/vqfarm/models]
    #[arg(long, value_name = "DIR", env = "VQFARM_MODELS")]
    models: Option<PathBuf>,

    /// Print one JSON object a line, the best first
    #[arg(long)]
    json: bool,

    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub fn run(args: RankArgs) -> Result<ExitCode, Failure> {
    check(&args)?;
    let pictures = match Target::of(&args.target) {
        Target::Folder(dir) => Pictures::of_folder(dir)?,
        Target::Job(job) => farm::wait_for(Pictures::of_job(&args.connect, job))?,
    };
    let search = Search {
        text: args.text.clone(),
        perceptors: perceptors(&args, &pictures)?,
        pictures: pictures.labelled(),
        top: args.top.into(),
        sheet: args.sheet.clone(),
    };
    let mut command = worker::command("search")?;
    command.arg("--device").arg(&args.device);
    if let Some(models) = &args.models {
        command.arg("--models").arg(models);
    }
    let mut progress = Progress::new(args.quiet);
    let outcome = Worker::start(command, &search)?.finish(false, Event::found, |event| {
        progress.show(event);
        Ok(())
    });
    progress.finish();
    match outcome? {
        Outcome::Done(found) => report::tell(&pictures, &found, args.json),
        Outcome::Told(status) => Ok(status),
    }
}

/// What is wrong with the flags, before anything is fetched.
fn check(args: &RankArgs) -> Result<(), Failure> {
    if args.text.trim().is_empty() {
        return Err(Failure::Usage("the text is empty; say what the pictures shall show".into()));
    }
    let Some(sheet) = &args.sheet else { return Ok(()) };
    let wrong = |what: &str| Err(Failure::Usage(format!("--sheet {}: {what}", sheet.display())));
    if sheet.is_dir() {
        return wrong("this is a folder; name a file");
    }
    if !sheet.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png")) {
        return wrong("it is made as .png; name it so");
    }
    Ok(())
}

/// Those of the command line, or those that the pictures were made with.
fn perceptors(args: &RankArgs, pictures: &Pictures) -> Result<Vec<ModelName>, Failure> {
    if args.perceptor.is_empty() && pictures.perceptors.is_empty() {
        let library = job::library(args.models.as_deref())?;
        let entries = library.list().context("cannot read the model library")?;
        let known = entries.iter().filter(|e| matches!(e.record.config, Config::Clip(_)));
        let known: Vec<&str> = known.map(|entry| entry.name.as_str()).collect();
        return Err(Failure::Usage(format!(
            "{} is no render of vqfarm; say who judges with --perceptor: {}",
            args.target,
            if known.is_empty() { "none is installed".into() } else { known.join(", ") }
        )));
    }
    let given = if args.perceptor.is_empty() { &pictures.perceptors } else { &args.perceptor };
    let name = |name: &String| {
        ModelName::new(name).map_err(|error| Failure::Usage(format!("--perceptor {name}: {error}")))
    };
    given.iter().map(name).collect()
}

/// Says a warning of the worker's.
fn warn(message: &str) {
    anstream::eprintln!("{}: {message}", style::warning("warning"));
}
