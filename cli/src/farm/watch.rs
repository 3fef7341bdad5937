//! `vqfarm watch`, `wait`: a job until it is over, also over the end of a coordinator.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use clap_complete::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tonic::Status;
use vqfarm_proto::v1::{Job, JobRequest, JobState, WatchResponse};

use super::client::{ConnectArgs, is_passing};
use super::{Outcome, show};
use crate::complete;
use crate::failure::Failure;
use crate::on_end;

const STATUS: &str = "\
Exit status: 0 the job is done, 1 some of its tasks failed or the farm cannot be asked, 2 bad
usage, 3 the job was cancelled, 4 --timeout came first. Ctrl-C ends the watching, not the job.";

/// Watch a job until it is over
///
/// Goes on by itself when the coordinator restarts.
#[derive(Debug, Args)]
#[command(after_help = STATUS)]
pub struct WatchArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::live_jobs))]
    job: String,

    #[arg(long, value_name = "COMMAND", help = on_end::HELP, long_help = on_end::LONG_HELP)]
    on_end: Option<String>,

    /// Print one JSON object a line: the job whenever it changes
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Wait in silence until a job is over; the exit status says how it ended
#[derive(Debug, Args)]
#[command(after_help = STATUS)]
pub struct WaitArgs {
    /// The job: its id, a part of it from either end, or `last`
    #[arg(add = ArgValueCompleter::new(complete::live_jobs))]
    job: String,

    /// Give up after so many seconds
    #[arg(long, value_name = "S")]
    timeout: Option<u64>,

    /// Print one JSON object: the job as it ended
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Exit status when time ran out.
const TIMEOUT: u8 = 4;

pub async fn watch(args: WatchArgs) -> Outcome {
    watch_job(&args.connect, &args.job, args.json, args.on_end.as_deref()).await
}

/// As `vqfarm watch`, for a job that was just submitted.
pub async fn watch_job(
    connect: &ConnectArgs,
    id: &str,
    json: bool,
    on_end: Option<&str>,
) -> Outcome {
    let mut view = View::new(json);
    let mut told = String::new();
    let job = follow(connect, id, |change| {
        told.clone_from(&change.end);
        view.show(change)
    })
    .await?;
    view.finish();
    let status = end(&job, json)?;
    if on_end.is_some() {
        let said = "the coordinator did not say how the job ended; is it of this version?";
        on_end::run(on_end, &serde_json::from_str(&told).context(said)?);
    }
    Ok(status)
}

pub async fn wait(args: WaitArgs) -> Outcome {
    let over = follow(&args.connect, &args.job, |_| Ok(()));
    let job = match args.timeout {
        None => over.await?,
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), over).await {
            Ok(job) => job?,
            Err(_) => {
                anstream::eprintln!("{} is not over after {seconds} s", args.job);
                return Ok(ExitCode::from(TIMEOUT));
            }
        },
    };
    if args.json {
        show::json_lines([show::job_json(&job)])?;
    } else {
        anstream::eprintln!("{}", show::outcome(&job));
    }
    Ok(ExitCode::from(show::exit_status(job.state()).unwrap_or(1)))
}

/// What is left to say when the job is over.
fn end(job: &Job, json: bool) -> Outcome {
    if !json {
        show::line(show::outcome(job))?;
        let id = show::short(&job.id);
        match job.state() {
            JobState::Done => anstream::eprintln!("the pictures: vqfarm fetch {id} DIR"),
            JobState::Failed => {
                anstream::eprintln!("the reasons: vqfarm tasks {id} --state failed")
            }
            _ => (),
        }
    }
    Ok(ExitCode::from(show::exit_status(job.state()).unwrap_or(1)))
}

