//! The `vqfarm-worker` process that does the rendering and stitching on this machine.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde::Serialize;
use tracing::Span;
use vqfarm_core::event::{ErrorKind, Event, INTERRUPTED};
use vqfarm_service::telemetry;

use crate::failure::{Failure, USAGE};
use crate::style;

const PROGRAM: &str = "vqfarm-worker";

/// A worker at work. It ends when this value is dropped, after storing what is finished.
pub struct Worker {
    child: Child,
    events: BufReader<ChildStdout>,
    /// The worker stops when this closes, however this process ends.
    _stdin: ChildStdin,
}

/// What came of it.
pub enum Outcome<T> {
    Done(T),
    /// It did not get that far, which has been told; the command's exit status.
    Told(ExitCode),
}

/// The program, told to `render`, `stitch` or `search`; more arguments may follow.
///
/// # Errors
/// There is no worker.
pub fn command(what: &str) -> Result<Command> {
    let mut command = Command::new(find()?);
    command.arg(what).arg("--stop-on-eof");
    let trace = telemetry::traceparent(&Span::current());
    command.envs(trace.map(|trace| (telemetry::TRACEPARENT, trace)));
    Ok(command)
}

impl Worker {
    /// Starts a worker on a job or a search.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(mut command: Command, wanted: &impl Serialize) -> Result<Self> {
        // The worker gets Ctrl-C itself, as part of the terminal's process group, and says
        // when it has stored what is finished.
        ctrlc::set_handler(|| ()).context("cannot catch Ctrl-C")?;
        let program = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {program}"))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("cannot talk to {program}");
        };
        let mut line = serde_json::to_vec(wanted)?;
        line.push(b'\n');
        // A worker that ended already says why on its standard output.
        if let Err(error) = stdin.write_all(&line).and_then(|()| stdin.flush()) {
            tolerate_closed(error)?;
        }
        Ok(Self { child, events: BufReader::new(stdout), _stdin: stdin })
    }

    /// Listens to it until its end, which comes with the event of which `last_word` makes something. An
    /// error of its last line is shown, unless `told` says that whoever hears the events does so.
    ///
    /// # Errors
    /// It ended without a last word.
    pub fn finish<T>(
        mut self,
        told: bool,
        last_word: impl FnOnce(Event) -> Option<T>,
        mut hear: impl FnMut(&Event) -> Result<()>,
    ) -> Result<Outcome<T>, Failure> {
        let mut last = None;
        while let Some(event) = self.next()? {
            hear(&event)?;
            last = Some(event);
        }
        let status = self.child.wait().context("cannot wait for the worker")?;
        if let Some(Event::Error { kind, message }) = &last {
            if !told {
                anstream::eprintln!("{}: {message}", style::error("error"));
            }
            let status = if *kind == ErrorKind::Usage { USAGE } else { 1 };
            return Ok(Outcome::Told(ExitCode::from(status)));
        }
        match last.and_then(last_word) {
            Some(done) => Ok(Outcome::Done(done)),
            None if status.code() == Some(INTERRUPTED.into()) => {
                anstream::eprintln!("interrupted");
                Ok(Outcome::Told(ExitCode::from(INTERRUPTED)))
            }
            None => Err(Failure::Other(anyhow!(
                "{PROGRAM} ended early ({status}); what it stored is kept, so run the same \
                 command again to go on"
            ))),
        }
    }

    /// What the worker says next; none when it has ended.
    fn next(&mut self) -> Result<Option<Event>> {
        let mut line = String::new();
        let read = self.events.read_line(&mut line).context("cannot read from the worker")?;
        if read == 0 {
            return Ok(None);
        }
        let event = serde_json::from_str(&line).with_context(|| {
            format!(
                "{PROGRAM} said {:?}; is it of version {}?",
                line.trim_end(),
                env!("CARGO_PKG_VERSION")
            )
        })?;
        Ok(Some(event))
    }
}

fn tolerate_closed(error: std::io::Error) -> Result<()> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error).context("cannot tell the worker what to do"),
    }
}

/// The worker beside this program, or on PATH.
///
/// # Errors
/// There is none.
pub fn find() -> Result<PathBuf> {
    let beside = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(PROGRAM)))
        .filter(|path| path.is_file());
    let on_path = || {
        let paths = env::var_os("PATH")?;
        env::split_paths(&paths).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file())
    };
    beside.or_else(on_path).with_context(|| {
        format!(
            "{PROGRAM} is neither beside vqfarm nor on PATH; build it with `make build`, or put \
             both programs into one folder"
        )
    })
}
