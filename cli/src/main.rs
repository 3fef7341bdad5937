//! The `vqfarm` command.

mod complete;
mod completions;
mod confirm;
mod diagnostics;
mod doctor;
#[cfg(test)]
mod documents;
mod estimate;
mod expand;
mod failure;
mod farm;
mod help;
mod job;
mod manual;
mod models;
mod numbers;
mod on_end;
mod pager;
mod plan;
mod plot;
mod profiles;
mod rank;
mod render;
mod schema;
mod stitch;
mod style;
mod telemetry;
mod token;
mod trace;
mod whole_file;
mod worker;

use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  vqfarm render --prompt \"a red sun over the sea\" --seed 7
  vqfarm render examples/sweep.toml --out out/sweep
  vqfarm submit examples/sweep.toml --watch
  vqfarm why last
  vqfarm help topics

Exit status: 0 done, 1 failed, 2 bad usage or job file; watch and wait have more, see there.";

/// Pictures from text with VQGAN+CLIP: one, a grid of them, or a farm's worth.
#[derive(Parser)]
#[command(name = "vqfarm", version, after_help = EXAMPLES, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Colours: on a terminal, unless NO_COLOR is set; always; never
    #[arg(
        long,
        value_name = "WHEN",
        global = true,
        default_value = "auto",
        hide_possible_values = true,
        hide_default_value = true
    )]
    color: Color,
}

#[derive(Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    Render(render::RenderArgs),
    Expand(expand::ExpandArgs),
    Plan(plan::PlanArgs),
    Plot(plot::PlotArgs),
    Schema(schema::SchemaArgs),
    Trace(trace::TraceArgs),
    Models(models::ModelsArgs),
    Submit(Box<farm::SubmitArgs>),
    Status(farm::StatusArgs),
    Top(farm::TopArgs),
    Jobs(farm::JobsArgs),
    Job(farm::JobArgs),
    Tasks(farm::TasksArgs),
    Why(farm::WhyArgs),
    Watch(farm::WatchArgs),
    Wait(farm::WaitArgs),
    Logs(farm::LogsArgs),
    Fetch(farm::FetchArgs),
    Stitch(stitch::StitchArgs),
    Preview(stitch::PreviewArgs),
    Rank(Box<rank::RankArgs>),
    /// Begin no more tasks of a job until it is resumed
    Pause(farm::JobAction),
    /// Go on with a paused job
    Resume(farm::JobAction),
    /// End a job: what is done stays
    Cancel(farm::JobAction),
    Retry(farm::RetryArgs),
    Keep(farm::KeepArgs),
    Priority(farm::PriorityArgs),
    Workers(farm::WorkersArgs),
    Drain(farm::DrainArgs),
    Undrain(farm::UndrainArgs),
    Audit(farm::AuditArgs),
    Reconcile(farm::ReconcileArgs),
    Gc(farm::GcArgs),
    Doctor(doctor::DoctorArgs),
    Profiles(profiles::ProfilesArgs),
    Token(token::TokenArgs),
    Completions(completions::CompletionsArgs),
    Man(manual::ManArgs),
    Help(help::HelpArgs),
}

fn main() -> ExitCode {
    completions::answer_shell();
    let matches = Cli::command().get_matches();
    let json = wants_json(&matches);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.color {
        // The environment decides.
        Color::Auto => (),
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
    let name = matches.subcommand_name().unwrap_or_default();
    telemetry::traced(name, json, || run(cli.command))
}

/// Whether the command, or the one below it that is meant, is to answer in JSON.
fn wants_json(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>("json").is_ok_and(|json| json == Some(&true));
    here || matches.subcommand().is_some_and(|(_, below)| wants_json(below))
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Render(args) => render::run(args),
        Command::Expand(args) => expand::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Plot(args) => plot::run(args),
        Command::Schema(args) => done(schema::schema(args)),
        Command::Trace(args) => trace::run(args),
        Command::Models(args) => models::run(args),
        Command::Submit(args) => farm::block_on(farm::submit(*args)),
        Command::Status(args) => farm::block_on(farm::status(args)),
        Command::Top(args) => farm::block_on(farm::top(args)),
        Command::Jobs(args) => farm::block_on(farm::jobs(args)),
        Command::Job(args) => farm::block_on(farm::job(args)),
        Command::Tasks(args) => farm::block_on(farm::tasks(args)),
        Command::Why(args) => farm::block_on(farm::why(args)),
        Command::Watch(args) => farm::block_on(farm::watch(args)),
        Command::Wait(args) => farm::block_on(farm::wait(args)),
        Command::Logs(args) => farm::block_on(farm::logs(args)),
        Command::Fetch(args) => farm::block_on(farm::fetch(args)),
        Command::Stitch(args) => stitch::stitch(args),
        Command::Preview(args) => stitch::preview(args),
        Command::Rank(args) => rank::run(*args),
        Command::Pause(args) => farm::block_on(farm::pause(args)),
        Command::Resume(args) => farm::block_on(farm::resume(args)),
        Command::Cancel(args) => farm::block_on(farm::cancel(args)),
        Command::Keep(args) => farm::block_on(farm::keep(args)),
        Command::Retry(args) => farm::block_on(farm::retry(args)),
        Command::Priority(args) => farm::block_on(farm::priority(args)),
        Command::Workers(args) => farm::block_on(farm::workers(args)),
        Command::Drain(args) => farm::block_on(farm::drain(args)),
        Command::Undrain(args) => farm::block_on(farm::undrain(args)),
        Command::Audit(args) => farm::block_on(farm::audit(args)),
        Command::Doctor(args) => farm::block_on(doctor::doctor(args)),
        Command::Gc(args) => farm::block_on(farm::gc(args)),
        Command::Reconcile(args) => farm::block_on(farm::reconcile(args)),
        Command::Profiles(args) => profiles::profiles(args),
        Command::Token(args) => token::token(args),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => manual::man(args),
        Command::Help(args) => help::help(args),
    }
}

/// What a command without an exit status of its own answers.
fn done(result: anyhow::Result<()>) -> Result<ExitCode, Failure> {
    Ok(result.map(|()| ExitCode::SUCCESS)?)
}
