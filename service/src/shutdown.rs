//! An orderly end: the first signal asks for it, the second does not wait.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Turns true at the first SIGINT or SIGTERM; the second one ends the process at once, with the
/// status that a shell gives to a signal. Must be called inside a tokio runtime.
///
/// # Errors
/// The system does not let signals be caught.
pub fn on_signal() -> io::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            let (name, status) = tokio::select! {
                _ = interrupt.recv() => ("SIGINT", 130),
                _ = terminate.recv() => ("SIGTERM", 143),
            };
            if *stop.borrow() {
                tracing::warn!(signal = name, "a second signal: leaving at once");
                leave(status);
            }
            tracing::info!(signal = name, "stopping");
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}

/// Ends the process as it stands. Libraries' handlers for its end are not run: threads that compute
/// would find torn down what they compute with, and crash.
#[allow(unsafe_code, reason = "_exit is a C function")]
pub fn leave(status: u8) -> ! {
    // SAFETY: _exit may be called at any time, on any thread; it touches nothing of this process.
    unsafe { libc::_exit(status.into()) }
}

/// Waits until `stop` turns true; for ever when nobody can turn it any more.
pub async fn requested(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
