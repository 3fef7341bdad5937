//! `vqfarm stitch`, `preview`: a film or a contact sheet of frames that are there, on a farm or
//! in a folder. Nothing is rendered.

mod file;
mod folder;
mod output;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::complete;
use crate::failure::Failure;
use crate::farm::{self, ConnectArgs, Stitching};
pub use file::PreviewFile;
pub use output::OutputArgs;

const STITCH: &str = "\
`last` and hexadecimal digits are a job of the farm; anything else is a folder, as out/boats or
./last. On the farm it is a job of its own, which watch, fetch, why and cancel know; its id goes
to standard output.

Examples:
  The film of a job once more, smaller and faster:
    vqfarm stitch last --codec av1 --crf 40 --fps 30 --watch

  A sweep's contact sheet, the other way round:
    vqfarm stitch 1a2b3c4d --set output.contact_sheet.rows=seed

  The film of a render on this machine, as a loop:
    vqfarm stitch out/zoom --codec gif --set output.video.ping_pong=true

Exit status: 0 submitted or made, 1 failed, 2 bad usage, 130 interrupted; with --watch also 3 when
it was cancelled.";

const PREVIEW: &str = "\
A film keeps its time: a frame is shown until the next one that is there, and the film ends with
the last of them. The frames of a zoom come from coarse to fine, so that an early preview shows all
of it. A contact sheet has blanks. `last` and hexadecimal digits are a job of the farm; anything
else is a folder, as out/boats or ./last.

Examples:
  What there is of the job that was submitted last, in NAME-preview.mp4:
    vqfarm preview last

  As a GIF, which needs no ffmpeg, of a render that goes on or was interrupted:
    vqfarm preview out/zoom --codec gif --out early.gif

Exit status: 0 made, 1 failed or no frame is there yet, 2 bad usage, 3 cancelled, 130 interrupted.";

/// Make the film or contact sheet of a finished job again, with other output settings
///
/// Nothing is rendered. Settings are those of the job where nothing else is said.
#[derive(Debug, Args)]
#[command(after_long_help = STITCH)]
pub struct StitchArgs {
    /// A job of the farm, or the folder of `vqfarm render --out` or `vqfarm fetch`
    #[arg(value_name = "JOB|DIR", add = ArgValueCompleter::new(complete::jobs_and_folders))]
    target: String,

    #[command(flatten)]
    output: OutputArgs,

    /// Stay until the job is over
    #[arg(short, long)]
    watch: bool,

    /// A name for this submit: the same again is the same job
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,

    #[command(flatten)]
    submit: SubmitArgs,

    /// Print one JSON object: the job, as submit does, or of a folder the summary
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// See what there is of a job while it runs: stitch the frames that are there, into a file
#[derive(Debug, Args)]
#[command(after_long_help = PREVIEW)]
pub struct PreviewArgs {
    /// A job of the farm, or the folder of `vqfarm render --out` or `vqfarm fetch`
    #[arg(value_name = "JOB|DIR", add = ArgValueCompleter::new(complete::jobs_and_folders))]
    target: String,

    #[command(flatten)]
    output: OutputArgs,

    /// The film or contact sheet, replaced when it is there [default: NAME-preview.mp4, .png, …]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    submit: SubmitArgs,

    /// Print one JSON object: the files
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Of a job of the farm, how the stitching is submitted.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    /// Higher goes first [default: one more than the job's own]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub priority: Option<i32>,

    /// Whose job it is [default: the profile's user, or $USER]
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// What somebody means.
pub enum Target<'a> {
    Job(&'a str),
    Folder(&'a Path),
}

impl<'a> Target<'a> {
    /// By how it is written, not by what happens to be there.
    pub fn of(text: &'a str) -> Self {
        let hexadecimal =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if text != "last" && !hexadecimal {
            return Self::Folder(Path::new(text));
        }
        if Path::new(text).is_dir() {
            anstream::eprintln!("{text} is taken for a job of the farm; the folder is ./{text}");
        }
        Self::Job(text)
    }
}

pub fn stitch(args: StitchArgs) -> Result<ExitCode, Failure> {
    let job = match Target::of(&args.target) {
        Target::Job(job) => job,
        Target::Folder(dir) => {
            let given = [("--watch", args.watch), ("--request-id", args.request_id.is_some())];
            refuse_flags(&args.submit, &given)?;
            return folder::stitch(dir, &args.output, args.json);
        }
    };
    let stitching = Stitching {
        job,
        output: &args.output,
        submit: &args.submit,
        request: args.request_id.as_deref(),
        connect: &args.connect,
    };
    farm::block_on(farm::stitch(stitching, args.watch, args.json))
}

pub fn preview(args: PreviewArgs) -> Result<ExitCode, Failure> {
    let job = match Target::of(&args.target) {
        Target::Job(job) => job,
        Target::Folder(dir) => {
            refuse_flags(&args.submit, &[])?;
            return folder::preview(dir, &args.output, args.out.as_deref(), args.json);
        }
    };
    let stitching = Stitching {
        job,
        output: &args.output,
        submit: &args.submit,
        request: None,
        connect: &args.connect,
    };
    farm::block_on(farm::preview(stitching, args.out.as_deref(), args.json))
}

/// The files of a preview: a line each, or one JSON object with `more` in it.
pub fn tell(files: &[PathBuf], json: bool, mut more: serde_json::Value) -> anyhow::Result<()> {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    if json {
        more["files"] = files.into();
        writeln!(anstream::stdout(), "{more}")?;
    } else {
        writeln!(anstream::stdout(), "{}", files.join("\n"))?;
    }
    Ok(())
}

/// Refuses what means nothing in a folder.
fn refuse_flags(submit: &SubmitArgs, more: &[(&str, bool)]) -> Result<(), Failure> {
    let own = [("--priority", submit.priority.is_some()), ("--user", submit.user.is_some())];
    match own.iter().chain(more).find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::Usage(format!("{flag} is for jobs of a farm"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_folders_by_how_they_are_written() {
        for job in ["last", "1a2b3c4d", "0193A2", "0193a2b4c5d6e7f80123456789abcdef"] {
            assert!(matches!(Target::of(job), Target::Job(text) if text == job), "{job}");
        }
        for folder in ["./last", "out/boats", "zoom", ".", "", "abc/", "lastly"] {
            assert!(matches!(Target::of(folder), Target::Folder(_)), "{folder}");
        }
    }
}
