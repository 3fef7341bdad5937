//! Logs on standard error, as text or as one JSON object a line.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::layer::{Identity, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

/// How much is logged, and in which form. Flatten it into a parser.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t = Format::Text, env = "VQFARM_LOG_FORMAT")]
    pub log_format: Format,

    /// error, warn, info, debug, trace, or a filter as in info,vqfarm_queue=debug
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "VQFARM_LOG_LEVEL",
          value_parser = filter)]
    pub log_level: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends everything that is logged from now on to standard error. Does nothing when the process
/// has a log already.
pub fn init(args: &LogArgs) {
    init_with(args, Identity::new());
}

/// As [`init`], and to another place as well, which does its own filtering.
pub fn init_with(args: &LogArgs, also: impl Layer<Registry> + Send + Sync) {
    // Checked when the settings were read.
    let filter = EnvFilter::builder().parse_lossy(&args.log_level);
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let registry = tracing_subscriber::registry().with(also);
    let _ = match args.log_format {
        Format::Text => {
            let log = log.with_ansi(io::stderr().is_terminal());
            registry.with(log.with_filter(filter)).try_init()
        }
        Format::Json => {
            registry.with(log.json().flatten_event(true).with_filter(filter)).try_init()
        }
    };
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn filters_are_checked_before_anything_starts() {
        assert!(filter("info,vqfarm_queue=debug").is_ok());
        assert!(filter("info,vqfarm_queue=loud").is_err());
    }
}
