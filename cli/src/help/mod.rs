//! `vqfarm help`: of a command as its `--help`, of a topic as a page.

mod markdown;
mod topics;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::ArgValueCompleter;
use vqfarm_core::nearest::nearest;

use self::topics::TOPICS;
use crate::failure::Failure;
use crate::farm::show;
use crate::{Cli, complete, pager, style};

/// Show the help of a command or a topic: job files, axes, prompts… (`vqfarm help topics`)
#[derive(Debug, Args)]
pub struct HelpArgs {
    /// A command, as in `render` or `models pull`; a topic; or `topics`, which lists them
    #[arg(value_name = "COMMAND|TOPIC", add = ArgValueCompleter::new(complete::help))]
    words: Vec<String>,
}

pub fn help(args: HelpArgs) -> Result<ExitCode, Failure> {
    let mut cli = Cli::command();
    cli.build();
    match args.words.as_slice() {
        [word] if word == "topics" => list()?,
        [word] if topic(word).is_some() => {
            let text = topic(word).map(topics::Topic::text).unwrap_or_default();
            let width = show::terminal_width().unwrap_or(80).min(100);
            pager::show(&markdown::rendered(&text, width)).context("print")?;
        }
        words => {
            find(&cli, words)?;
            // Short or long, as the command itself has it.
            let line = ["vqfarm"].into_iter().chain(words.iter().map(String::as_str));
            if let Err(help) = Cli::command().try_get_matches_from(line.chain(["--help"])) {
                help.print().context("print")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn topic(name: &str) -> Option<&'static topics::Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

fn list() -> anyhow::Result<()> {
    for topic in TOPICS {
        show::line(format!("{}  {}", style::strong(&format!("{:<14}", topic.name)), topic.about))?;
    }
    anstream::eprintln!("\nread one: vqfarm help {}", TOPICS[0].name);
    Ok(())
}

/// Commands and topics by name, with what each is.
pub fn all() -> Vec<(String, String)> {
    let cli = Cli::command();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        (command.get_name().to_owned(), about)
    });
    let list = [("topics".to_owned(), "All topics".to_owned())];
    let topics = TOPICS.iter().map(|topic| (topic.name.to_owned(), topic.about.to_owned()));
    commands.chain(list).chain(topics).collect()
}

/// The command that the words name, one below the other.
///
/// # Errors
/// There is none; the message has the nearest name.
pub fn find<'a>(cli: &'a Command, words: &[String]) -> Result<&'a Command, Failure> {
    let mut command = cli;
    for (depth, word) in words.iter().enumerate() {
        let found = command.get_subcommands().find(|command| command.get_name() == word);
        command = found.ok_or_else(|| {
            let known = command.get_subcommands().map(Command::get_name);
            let topics = TOPICS.iter().map(|topic| topic.name).filter(|_| depth == 0);
            let remedy = match nearest(word, known.chain(topics)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "vqfarm help lists the commands, vqfarm help topics the topics".into(),
            };
            let what = if depth == 0 { "command or topic" } else { "command" };
            Failure::Usage(format!("no {what} is called {word:?}; {remedy}"))
        })?;
    }
    Ok(command)
}
