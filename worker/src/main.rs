//! `vqfarm-worker`: the process that renders. `vqfarm render` starts one; people seldom do.

use std::io::{self, BufRead, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};
use vqfarm_core::event::{ErrorKind, Event, INTERRUPTED};
use vqfarm_core::job::Job;
use vqfarm_core::search::Search;
use vqfarm_service::telemetry::{self, Spans};
use vqfarm_service::trace::{self, Trace, traced};
use vqfarm_service::{logging, settings, shutdown};
use vqfarm_weights::library::Library;
use vqfarm_worker::batch_size::Asked;
use vqfarm_worker::bench;
use vqfarm_worker::farm::{self, RunArgs};
use vqfarm_worker::lane::LANE;
use vqfarm_worker::log::AttemptLogs;
use vqfarm_worker::probe;
use vqfarm_worker::restitch;
use vqfarm_worker::search;
use vqfarm_worker::standalone::{self, End, Request};

const PROGRAM: &str = "vqfarm-worker";

/// Where spans and events go besides the log; each has a filter of its own.
type Layers = Vec<Box<dyn Layer<Registry> + Send + Sync>>;

/// Renders for a farm; also what `vqfarm render` starts
#[derive(Debug, Parser)]
#[command(name = "vqfarm-worker", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<RunArgs>),
    /// Render one job into a folder
    ///
    /// Reads the resolved job as one line of JSON from standard input. Prints what happens as
    /// one JSON object a line; logs go to standard error. Run again, it goes on from what is
    /// there. Exit status: 0 done, 1 failed, 2 refused, 130 interrupted.
    Render(RenderArgs),
    /// Make the outputs of a rendered folder again
    ///
    /// Reads the folder's job with other outputs as one line of JSON from standard input; renders
    /// nothing and needs no models. Prints as `render` does, with the same exit statuses.
    Stitch(StitchArgs),
    /// Rank pictures by how well they show a text
    ///
    /// Reads the search as one line of JSON from standard input. Prints as `render` does, with the
    /// same exit statuses; the last line is what was found.
    Search(SearchArgs),
    Bench(bench::BenchArgs),
    /// Say what this machine can compute with, as one JSON object
    Probe,
}

#[derive(Debug, Args)]
struct RenderArgs {
    /// Folder of the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,

    /// CPU threads in all [default: one a core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZero<usize>>,

    /// The most cells that a GPU computes together, or auto: as many as fit and pay
    #[arg(long, value_name = "N", default_value = "auto")]
    batch: Asked,

    /// Memory to use, as 8GiB; a number alone is GiB [default: what is free]
    #[arg(long, value_name = "AMOUNT", value_parser = farm::amount)]
    memory: Option<u64>,

    /// Folder of the models [default: ~/.local/share/vqfarm/models]
    #[arg(long, value_name = "DIR", env = "VQFARM_MODELS")]
    models: Option<PathBuf>,

    /// Cells to render to their end, of a sweep that stops cells early
    #[arg(long, value_name = "CELLS", value_delimiter = ',')]
    keep: Vec<u64>,

    /// Write what is done when to this file, in Chrome's trace event format
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Stop as if interrupted when standard input ends
    #[arg(long)]
    stop_on_eof: bool,
}

#[derive(Debug, Args)]
struct StitchArgs {
    /// Folder of the frames, with their job.json
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,

    /// Stitch the frames that are there, into this folder
    #[arg(long, value_name = "DIR")]
    preview: Option<PathBuf>,

    /// Stop as if interrupted when standard input ends
    #[arg(long)]
    stop_on_eof: bool,
}

#[derive(Debug, Args)]
struct SearchArgs {
    /// Where to compute: auto, cpu, cuda, cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,

    /// Folder of the models [default: ~/.local/share/vqfarm/models]
    #[arg(long, value_name = "DIR", env = "VQFARM_MODELS")]
    models: Option<PathBuf>,

