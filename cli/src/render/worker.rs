//! The `vqfarm-worker` process that does the rendering.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use vqfarm_core::event::Event;

use super::RenderArgs;
use super::job::Loaded;

const PROGRAM: &str = "vqfarm-worker";

/// A worker at work. It ends when this value is dropped, after storing what is finished.
pub struct Worker {
    child: Child,
    events: BufReader<ChildStdout>,
    /// The worker stops when this closes, however this process ends.
    _stdin: ChildStdin,
}

impl Worker {
    /// Starts a worker on a job.
    ///
    /// # Errors
    /// There is no worker, or it cannot be started.
    pub fn start(args: &RenderArgs, loaded: &Loaded) -> Result<Self> {
        let program = find()?;
        // The worker gets Ctrl-C itself, as part of the terminal's process group, and says
        // when it has stored what is finished.
        ctrlc::set_handler(|| ()).context("cannot catch Ctrl-C")?;
        let mut command = Command::new(&program);
        command.arg("render").arg("--stop-on-eof").arg("--out").arg(&loaded.out);
        command.arg("--device").arg(&args.device);
        if let Some(threads) = args.threads {
            command.arg("--threads").arg(threads.to_string());
        }
        if let Some(models) = &args.job.models {
            command.arg("--models").arg(models);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("cannot talk to {}", program.display());
        };
        let mut line = serde_json::to_vec(&loaded.job)?;
        line.push(b'\n');
        // A worker that ended already says why on its standard output.
        if let Err(error) = stdin.write_all(&line).and_then(|()| stdin.flush()) {
            tolerate_closed(error)?;
        }
        Ok(Self { child, events: BufReader::new(stdout), _stdin: stdin })
    }

    /// What the worker says next; none when it has ended.
    ///
    /// # Errors
    /// It speaks another language, as a worker of another version might.
    pub fn next(&mut self) -> Result<Option<Event>> {
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

    /// Waits for its end.
    ///
    /// # Errors
    /// The system lost track of it.
    pub fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for the worker")
    }
}

fn tolerate_closed(error: std::io::Error) -> Result<()> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error).context("cannot hand the job to the worker"),
    }
}

/// The worker beside this program, or on PATH.
fn find() -> Result<PathBuf> {
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
