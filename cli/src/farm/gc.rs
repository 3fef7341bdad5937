//! `vqfarm gc`: what the farm need not keep.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use vqfarm_proto::v1::{CollectGarbageRequest, Garbage};

use super::client::{ConnectArgs, Farm};
use super::{Outcome, show};
use crate::confirm;
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  See what could go, and how much room that makes:
    vqfarm gc --older-than 30d

  Delete it, as in a nightly job:
    vqfarm gc --older-than 30d --delete --yes

  Keep pictures and films, but not what they were made of:
    vqfarm gc --older-than 7d --keep-results --delete";

/// Say what the farm need not keep, and delete it with --delete
///
/// That is: jobs that ended long ago with all their files, files of jobs that were never submitted,
/// weights that no job needs and no name stands for, records of where pictures are that are gone.
/// A job stays whose frames another one shows that stays. What was interrupted goes on with the
/// next call. Takes an operator's token, where the farm has tokens.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct GcArgs {
    /// Only jobs that ended longer ago, as in 12h, 30d or 8w
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = age)]
    older_than: Duration,

    /// Keep the jobs and their results: only keyframes, latents, previews and logs go
    ///
    /// Failed jobs keep theirs, too: they go on from them when their tasks are tried again.
    /// Tasks of the others cannot be tried again where these files are gone.
    #[arg(long)]
    keep_results: bool,

    /// Delete what is found, after a question
    #[arg(long)]
    delete: bool,

    /// Do not ask before deleting
    #[arg(short, long, requires = "delete")]
    yes: bool,

    /// Print one JSON object a line: what is found, then the summary
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// # Errors
/// Says how a span of time is written.
fn age(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err("write a number and s, m, h, d or w, as in 30d".into()),
    };
    let number: u32 = digits.parse().map_err(|_| "write a whole number, as in 30d".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * unit))
}

pub async fn gc(args: GcArgs) -> Outcome {
    let mut farm = args.connect.connect().await?;
    let ask = args.delete && !args.yes;
    if ask && !confirm::can_ask() {
        let message = "--delete asks first, and nobody can be asked here; --yes goes on";
        return Err(Failure::Usage(message.into()));
    }
    let mut found = collect(&mut farm, &args, args.delete && !ask).await?;
    if ask && !found.is_empty() {
        print(&found)?;
        if !confirm::agreed(&format!("delete {}?", total(&found)))? {
            return Err(Failure::Usage("not confirmed; nothing was deleted".into()));
        }
        found = collect(&mut farm, &args, true).await?;
    }
    if args.json {
        show::json_lines(found.iter().map(|garbage| json!(garbage)))?;
        let deleted = found.iter().filter(|garbage| garbage.deleted).count();
        let (objects, bytes) = sum(&found);
        show::json_lines([json!({
            "found": found.len(), "deleted": deleted, "objects": objects, "bytes": bytes,
        })])?;
        return Ok(ExitCode::SUCCESS);
    }
    if !ask {
        print(&found)?;
    }
    match (found.is_empty(), args.delete) {
        (true, _) => anstream::eprintln!("there is nothing to delete"),
        (false, true) => anstream::eprintln!("{} deleted", total(&found)),
        (false, false) => {
            anstream::eprintln!("{}; nothing was deleted: --delete does", total(&found));
            anstream::eprintln!("{}", stays(args.older_than, args.keep_results));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is kept, whatever the listing says.
fn stays(older_than: Duration, keep_results: bool) -> String {
    let results = match keep_results {
        true => "; of the others their frames and outputs",
        false => "",
    };
    let age = show::span(older_than);
    format!(
        "kept: jobs that go on or ended within {age}{results}; frames that kept jobs show; models \
         that have a name or that a kept job needs"
    )
}

async fn collect(farm: &mut Farm, args: &GcArgs, delete: bool) -> Result<Vec<Garbage>, Failure> {
    let request = CollectGarbageRequest {
        older_than: args.older_than.as_secs(),
        keep_results: args.keep_results,
        delete,
    };
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("{spinner} {msg}").context("the spinner")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.set_message(if delete { "deleting" } else { "looking" });
    let explain = |status| args.connect.explain(status);
    let mut answers = farm.collect_garbage(request).await.map_err(explain)?.into_inner();
    let mut found = Vec::new();
    while let Some(garbage) = answers.message().await.map_err(explain)? {
        found.push(garbage);
        bar.set_message(format!("{}: {}", if delete { "deleted" } else { "found" }, total(&found)));
    }
    bar.finish_and_clear();
    Ok(found)
}

fn sum(found: &[Garbage]) -> (u64, u64) {
    let add =
        |(objects, bytes), garbage: &Garbage| (objects + garbage.objects, bytes + garbage.bytes);
    found.iter().fold((0, 0), add)
}

/// `12 objects, 3.20 MiB`.
fn total(found: &[Garbage]) -> String {
    let (objects, bytes) = sum(found);
    format!("{}, {}", show::count(objects, "object"), BinaryBytes(bytes))
}

fn print(found: &[Garbage]) -> anyhow::Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let mut rows = show::Rows::new(&["WHAT", "ID", "NAME", "#OBJECTS", "#SIZE", "~WHY"]);
    for garbage in found {
        let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        rows.add([
            garbage.kind.clone(),
            or_dash(show::short(&garbage.id)),
            or_dash(&show::cut(&garbage.name, 24)),
            garbage.objects.to_string(),
            BinaryBytes(garbage.bytes).to_string(),
            garbage.reason.clone(),
        ]);
    }
    rows.print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_told_beside_what_goes() {
        let month = Duration::from_secs(30 * 86_400);
        let told = stays(month, false);
        assert!(told.starts_with("kept: jobs that go on or ended within 30 d 0 h;"), "{told}");
        assert!(stays(month, true).contains("; of the others their frames and outputs;"));
    }

    #[test]
    fn ages_are_read_as_people_write_them() {
        let hours = |text: &str| age(text).map(|age| age.as_secs() / 3600);
        assert_eq!((hours("30d"), hours("8w"), hours("12h")), (Ok(720), Ok(1344), Ok(12)));
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        for bad in ["", "30", "d", "-1d", "1.5d", "30 d", "3é", "99999999999d", "1y"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
