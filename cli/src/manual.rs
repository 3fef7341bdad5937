//! `vqfarm man`: a manual page for each command, of the same words as its help.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode, Stdio};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::ArgValueCompleter;
use clap_mangen::Man;

use crate::failure::Failure;
use crate::{Cli, complete, help};

const EXAMPLES: &str = "\
Examples:
  vqfarm man render
  vqfarm man models pull
  vqfarm man --dir ~/.local/share/man/man1        # then: man vqfarm-render";

/// Show the manual page of a command, or write the pages of all
///
/// Without a terminal the page goes to standard output as troff, for `man -l -`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ManArgs {
    /// The command, as in `render` or `models pull`; vqfarm itself when left out
    #[arg(value_name = "COMMAND", add = ArgValueCompleter::new(complete::help))]
    command: Vec<String>,

    /// Write all pages into this folder, vqfarm.1, vqfarm-render.1 and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

pub fn man(args: ManArgs) -> Result<ExitCode, Failure> {
    let mut cli = Cli::command();
    cli.build();
    match &args.dir {
        Some(dir) => {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
            let pages = write_all(&cli, dir)
                .with_context(|| format!("cannot write into {}", dir.display()))?;
            anstream::eprintln!("{pages} pages in {}", dir.display());
        }
        None => {
            let command = help::find(&cli, &args.command)?;
            let page = page(command).context("the page")?;
            if !(io::stdout().is_terminal() && is_shown(&page)) {
                io::stdout().write_all(&page).context("print")?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command and those below it; how many.
fn write_all(command: &Command, dir: &Path) -> io::Result<usize> {
    let name = Man::new(command.clone()).get_filename();
    fs::write(dir.join(name), page(command)?)?;
    let mut pages = 1;
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        pages += write_all(below, dir)?;
    }
    Ok(pages)
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let source = concat!("vqfarm ", env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    Man::new(command.clone()).source(source).manual("vqfarm").render(&mut page)?;
    // Of what a help ends with this is the better name.
    let text = String::from_utf8_lossy(&page).replace(".SH EXTRA", ".SH \"EXAMPLES AND NOTES\"");
    let mut page = text.into_bytes();
    let others = match command.get_name() {
        "vqfarm" => "vqfarm help topics",
        _ => "\\fBvqfarm\\fR(1), vqfarm help topics",
    };
    writeln!(page, ".SH \"SEE ALSO\"\n{others}")?;
    Ok(page)
}

/// Whether man, where there is one, has shown the page.
fn is_shown(page: &[u8]) -> bool {
    let shown = || -> io::Result<bool> {
        // man wants a file that it can read twice.
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(page)?;
        let status = Program::new("man").arg("-l").arg(file.path()).stderr(Stdio::null()).status();
        Ok(status?.success())
    };
    shown().unwrap_or(false)
}
