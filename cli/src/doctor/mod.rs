//! `vqfarm doctor`: is everything here, and what to do where it is not.

mod environment;
mod expiry;
mod farm;
mod machine;
mod profile;

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::farm::{ConnectArgs, show};
use crate::style;

const EXAMPLES: &str = "\
Exit status: 0 nothing is missing (warnings do not count), 1 something that is needed is missing.

Examples:
  vqfarm doctor
  vqfarm doctor --addr http://farm.example:7070
  vqfarm doctor --json | jq 'select(.state != \"ok\")'";

/// Check that everything is here and reachable, and say what to do where it is not
///
/// Looks at this machine (the worker program, libtorch, GPUs, ffmpeg, models, VQFARM_* variables)
/// and at the farm (the coordinator and its version, certificates and your token and when they
/// expire, its Redis and storage, its workers and the room on their disks, its clock). A farm that
/// nobody gave an address of may be missing: `vqfarm render` needs none.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Print one JSON object a line: one a check
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// How one thing is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    check: &'static str,
    state: State,
    text: String,
    /// What to do about it; empty where nothing needs to be done.
    remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works without, but not as well as it could.
    Warning,
    Missing,
}

impl Check {
    fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, state: State::Ok, text: text.into(), remedy: String::new() }
    }

    fn warning(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Warning, text: text.into(), remedy: remedy.into() }
    }

    fn missing(check: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, state: State::Missing, text: text.into(), remedy: remedy.into() }
    }
}

pub async fn doctor(args: DoctorArgs) -> Result<ExitCode, Failure> {
    let mut checks = machine::checks();
    checks.extend(environment::checks());
    checks.extend(farm::checks(&args.connect).await);
    let missing = checks.iter().filter(|check| check.state == State::Missing).count();
    if args.json {
        let rows: Result<Vec<_>, _> = checks.iter().map(serde_json::to_value).collect();
        show::json_lines(rows.context("cannot print the checks")?)?;
    } else {
        checks.iter().try_for_each(print)?;
        match missing {
            0 => anstream::eprintln!("nothing is missing"),
            n => anstream::eprintln!("{} missing", show::count(n as u64, "thing")),
        }
    }
    Ok(if missing == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Columns before the text: state and name.
const HEAD: usize = 23;

fn print(check: &Check) -> anyhow::Result<()> {
    let state = match check.state {
        State::Ok => format!("{:<9}", "ok"),
        State::Warning => style::warning(&format!("{:<9}", "warning")),
        State::Missing => style::error(&format!("{:<9}", "missing")),
    };
    let mut head = format!("{state}{:<14}", check.check);
    let remedy = (!check.remedy.is_empty()).then(|| format!("→ {}", check.remedy));
    for text in std::iter::once(&check.text).chain(&remedy) {
        for line in show::wrapped(text, HEAD) {
            show::line(format!("{head}{line}"))?;
            head = " ".repeat(HEAD);
        }
    }
    Ok(())
}
