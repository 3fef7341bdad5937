//! The `vqfarm-coordinator` program.

use std::process::ExitCode;

use vqfarm_coordinator::meters::METRICS;
use vqfarm_coordinator::options::{Cli, Command, Options, TokenCommand};
use vqfarm_coordinator::{Service, ServiceError, tokens};
use vqfarm_service::{logging, metrics, settings, shutdown, telemetry};

fn main() -> ExitCode {
    let cli = match settings::load::<Cli>() {
        Ok(cli) => cli,
        Err(status) => return status,
    };
    match cli.command {
        Some(Command::Token(command)) => token(command),
        None => match serve(&cli.options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                let setting = error.downcast_ref::<ServiceError>();
                let usage =
                    matches!(setting, Some(ServiceError::Setting { .. } | ServiceError::Notify(_)));
                if usage { ExitCode::from(2) } else { ExitCode::FAILURE }
            }
        },
    }
}

#[tokio::main]
async fn serve(options: &Options) -> anyhow::Result<()> {
    let (spans, exporting) = telemetry::start("vqfarm-coordinator");
    logging::init_with(&options.log, spans);
    exporting.warn();
    let served = work(options).await;
    // It waits for a thread of its own.
    tokio::task::spawn_blocking(|| exporting.end()).await?;
    served
}

async fn work(options: &Options) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let served = metrics::serve(&options.metrics)?;
    metrics::describe(METRICS);
    Service::start(options).await?.run(stop).await?;
    if let Some(served) = served {
        served.abort();
    }
    Ok(())
}

/// Data on standard output, what to do with it on standard error.
fn token(command: TokenCommand) -> ExitCode {
    let TokenCommand::Create { user, role, expires } = command;
    match tokens::create(user, role, expires) {
        Ok((secret, line)) => {
            eprintln!("The token, for VQFARM_TOKEN or a --token-file; it is not kept anywhere:\n");
            println!("{secret}\n");
            eprintln!("Add this to the coordinator's --tokens file:\n");
            print!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: the system has no randomness: {error}");
            ExitCode::FAILURE
        }
    }
}
