//! One attempt to tell by a command of this machine.

use std::convert::Infallible;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Told;

/// A command that takes longer is ended, with all that it has started.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of each output that are kept for the log.
const KEPT: u64 = 2000;
/// What a command finds of this process's own environment.
const PASSED_ON: [&str; 2] = ["PATH", "HOME"];

/// Runs the command without a shell, the body on its standard input.
pub async fn run(command: &[String], body: &str, variables: &[(&'static str, String)]) -> Told {
    let failed = |reason| Told::Failed { reason, wait: None };
    let Some((program, arguments)) = command.split_first() else {
        return failed("there is no command".into());
    };
    let passed_on = PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(passed_on)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut running = match child {
        Ok(child) => Running::new(child),
        Err(error) => return failed(format!("it does not start: {error}")),
    };
    match timeout(TIMEOUT, running.finish(body)).await {
        Ok(Ok((status, said))) if status.success() => {
            tracing::info!(program, said, "a command was told");
            Told::Yes
        }
        Ok(Ok((status, said))) => failed(format!("it ended with {status}{said}")),
        Ok(Err(error)) => failed(format!("it cannot be waited for: {error}")),
        Err(_) => failed(format!("it was ended after {} s", TIMEOUT.as_secs())),
    }
}

/// A command and all that it starts; killed when dropped.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self { child, group }
    }

    /// How it ended, and the beginning of what it said.
    async fn finish(&mut self, body: &str) -> std::io::Result<(ExitStatus, String)> {
        let (stdin, stdout, stderr) =
            (self.child.stdin.take(), self.child.stdout.take(), self.child.stderr.take());
        let write = async {
            if let Some(mut stdin) = stdin {
                // It need not read what it does not care for.
                let _ = stdin.write_all(body.as_bytes()).await;
            }
        };
        let ended = async {
            let ((), status) = tokio::join!(write, self.child.wait());
            status
        };
        // What it leaves running may hold its outputs open: these are read beside it, not after.
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let read = async {
                tokio::join!(read(stdout, &mut out), read(stderr, &mut err));
                std::future::pending::<Infallible>().await
            };
            tokio::select! {
                biased;
                never = read => match never {},
                status = ended => status?,
            }
        };
        let said = [out, err].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        Ok((status, if said.is_empty() { said } else { format!(": {said:?}") }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // None is left where all have ended by themselves.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Keeps the beginning of an output and reads the rest, so that nobody waits for room in a pipe.
async fn read(output: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(output) = output else { return };
    let mut beginning = output.take(KEPT);
    if beginning.read_to_end(kept).await.is_ok() {
        let mut rest = beginning.into_inner();
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, body: &str) -> Told {
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&command, body, &[("VQFARM_JOB", "7".into())]).await
    }

    fn reason(told: Told) -> String {
        match told {
            Told::Failed { reason, wait: None } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_command_has_the_body_and_little_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("told");
        let script = format!("cat > {0}; env >> {0}", file.display());
        assert_eq!(shell(&script, "{\"a\":1}\n").await, Told::Yes);
        let told = std::fs::read_to_string(file).unwrap();
        let (body, environment) = told.split_once('\n').unwrap();
        assert_eq!(body, "{\"a\":1}");
        let names: Vec<&str> =
            environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        assert!(names.contains(&"VQFARM_JOB") && names.contains(&"PATH"), "{names:?}");
        // Those that a shell sets by itself are there as well.
        assert!(!names.iter().any(|name| name.starts_with("CARGO")), "{names:?}");
    }

    #[tokio::test]
    async fn a_command_that_fails_says_why() {
        let reason_of = reason(shell("echo no such room >&2; exit 3", "").await);
        assert_eq!(reason_of, "it ended with exit status: 3: \"no such room\"");
        // Neither a body that nobody reads nor an endless answer holds it up.
        let much = "x".repeat(1 << 20);
        let endless = reason(shell("exec <&-; yes | head -c 3000000; exit 1", &much).await);
        assert!(endless.len() < 2 * KEPT as usize + 3000, "{}", endless.len());
        let none = run(&["/no/such/program".into()], "", &[]).await;
        assert!(reason(none).contains("it does not start"));
    }

    #[tokio::test]
    async fn what_a_command_leaves_running_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        // The child holds the outputs open.
        let script = format!("sleep 600 & echo $! > {}", file.display());
        assert_eq!(shell(&script, "").await, Told::Yes);
        let child = std::fs::read_to_string(file).unwrap();
        let child = Pid::from_raw(child.trim().parse().unwrap()).unwrap();
        for _ in 0..1000 {
            if rustix::process::test_kill_process(child).is_err() || is_zombie(child) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("process {child:?} lives on");
    }

    /// Whether it has ended, and nobody has asked how.
    fn is_zombie(process: Pid) -> bool {
        let stat = format!("/proc/{}/stat", process.as_raw_nonzero());
        let stat = std::fs::read_to_string(stat).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
    }
}