    /// Stop as if interrupted when standard input ends
    #[arg(long)]
    stop_on_eof: bool,
}

fn main() -> ExitCode {
    vqfarm_engine::device::keep_memory();
    let Cli { command } = match settings::load() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    // A lane turns its panics into failures of cells, which are told once and briefly.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        match thread::current().name().is_some_and(|name| name.starts_with(LANE)) {
            true => tracing::debug!(%panic, "caught"),
            false => default(panic),
        }
    }));
    match command {
        Command::Run(args) => work(*args),
        Command::Render(args) => alone(args.trace.clone(), || render(args)),
        Command::Stitch(args) => alone(None, || stitch(args)),
        Command::Search(args) => alone(None, || search(args)),
        Command::Bench(args) => measure(&args),
        Command::Probe => tell(),
    }
}

/// Does what one command asked for, with logs on standard error.
fn alone(trace: Option<PathBuf>, work: impl FnOnce() -> Result<End>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_filter(filter);
    let (trace, _guard) = match trace.map(|path| start_trace(&path)).transpose() {
        Ok(started) => started.unzip(),
        Err(error) => {
            print(&Event::Error { kind: ErrorKind::Usage, message: format!("{error:#}") });
            return ExitCode::from(2);
        }
    };
    let (spans, exporting) = telemetry::start(PROGRAM);
    let mut all = layers(trace, spans);
    all.push(log.boxed());
    tracing_subscriber::registry().with(all).init();
    exporting.warn();
    let worked = work();
    exporting.end();
    match worked {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Failed) => ExitCode::FAILURE,
        Ok(End::Refused) => ExitCode::from(2),
        Ok(End::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            print(&Event::Error { kind: ErrorKind::Failed, message: format!("{error:#}") });
            ExitCode::FAILURE
        }
    }
}

/// Those that there are; one after the other they would hide from each other what a missing one
/// does not want, and a list of none hides everything.
fn layers(trace: Option<Trace>, spans: Option<Spans<Registry>>) -> Layers {
    let trace = trace.map(|trace| trace.with_filter(traced()).boxed());
    trace.into_iter().chain(spans.map(Layer::boxed)).collect()
}

fn start_trace(path: &Path) -> Result<(Trace, trace::Guard)> {
    let program = format!("{PROGRAM} {}", std::process::id());
    let started = Trace::start(path, &program);
    started.with_context(|| format!("--trace: {} cannot be written", path.display()))
}

fn work(args: RunArgs) -> ExitCode {
    let logs = AttemptLogs::default();
    // Kept whatever is shown.
    let kept = logs.clone().with_filter(LevelFilter::INFO);
    let (trace, _guard) = match args.trace.as_deref().map(start_trace).transpose() {
        Ok(started) => started.unzip(),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::from(2);
        }
    };
    let (spans, exporting) = telemetry::start(PROGRAM);
    let mut also = layers(trace, spans);
    also.push(kept.boxed());
    logging::init_with(&args.log, also);
    exporting.warn();
    let worked = runtime().and_then(|runtime| runtime.block_on(farm::run(args, logs)));
    exporting.end();
    match worked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the runtime")
}

