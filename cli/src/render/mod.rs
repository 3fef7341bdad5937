//! `vqfarm render`: a job on this machine, from its file to pictures.

mod ending;
mod job;
mod progress;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use vqfarm_core::event::{Event, INTERRUPTED, Summary};
use vqfarm_core::requires::Memory;

use crate::failure::Failure;
use crate::farm::show;
use crate::job::JobArgs;
use crate::numbers::{Numbers, numbers};
use crate::on_end;
use crate::style;
use crate::worker::{self, Outcome, Worker};
use ending::Heard;
use job::Loaded;
use progress::Progress;

const EXAMPLES: &str = "\
Examples:
  Try a prompt with the bundled demo models:
    vqfarm render --prompt \"a red sun over the sea\" --seed 7

  Render a grid; run it again to go on after an interruption:
    vqfarm render examples/sweep.toml --out out/sweep

  Make a picture again, as it was or with more iterations:
    vqfarm render --from out/sweep/frames/000003.png --set render.iterations=500

  More of the grid; what is there is taken over:
    vqfarm render examples/sweep.toml --axis seed=1-4 --out out/sweep

  The grid again, quicker, in another folder:
    vqfarm render examples/sweep.toml --set render.iterations=50 --out out/quick

Exit status: 0 done, 1 failed, 2 bad usage or job file, 130 interrupted.";

/// Cells that can be named at a time.
const MOST_KEPT: usize = 10_000;

/// Render a job on this machine
///
/// Frames go to OUT/frames, the contact sheet, gallery or film and scores to OUT/out. Frames that are
/// stored already are not rendered again. A folder may hold a sweep of the same name in another
/// form: pictures that both have are taken over, the others are kept in OUT/cells.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct RenderArgs {
    #[command(flatten)]
    job: JobArgs,

    /// Folder of the results [default: out/NAME]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Render these cells to their end, of a sweep that stops cells early, as in 3,7,12-14
    #[arg(long, value_name = "CELLS", value_parser = numbers)]
    keep: Option<Numbers>,

    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "VQFARM_DEVICE")]
    device: String,

    /// CPU threads in all [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<u16>,

    /// Memory to use, as 8GiB; the pictures are the same, only slower where it is little
    /// [default: what is free]
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<Memory>,

    /// Write what is done when to FILE, for `vqfarm trace` and ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    #[arg(long, value_name = "COMMAND", help = on_end::HELP, long_help = on_end::LONG_HELP)]
    on_end: Option<String>,

    /// Print one JSON object a line; the last one is the summary
    #[arg(long)]
    json: bool,

    /// No progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

pub fn run(args: RenderArgs) -> Result<ExitCode, Failure> {
    let json = args.json;
    match render(args) {
        Err(failure) if json && !failure.is_broken_pipe() => {
            // People see it beside the lines, programs among them.
            failure.tell();
            for mut object in failure.as_json() {
                object["event"] = "error".into();
                show::json_lines([object])?;
            }
            Ok(failure.status())
        }
        result => result,
    }
}

fn render(args: RenderArgs) -> Result<ExitCode, Failure> {
    let job = job::load(&args)?;
    if args.keep.as_ref().is_some_and(|Numbers(cells)| cells.len() > MOST_KEPT) {
        return Err(Failure::Usage(format!("--keep: {MOST_KEPT} cells are the most at a time")));
    }
    job::store_assets(&job)?;
    let worker = start(&args, &job)?;
    let mut progress = Progress::new(args.quiet || args.json);
    let mut heard = Heard::new(job.job.name.clone());
    let outcome = worker.finish(args.json, Event::summary, |event| {
        heard.hear(event);
        if args.json {
            print_json(event)?;
        } else {
            progress.show(event);
        }
        Ok(())
    });
    progress.finish();
    let end = heard.end(&outcome);
    let status = match outcome {
        Ok(Outcome::Done(summary)) => {
            if !args.json {
                say(&summary)?;
            }
            Ok(exit_status(&summary))
        }
        Ok(Outcome::Told(status)) => Ok(status),
        Err(failure) => Err(failure),
    };
    if let Some(end) = end {
        on_end::run(args.on_end.as_deref(), &end);
    }
    status
}

fn start(args: &RenderArgs, loaded: &Loaded) -> anyhow::Result<Worker> {
    let mut command = worker::command("render")?;
    command.arg("--out").arg(&loaded.out).arg("--device").arg(&args.device);
    if let Some(threads) = args.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    if let Some(memory) = args.memory {
        command.arg("--memory").arg(String::from(memory));
    }
    if let Some(Numbers(cells)) = &args.keep {
        let cells: Vec<String> = cells.iter().map(u64::to_string).collect();
        command.arg("--keep").arg(cells.join(","));
    }
    if let Some(trace) = &args.trace {
        command.arg("--trace").arg(trace);
    }
    if let Some(models) = &args.job.models {
        command.arg("--models").arg(models);
    }
    Worker::start(command, &loaded.job)
}

fn exit_status(summary: &Summary) -> ExitCode {
    if summary.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if summary.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// The result for people: what was made goes to standard output, advice to standard error.
pub fn say(summary: &Summary) -> io::Result<()> {
    let Summary { cells, frames, rendered, taken_over, failed, seconds, .. } = summary;
    let pace = summary.iterations_per_second;
    let mut made = match rendered {
        0 => String::new(),
        _ => format!(" ({rendered} in {seconds:.1} s, {pace:.1} iterations a second)"),
    };
    if *taken_over > 0 {
        made += &format!(", {taken_over} taken over from before");
    }
    let mut out = anstream::stdout().lock();
    writeln!(out, "{frames} of {cells} frames{made}")?;
    writeln!(out, "  frames         {}", summary.frames_dir)?;
    let outputs = [
        ("film", &summary.video),
        ("contact sheet", &summary.contact_sheet),
        ("gallery", &summary.gallery),
        ("scores", &summary.scores),
    ];
    for (name, path) in outputs {
        if let Some(path) = path {
            let pages = match summary.contact_sheet_pages {
                2 if name == "contact sheet" => " and 1 more page".to_owned(),
                pages @ 3.. if name == "contact sheet" => format!(" and {} more pages", pages - 1),
                _ => String::new(),
            };
            writeln!(out, "  {name:<14} {path}{pages}")?;
        }
    }
    if summary.interrupted {
        anstream::eprintln!("interrupted; run the same command again to go on from here");
    } else if *failed > 0 {
        anstream::eprintln!(
            "{}: {failed} frames failed; run the same command again to try them once more",
            style::error("error")
        );
    }
    Ok(())
}

pub fn print_json(event: &Event) -> anyhow::Result<()> {
    let line = serde_json::to_string(event)?;
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(())
}
