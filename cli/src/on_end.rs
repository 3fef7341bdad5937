//! `--on-end`: a command of the user's own, run when a job has ended.

use std::io::Write;
use std::process::{Command, Stdio};

use vqfarm_core::ending::JobEnd;

use crate::style;

/// What `--on-end` says in the help of each command that has it.
pub const HELP: &str =
    "Run this by the shell when the job has ended, as in 'notify-send \"$VQFARM_JOB_STATE\"'";

/// More of it, for `--help`.
pub const LONG_HELP: &str = "\
Run this by the shell when the job has ended, as in 'notify-send \"$VQFARM_JOB_NAME \
$VQFARM_JOB_STATE\"'. Standard input is one JSON object, as the farm's webhooks have it; VQFARM_JOB, \
VQFARM_JOB_NAME, VQFARM_JOB_STATE (done, failed, cancelled) and VQFARM_JOB_USER are set. What it \
prints goes to standard error; its failure changes no exit status.";

/// Runs the command, if there is one, to its end.
pub fn run(command: Option<&str>, end: &JobEnd) {
    let Some(command) = command else { return };
    if let Err(reason) = tell(command, end) {
        anstream::eprintln!("{}: --on-end: {reason}", style::warning("note"));
    }
}

fn tell(command: &str, end: &JobEnd) -> Result<(), String> {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .envs(end.variables())
        .stdin(Stdio::piped())
        // Standard output is for what scripts read.
        .stdout(std::io::stderr())
        .spawn()
        .map_err(|error| format!("it does not start: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read what it does not care for.
        let _ = writeln!(stdin, "{}", end.to_json());
    }
    let status = child.wait().map_err(|error| format!("it cannot be waited for: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("it ended with {status}")) }
}