fn measure(args: &bench::BenchArgs) -> ExitCode {
    match bench::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tell() -> ExitCode {
    let probed = runtime().and_then(|runtime| runtime.block_on(probe::probe()));
    let line = probed.and_then(|probe| Ok(serde_json::to_string(&probe)?));
    match line {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The `what` on standard input, a job or a search; what is none is told of.
fn read<T: DeserializeOwned>(what: &str) -> Result<Option<T>> {
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.with_context(|| format!("cannot read the {what} from standard input"))?;
    Ok(match serde_json::from_str(&line) {
        Ok(wanted) => Some(wanted),
        Err(error) => {
            let message = format!("standard input holds no {what}: {error}");
            print(&Event::Error { kind: ErrorKind::Usage, message });
            None
        }
    })
}

fn stitch(args: StitchArgs) -> Result<End> {
    let Some(job) = read::<Job>("job")? else { return Ok(End::Refused) };
    let request = restitch::Request { job, dir: args.dir, preview: args.preview };
    until_stopped(args.stop_on_eof, async |stopped| {
        restitch::stitch(request, &mut print, stopped).await
    })
}

fn search(args: SearchArgs) -> Result<End> {
    let Some(wanted) = read::<Search>("search")? else { return Ok(End::Refused) };
    let request = search::Request { wanted, device: args.device, library: library(args.models)? };
    until_stopped(args.stop_on_eof, async |stopped| {
        search::search(request, &mut print, stopped).await
    })
}

/// The models on this machine.
fn library(models: Option<PathBuf>) -> Result<Library> {
    let library = Library::of_user()?;
    Ok(match models {
        Some(root) => library.moved_to(root),
        None => library,
    })
}

fn render(args: RenderArgs) -> Result<End> {
    let Some(job) = read::<Job>("job")? else { return Ok(End::Refused) };
    let library = library(args.models)?;
    let cores = || thread::available_parallelism().map_or(1, NonZero::get);
    let request = Request {
        job,
        out: args.out,
        device: args.device,
        threads: args.threads.map_or_else(cores, NonZero::get),
        batch: args.batch,
        memory: args.memory,
        library,
        keep: args.keep,
    };
    until_stopped(args.stop_on_eof, async |stopped| {
        standalone::render(request, &mut print, stopped).await
    })
}

/// Runs until it ends or a signal, or the end of standard input, has told it to.
fn until_stopped(
    stop_on_eof: bool,
    work: impl AsyncFnOnce(watch::Receiver<bool>) -> End,
) -> Result<End> {
    let (stop, stopped) = watch::channel(false);
    if stop_on_eof {
        let stop = stop.clone();
        thread::Builder::new().name("stdin".into()).spawn(move || {
            // Whatever else is said there is not for us.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            stop.send_replace(true);
        })?;
    }
    let end = runtime()?.block_on(async move {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            for again in [false, true] {
                tokio::select! {
                    _ = interrupt.recv() => (),
                    _ = terminate.recv() => (),
                }
                if again {
                    // Asked twice: at once. Stored frames are whole, whenever this happens.
                    shutdown::leave(INTERRUPTED);
                }
                stop.send_replace(true);
            }
        });
        anyhow::Ok(work(stopped).await)
    })?;
    Ok(end)
}

/// A reader that has gone away is no reason to stop: the frames are what counts.
fn print(event: &Event) {
    let written = serde_json::to_string(event)
        .map_err(io::Error::from)
        .and_then(|line| writeln!(io::stdout().lock(), "{line}"));
    if let Err(error) = written {
        tracing::debug!(%error, "nobody reads the events");
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use vqfarm_service::metrics::{COLUMNS, Metric};
    use vqfarm_testing::documents;
    use vqfarm_testing::reference::{self, commands, head, table};
    use vqfarm_worker::meters::METRICS;

    use super::Cli;

    const ABOUT: &str = "
What each command and flag does, in the words of its help, and what the worker tells Prometheus.
";

    const ABOUT_METRICS: &str = "
## Metrics

Served to Prometheus by `vqfarm-worker run` with `--metrics-listen`; all of them are of this worker since it started.

";

    #[test]
    fn the_reference_is_what_the_code_says() {
        let metrics = table(COLUMNS, METRICS.iter().map(Metric::row));
        let (head, commands) = (head("vqfarm-worker"), commands(Cli::command()));
        let page = [&head, ABOUT, &commands, ABOUT_METRICS, &metrics].concat();
        reference::hold("vqfarm-worker.md", &page);
    }

    #[test]
    fn calls_in_the_documents_are_calls() {
        documents::check_calls(&Cli::command());
    }
}
