//! `vqfarm profiles`: the farms that somebody uses, by name.

mod edit;
mod file;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use clap_complete::ArgValueCompleter;
use serde_json::json;

pub use self::edit::New;
pub use self::file::{Profile, Profiles};
use crate::complete;
use crate::failure::Failure;
use crate::farm::{ConnectArgs, Token, show};

const EXAMPLES: &str = "\
Examples:
  vqfarm profiles add studio --coordinator https://farm.example:7070 --token-command pass show vqfarm
  vqfarm profiles add home --coordinator http://192.168.1.4:7070
  vqfarm profiles use studio
  vqfarm status -P home

The file is ~/.config/vqfarm/config.toml, below XDG_CONFIG_HOME where that is set;
VQFARM_PROFILES names another one. It holds no secrets. More: vqfarm help farm";

/// List the farms that you use, by name, and change the list
///
/// The star marks the one that commands talk to, as things stand, when no flag says otherwise.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct ProfilesArgs {
    #[command(subcommand)]
    command: Option<Change>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Add a farm, or put new settings in the place of its old ones
    Add(AddArgs),
    /// Make a farm the default
    Use {
        #[arg(add = ArgValueCompleter::new(complete::profiles))]
        name: String,
    },
    /// Forget a farm
    Remove {
        #[arg(add = ArgValueCompleter::new(complete::profiles))]
        name: String,
    },
}

#[derive(Debug, Args)]
struct AddArgs {
    /// What to call it
    name: String,

    /// Address of its coordinator
    #[arg(long, value_name = "URL")]
    coordinator: String,

    /// Certificate, PEM, that vouches for an https:// coordinator of your own
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    ca: Option<PathBuf>,

    /// Certificate, PEM, that you show a farm which asks for one
    #[arg(long, value_name = "FILE", requires = "key", value_hint = clap::ValueHint::FilePath)]
    cert: Option<PathBuf>,

    /// Private key, PEM, of your certificate
    #[arg(long, value_name = "FILE", requires = "cert", value_hint = clap::ValueHint::FilePath)]
    key: Option<PathBuf>,

    /// File with your token; only you should be able to read it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    token_file: Option<PathBuf>,

    /// Program that prints your token, and its arguments
    #[arg(long, value_name = "WORD", num_args = 1.., allow_hyphen_values = true,
          conflicts_with = "token_file")]
    token_command: Vec<String>,

    /// Whose jobs you submit there [default: $USER]
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Make it the default
    #[arg(long = "default")]
    make_default: bool,
}

pub fn profiles(args: ProfilesArgs) -> Result<ExitCode, Failure> {
    match args.command {
        None => list(&Profiles::read()?, args.json)?,
        Some(Change::Add(add)) => {
            let name = add.name.clone();
            let make_default = add.make_default;
            let new = New {
                coordinator: add.coordinator,
                ca: add.ca,
                cert: add.cert,
                key: add.key,
                token_file: add.token_file,
                token_command: add.token_command,
                user: add.user,
            };
            let profiles = edit::add(&name, &new, make_default)?;
            tell(&profiles, &name, "written to", args.json)?;
        }
        Some(Change::Use { name }) => {
            let profiles = edit::make_default(&name)?;
            tell(&profiles, &name, "is now the default of", args.json)?;
        }
        Some(Change::Remove { name }) => {
            let profiles = edit::remove(&name)?;
            tell(&profiles, &name, "removed from", args.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The profile that is in force without flags.
fn in_force() -> Option<String> {
    ConnectArgs::default().way().ok()?.profile.clone()
}

fn list(profiles: &Profiles, json: bool) -> anyhow::Result<()> {
    let in_force = in_force();
    if json {
        return show::json_lines(profiles.farms.iter().map(|(name, profile)| {
            json!({
                "name": name,
                "coordinator": profile.coordinator,
                "ca": profile.ca,
                "cert": profile.cert,
                "key": profile.key,
                "token": profile.token.as_ref().map(describe),
                "user": profile.user,
                "default": profiles.default.as_ref() == Some(name),
                "in_force": in_force.as_ref() == Some(name),
            })
        }));
    }
    if profiles.farms.is_empty() {
        anstream::eprintln!(
            "no profiles in {}; add one: vqfarm profiles add NAME --coordinator URL",
            profiles.path.display()
        );
        return Ok(());
    }
    let mut rows = show::Rows::new(&["", "NAME", "COORDINATOR", "~TOKEN", "USER"]);
    for (name, profile) in &profiles.farms {
        let star = if in_force.as_ref() == Some(name) { "*" } else { "" };
        rows.add([
            star.to_owned(),
            name.clone(),
            profile.coordinator.clone(),
            profile.token.as_ref().map_or("-".into(), describe),
            profile.user.clone().unwrap_or_else(|| "-".into()),
        ]);
    }
    rows.print()?;
    if in_force.is_none() {
        let way = ConnectArgs::default();
        if let Ok(way) = way.way() {
            anstream::eprintln!("none is in force: {} says {}", way.addr.from, way.addr.value);
        }
    }
    Ok(())
}

/// Where a token comes from, for people.
fn describe(token: &Token) -> String {
    match token {
        Token::File(path) => path.display().to_string(),
        Token::Command(words) => format!("`{}`", words.join(" ")),
        Token::Text(_) => "VQFARM_TOKEN".into(),
    }
}

fn tell(profiles: &Profiles, name: &str, what: &str, json: bool) -> anyhow::Result<()> {
    if json {
        return show::json_lines([json!({ "name": name, "file": profiles.path })]);
    }
    anstream::eprintln!("{name} {what} {}", profiles.path.display());
    Ok(())
}