/// Passes on the job whenever it changes, until it is over. A coordinator that goes away is
/// waited for, once it has answered at all.
pub async fn follow(
    connect: &ConnectArgs,
    job: &str,
    mut see: impl FnMut(&WatchResponse) -> anyhow::Result<()>,
) -> Result<Job, Failure> {
    let mut farm = Some(connect.connect().await?);
    let mut wanted = job.to_owned();
    let mut known = false;
    let mut away: Option<Instant> = None;
    let mut pause = Duration::from_millis(200);
    loop {
        let lost: Status = 'lost: {
            let Some(client) = &mut farm else {
                break 'lost Status::unavailable("no coordinator");
            };
            let mut changes = match client.watch(JobRequest { job: wanted.clone() }).await {
                Ok(changes) => changes.into_inner(),
                Err(status) => break 'lost status,
            };
            loop {
                match changes.message().await {
                    Ok(Some(change)) => {
                        if let Some(since) = away.take() {
                            let span = show::span(since.elapsed());
                            anstream::eprintln!("the coordinator is back after {span}");
                        }
                        pause = Duration::from_millis(200);
                        known = true;
                        let job = change.job.clone().unwrap_or_default();
                        // From now on this very job, whatever is submitted meanwhile.
                        wanted.clone_from(&job.id);
                        see(&change)?;
                        if job.state().is_final() {
                            return Ok(job);
                        }
                    }
                    Ok(None) => break 'lost Status::unavailable("the answer ended"),
                    Err(status) => break 'lost status,
                }
            }
        };
        if !known || !is_passing(&lost) {
            return Err(connect.explain(lost));
        }
        if away.is_none() {
            away = Some(Instant::now());
            anstream::eprintln!("the coordinator does not answer; waiting for it");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        farm = connect.connect().await.ok();
    }
}

/// A bar on a terminal, a line now and then elsewhere, JSON where it is asked for.
struct View {
    json: bool,
    bar: ProgressBar,
    /// Whether standard error is a terminal.
    drawn: bool,
    said: Option<(Instant, JobState, u64)>,
    /// Done tasks when the watch began, and when that was.
    began: Option<(Instant, u64)>,
}

/// Where there is no bar, a line is written at most this often.
const OFTEN: Duration = Duration::from_secs(5);

impl View {
    fn new(json: bool) -> Self {
        let drawn = std::io::stderr().is_terminal() && !json;
        let bar = ProgressBar::no_length();
        // A constant of ours; a mistake in it must not stop the watching.
        let style = ProgressStyle::with_template("  {prefix} {bar:24} {pos}/{len}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        if !drawn {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { json, bar, drawn, said: None, began: None }
    }

    fn show(&mut self, change: &WatchResponse) -> anyhow::Result<()> {
        let Some(job) = &change.job else { return Ok(()) };
        if self.json {
            let mut value = show::job_json(job);
            value["events"] = change.events.clone().into();
            return show::json_lines([value]);
        }
        for event in &change.events {
            self.bar.suspend(|| anstream::eprintln!("{event}"));
        }
        let total = job.total();
        let (since, first) = *self.began.get_or_insert((Instant::now(), total.done));
        let seconds = since.elapsed().as_secs_f64();
        let pace = (total.done - first.min(total.done)) as f64 / seconds.max(1.0);
        let left = total.tasks - total.done - total.failed - total.cancelled;
        let mut notes = vec![job.state().word().to_owned()];
        if total.leased > 0 {
            notes.push(format!("{} running", total.leased));
        }
        if total.failed > 0 {
            notes.push(format!("{} failed", total.failed));
        }
        if pace > 0.0 && left > 0 {
            let left = Duration::from_secs_f64((left as f64 / pace).min(1e9));
            notes.push(format!("{:.1}/min, {} left", pace * 60.0, show::span(left)));
        }
        let note = notes.join(", ");
        self.bar.set_prefix(show::cut(&job.name, 24));
        self.bar.set_length(total.tasks);
        self.bar.set_position(total.done);
        self.bar.set_message(note.clone());
        let due = self.said.is_none_or(|(at, state, done)| {
            state != job.state() || (done != total.done && at.elapsed() >= OFTEN)
        });
        if !self.drawn && due && !job.state().is_final() {
            anstream::eprintln!("{}: {}, {note}", job.name, show::progress(&total));
            self.said = Some((Instant::now(), job.state(), total.done));
        }
        Ok(())
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
