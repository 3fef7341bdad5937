//! `vqfarm completions`: the script that makes a shell ask this program.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::env::Shells;

use crate::Cli;
use crate::failure::Failure;

/// Set while a shell asks, to the shell's name.
const VARIABLE: &str = "VQFARM_COMPLETE";

const EXAMPLES: &str = "\
Installing:
  bash        echo 'source <(vqfarm completions bash)' >> ~/.bashrc
  zsh         echo 'source <(vqfarm completions zsh)' >> ~/.zshrc        (after compinit)
  fish        echo 'vqfarm completions fish | source' > ~/.config/fish/completions/vqfarm.fish
  elvish      echo 'eval (vqfarm completions elvish | slurp)' >> ~/.config/elvish/rc.elv
  powershell  'vqfarm completions powershell | Out-String | Invoke-Expression' >> $PROFILE

Jobs, workers and layers are asked of the farm, for a second at most; -P and --addr of the line
count. Models, profiles and fields are those of this machine.";

/// Print the script that completes commands, flags, jobs, workers and models in a shell
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    shell: Shell,

    /// The program that the shell asks [default: this one]
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::ExecutablePath)]
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

/// Answers a shell that asks, and then ends the program.
pub fn answer_shell() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

pub fn completions(args: CompletionsArgs) -> Result<ExitCode, Failure> {
    let name = match args.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Elvish => "elvish",
        Shell::Powershell => "powershell",
    };
    let shell = Shells::builtins();
    let shell = shell.completer(name).ok_or_else(|| anyhow!("{name} is not known"))?;
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe().context("this program's path")?,
    };
    let program = program.to_string_lossy();
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "vqfarm", "vqfarm", &program, &mut script)
        .context("the script")?;
    io::stdout().write_all(&script).context("print")?;
    Ok(ExitCode::SUCCESS)
}
