//! A program's commands and flags as Markdown, of the same words as its help.

use std::fmt::Write;

use clap::builder::StyledStr;
use clap::{Arg, Command};

use super::plain;

/// All commands of a program, each with its arguments, below headings of the second level. What
/// help hides is left out; what goes with every command is told of once.
pub fn commands(mut program: Command) -> String {
    program.build();
    let mut text = String::new();
    add(&mut text, &mut program, true);
    text
}

fn add(text: &mut String, command: &mut Command, is_program: bool) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage: ").unwrap_or(&usage).trim().to_owned();
    // Writing to a string does not fail.
    let _ = writeln!(text, "\n## `{name}`\n");
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        let _ = writeln!(text, "{}\n", plain(about.to_string().trim()));
    }
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    let _ = writeln!(text, "```text\n{}\n```", usage.join("\n"));
    let about_itself = ["help", "version"];
    let shown = |arg: &&Arg| {
        let is_its_own = is_program || !arg.is_global_set();
        !arg.is_hide_set() && is_its_own && !about_itself.contains(&arg.get_id().as_str())
    };
    let arguments: Vec<String> = command.get_arguments().filter(shown).map(argument).collect();
    if !arguments.is_empty() {
        let _ = write!(text, "\n{}", arguments.concat());
    }
    if let Some(after) = command.get_after_long_help().or(command.get_after_help()) {
        let _ = writeln!(text, "\n```text\n{}\n```", after.to_string().trim());
    }
    for below in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        add(text, below, false);
    }
}

/// An item of a list: how it is written, what it does, and what it may be.
fn argument(arg: &Arg) -> String {
    let short = arg.get_short().map_or(String::new(), |short| format!("`-{short}`, "));
    let mut says = vec![arg.get_long_help().or(arg.get_help()).map_or(String::new(), sentence)];
    if arg.get_action().takes_values() {
        let default = arg.get_default_values().iter().map(|value| value.to_string_lossy());
        let default = default.collect::<Vec<_>>().join(",");
        let values = arg.get_possible_values();
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| {
                let help = value.get_help().map(|help| format!(" ({})", plain(&help.to_string())));
                format!("`{}`{}", value.get_name(), help.unwrap_or_default())
            })
            .collect();
        if !values.is_empty() {
            says.push(format!("One of {}.", values.join(", ")));
        }
        if !default.is_empty() {
            says.push(format!("Default: `{default}`."));
        }
    }
    if let Some(name) = arg.get_env() {
        says.push(format!("Variable: `{}`.", name.to_string_lossy()));
    }
    says.retain(|part| !part.is_empty());
    format!("- {short}`{arg}`: {}\n", says.join(" "))
}

/// A help text as a part of a paragraph.
fn sentence(help: &StyledStr) -> String {
    let text = plain(&help.to_string().split_whitespace().collect::<Vec<_>>().join(" "));
    if text.is_empty() || text.ends_with(['.', '?', '!', ']']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use clap::ArgAction;

    use super::*;

    #[test]
    fn a_flag_says_all_that_it_may_be() {
        let flag = Arg::new("kind").short('k').long("kind").env("KIND").value_name("WORD");
        let flag = flag.value_parser(["a", "b"]).default_value("a").help("Which of <them>");
        let switch = Arg::new("loud").long("loud").action(ArgAction::SetTrue).help("Say more");
        let below = Command::new("go").about("Goes").arg(flag).arg(switch);
        let hidden = Command::new("secret").hide(true);
        let text = commands(Command::new("prog").subcommand(below).subcommand(hidden));
        let expected = "- `-k`, `--kind <WORD>`: Which of \\<them>. One of `a`, `b`. Default: `a`. \
                        Variable: `KIND`.\n- `--loud`: Say more.\n";
        assert!(text.contains("\n## `prog go`\n\nGoes\n") && text.contains(expected), "{text}");
        assert!(!text.contains("secret") && !text.contains("--help"), "{text}");
    }
}
