//! How fast the queue in Redis is, beside what the same server does of bare calls.
//!
//!     cargo run --release -p vqfarm-queue --example bench [-- --json] [--seconds 3]
//!
//! Starts a private `redis-server`. Simulated workers run in several processes, each worker
//! with a connection of its own, and do nothing but lease and commit.

mod measure;
mod process;
mod report;

use std::time::Duration;

use vqfarm_testing::redis::RedisServer;

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
    idle: Idle,
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
        println!("bench [--json] [--seconds S]: measures the queue in Redis");
        return;
    }
    let seconds = value("--seconds").and_then(|text| text.parse().ok()).unwrap_or(3.0);
    let length = Duration::from_secs_f64(seconds);
    let results = runtime.block_on(all(length));
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&results).expect("JSON"));
    } else {
        report::print(&results);
    }
}

async fn all(length: Duration) -> Results {
    let mut rates = Vec::new();
    for workers in [1, 100, 1_000] {
        for most in [1, 16] {
            eprintln!("{workers} workers, leases of {most}…");
            rates.push(measure::rate(workers, most, length).await);
        }
    }
    eprintln!("submits…");
    let mut submits = Vec::new();
    for tasks in [1_000, 1_000_000, 10_000_000] {
        submits.push(measure::submit(tasks).await);
    }
    eprintln!("growth…");
    let mut grows = Vec::new();
    for (tasks, history) in [(1_000, 0), (10_000_000, 0), (10_000_000, 10_000)] {
        grows.push(measure::grows(tasks, history).await);
    }
    eprintln!("1,000 idle workers…");
    let idle = measure::idle(1_000, length.max(Duration::from_secs(5))).await;
    let server = RedisServer::start();
    let version = server.ask(&["INFO", "server"]);
    let version = version.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Results {
        server: format!("redis {}", version.unwrap_or("?").trim()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        rates,
        submits,
        grows,
        idle,
    }
}
