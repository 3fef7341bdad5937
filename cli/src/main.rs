//! The `vqfarm` command.

mod models;
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  vqfarm render --prompt \"a red sun over the sea\" --seed 7
  vqfarm render examples/sweep.toml --out out/sweep
  vqfarm models list";

/// Pictures from text with VQGAN+CLIP: one, a grid of them, or a farm's worth.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(render::RenderArgs),
    Models(models::ModelsArgs),
}

/// Exit status of bad usage and bad job files; clap's too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Render(args) => render::run(args),
        Command::Models(args) => report(models::run(args)),
    }
}

/// Shows an error on standard error; a closed pipe is the reader's choice and no error.
fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}: {error:#}", render::style::error("error"));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
    };
    error.chain().any(|cause| io(cause) == Some(std::io::ErrorKind::BrokenPipe))
}
