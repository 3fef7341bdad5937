//! How fast the queue in Redis is, beside what the same server does of bare calls.
//!
//!     cargo run --release -p vqfarm-queue --example bench -- [--json] [--seconds 3]
//!         [--only rates,submits,growth,idle] [--bullmq SCRIPT]
//!
//! Starts a private `redis-server`. Simulated workers run in several processes, each worker
//! with a connection of its own, and do nothing but lease and commit. With `--bullmq` nothing is
//! measured but one process beside BullMQ's; `scripts/bench-bullmq.sh` installs that.

mod bullmq;
mod measure;
mod process;
mod report;

use std::time::Duration;

use vqfarm_testing::redis::RedisServer;

use self::bullmq::Beside;
use self::measure::{Grows, Idle, Rate, Submit};

/// What a worker process is started with, so that it knows what it is.
const WORKER: &str = "--worker-process";

#[derive(serde::Serialize)]
struct Results {
    server: String,
    processors: usize,
    rates: Vec<Rate>,
    submits: Vec<Submit>,
    grows: Vec<Grows>,
    idle: Option<Idle>,
    beside: Option<Beside>,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    if let Some(order) = value(WORKER) {
        return runtime.block_on(process::run(&order));
    }
    if arguments.iter().any(|argument| argument == "--help") {
        println!(
            "bench [--json] [--seconds S] [--only rates,submits,growth,idle] [--bullmq SCRIPT]"
        );
        return;
    }
    let seconds = value("--seconds").and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let length = Duration::from_secs_f64(seconds);
    let only = value("--only");
    let script = value("--bullmq");
    let wanted = |part: &str| match &only {
        Some(only) => only.split(',').any(|p| p == part),
        None => script.is_none(),
    };
    let results = runtime.block_on(all(length, wanted, script.as_deref()));
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&results).expect("JSON"));
    } else {
        report::print(&results);
    }
}

async fn all(length: Duration, wanted: impl Fn(&str) -> bool, bullmq: Option<&str>) -> Results {
    let server = RedisServer::start().ask(&["INFO", "server"]);
    let version = server.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let mut results = Results {
        server: format!("redis {}", version.unwrap_or("?").trim()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        rates: Vec::new(),
        submits: Vec::new(),
        grows: Vec::new(),
        idle: None,
        beside: None,
    };
    if let Some(script) = bullmq {
        results.beside = Some(bullmq::beside(script, length).await);
    }
    if wanted("rates") {
        for (workers, most) in [(1, 1), (1, 8), (100, 1), (100, 8), (1_000, 1), (1_000, 8)] {
            eprintln!("{workers} workers, leases of {most}…");
            results.rates.push(measure::rate(workers, most, length).await);
        }
    }
    if wanted("submits") {
        eprintln!("submits…");
        for tasks in [1_000, 1_000_000, 10_000_000] {
            results.submits.push(measure::submit(tasks).await);
        }
    }
    if wanted("growth") {
        eprintln!("growth…");
        for (tasks, history) in [(1_000, 0), (10_000_000, 0), (10_000_000, 10_000)] {
            results.grows.push(measure::grows(tasks, history).await);
        }
    }
    if wanted("idle") {
        eprintln!("1,000 idle workers…");
        results.idle = Some(measure::idle(1_000, length.max(Duration::from_secs(5))).await);
    }
    results
}
