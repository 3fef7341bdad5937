//! The commands that talk to a farm's coordinator.

mod audit;
mod client;
mod control;
mod fetch;
mod gc;
mod jobs;
mod logs;
mod models;
pub mod show;
mod status;
mod stitch;
mod submit;
mod token;
mod top;
mod version;
mod watch;
mod way;
mod workers;

use std::future::Future;
use std::process::ExitCode;

use anyhow::Context;

pub use self::audit::{AuditArgs, ReconcileArgs};
pub use self::client::Farm;
pub use self::control::{JobAction, KeepArgs, PriorityArgs, RetryArgs};
pub use self::fetch::FetchArgs;
pub use self::gc::GcArgs;
pub use self::jobs::{JobArgs, JobsArgs, TasksArgs};
pub use self::logs::LogsArgs;
pub use self::models::PushArgs;
pub use self::status::{StatusArgs, WhyArgs};
pub use self::submit::SubmitArgs;
pub use self::token::{Token, is_open};
pub use self::top::TopArgs;
pub use self::watch::{WaitArgs, WatchArgs};
pub use self::way::{ConnectArgs, Origin, check_address};
pub use self::workers::{DrainArgs, UndrainArgs, WorkersArgs};

use crate::failure::Failure;

pub use self::audit::{audit, reconcile};
pub use self::control::{cancel, keep, pause, priority, resume, retry};
pub use self::fetch::{fetch, receive};
pub use self::gc::gc;
pub use self::jobs::{job, jobs, tasks};
pub use self::logs::logs;
pub use self::models::push;
pub use self::status::{status, why};
pub use self::stitch::{Stitching, preview, stitch};
pub use self::submit::submit;
pub use self::top::top;
pub use self::watch::{wait, watch};
pub use self::workers::{drain, undrain, workers};

/// What every call ends in.
type Outcome = Result<ExitCode, Failure>;

/// Runs a command that waits for the network.
pub fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    wait_for(command)
}

/// Waits for the network.
pub fn wait_for<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(answer)
}
