//! Settings in layers: a flag beats the environment (`VQFARM_*`), which beats the file given by
//! `--config`, which beats the default.
//!
//! A program describes its settings once, as a `clap` parser with `env` on its arguments and
//! [`ConfigArgs`] flattened into it. Each long flag is also a key of the TOML file:
//! `--metrics-listen ADDR` is `metrics-listen = "ADDR"`. Where the program has subcommands, the
//! settings are those of the chosen one.

mod file;
mod show;

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Parser};

use self::file::FileLayer;

/// Where settings come from besides flags and the environment. Flatten it into a parser.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfigArgs {
    /// TOML file of settings; each key is the name of a flag
    #[arg(long, value_name = "FILE", env = "VQFARM_CONFIG")]
    pub config: Option<PathBuf>,

    /// Print the settings in effect and where each comes from, and exit
    #[arg(long)]
    pub print_config: bool,
}

/// The layer that a setting's value was found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Flag(String),
    Environment(String),
    File { path: String, key: String },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => f.write_str(name),
            Self::File { path, key } => write!(f, "{path}, key `{key}`"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Help, version, or a command line that clap explains best.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("--config {path}: {reason}")]
    File { path: String, reason: String },
    #[error("{name}: `{value}` is not valid: {reason} (from {from})")]
    Value { name: String, value: String, reason: String, from: Source },
}

/// Settings in effect.
pub struct Loaded<T> {
    pub options: T,
    /// They as a TOML file that names each value's source, secrets masked; there when
    /// `--print-config` asks for it.
    pub printed: Option<String>,
}

/// The settings of this process. Ends it with a message on bad ones, and after `--help`,
/// `--version` and `--print-config`.
///
/// # Errors
/// The status to exit with; everything has been said.
pub fn load<T: Parser>() -> Result<T, ExitCode> {
    match try_load::<T>(std::env::args_os()) {
        Ok(Loaded { printed: Some(text), .. }) => {
            // A closed pipe is the reader's choice.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            Err(ExitCode::SUCCESS)
        }
        Ok(Loaded { options, .. }) => Ok(options),
        Err(SettingsError::Usage(error)) => {
            let _ = error.print();
            Err(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
        }
        Err(error) => {
            eprintln!("error: {error}");
            Err(ExitCode::from(2))
        }
    }
}

/// As [`load`], from these arguments, the program's name first.
///
/// # Errors
/// What is wrong, with the source of the offending value.
pub fn try_load<T: Parser>(
    args: impl IntoIterator<Item = impl Into<OsString>>,
) -> Result<Loaded<T>, SettingsError> {
    let mut args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let command = T::command();
    // First reading: which values did flags and the environment give? Their text is judged in
    // the second, when all are there.
    let first = as_text(command.clone()).try_get_matches_from(&args)?;
    let (settings, given) = leaf(&command, &first);
    let file = match given.try_get_one::<OsString>("config") {
        Ok(Some(path)) => FileLayer::read(path.as_ref(), settings)?,
        _ => FileLayer::default(),
    };
    let used: FileLayer = file.unless(|id| {
        let source = given.value_source(id);
        matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    });
    args.extend(used.flags());
    let second = command
        .clone()
        .try_get_matches_from(&args)
        .map_err(|error| explain(error, settings, given, &used))?;
    let printed = {
        let (settings, matches) = leaf(&command, &second);
        let wanted = matches.try_get_one::<bool>("print_config").ok().flatten() == Some(&true);
        wanted.then(|| show::print(settings, matches, |id| source(settings, matches, id, &used)))
    };
    let options = T::from_arg_matches(&second)?;
    Ok(Loaded { options, printed })
}

/// The same command taking any text as a value, and nothing as missing.
fn as_text(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().into()).collect();
    let mut command = command.mut_args(|arg| {
        let arg = arg.required(false);
        if arg.get_action().takes_values() {
            arg.value_parser(clap::builder::OsStringValueParser::new())
        } else {
            arg
        }
    });
    for name in names {
        command = command.mut_subcommand(name, as_text);
    }
    command
}

/// The chosen subcommand and its matches; the command itself when there is none.
fn leaf<'a>(command: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    match matches.subcommand() {
        Some((name, inner)) => match command.find_subcommand(name) {
            Some(sub) => leaf(sub, inner),
            None => (command, matches),
        },
        None => (command, matches),
    }
}

/// Which layer gave the argument `id` its value.
fn source(settings: &Command, matches: &ArgMatches, id: &str, used: &FileLayer) -> Source {
    if let Some((path, key)) = used.origin(id) {
        return Source::File { path, key };
    }
    let arg = settings.get_arguments().find(|arg| arg.get_id() == id);
    match matches.value_source(id) {
        Some(ValueSource::CommandLine) => {
            Source::Flag(arg.and_then(clap::Arg::get_long).map_or(id.into(), |l| format!("--{l}")))
        }
        Some(ValueSource::EnvVariable) => {
            let name = arg.and_then(clap::Arg::get_env).map(|name| name.to_string_lossy().into());
            Source::Environment(name.unwrap_or_else(|| id.to_owned()))
        }
        _ => Source::Default,
    }
}

/// A value that does not parse, told with its source; anything else as clap has it.
fn explain(
    error: clap::Error,
    settings: &Command,
    given: &ArgMatches,
    used: &FileLayer,
) -> SettingsError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let bad = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let (true, Some(arg), Some(value)) =
        (bad, text(ContextKind::InvalidArg), text(ContextKind::InvalidValue))
    else {
        return error.into();
    };
    // clap names the argument as in its usage: `--redis <URL>`.
    let name = arg.split(' ').next().unwrap_or(&arg).trim_start_matches('-').to_owned();
    let Some(found) = settings.get_arguments().find(|arg| arg.get_long() == Some(&name)) else {
        return error.into();
    };
    let from = source(settings, given, found.get_id().as_str(), used);
    let reason = match std::error::Error::source(&error) {
        Some(reason) => reason.to_string(),
        None => {
            let known: Vec<String> = found
                .get_possible_values()
                .iter()
                .map(|value| format!("`{}`", value.get_name()))
                .collect();
            format!("it must be one of {}", known.join(", "))
        }
    };
    SettingsError::Value { name, value, reason, from }
}

#[cfg(test)]
mod tests;
