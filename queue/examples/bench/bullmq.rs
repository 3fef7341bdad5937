//! Beside BullMQ: the same Redis, one process and so many workers for each, in turn.

use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vqfarm_queue::Queue;
use vqfarm_testing::redis::RedisServer;

use crate::measure::{job, open};
use crate::process::{Order, Work, together};

/// Workers of each side; BullMQ calls them its worker's concurrency.
const WORKERS: u32 = 50;
/// Tasks that BullMQ does in a round.
const TASKS: u32 = 50_000;
/// Rounds, of which the median counts.
const ROUNDS: usize = 5;

#[derive(Serialize)]
pub struct Beside {
    pub bullmq_per_second: f64,
    pub ours: Vec<Ours>,
}

#[derive(Serialize)]
pub struct Ours {
    /// Tasks of a lease.
    pub most: u32,
    pub tasks_per_second: f64,
    /// Of BullMQ's, round by round: their median.
    pub ratio: f64,
    /// What the server computed for each task.
    pub server_us_per_task: f64,
}

#[derive(Deserialize)]
struct Told {
    tasks: u32,
    seconds: f64,
}

/// `script` is `scripts/bench-bullmq/bench.mjs` where BullMQ is installed.
pub async fn beside(script: &str, length: Duration) -> Beside {
    let server = RedisServer::start();
    let queue = open(&server).await;
    queue.submit(&job(1, 1 << 32)).await.expect("submitted");
    let mut theirs = Vec::new();
    let mut ours: Vec<(u32, Vec<[f64; 3]>)> = [1, 8, 16].map(|most| (most, Vec::new())).into();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS}…");
        let told = bullmq(script, &server.url());
        let their_rate = f64::from(told.tasks) / told.seconds;
        theirs.push(their_rate);
        for (most, rates) in &mut ours {
            let order = Order {
                url: server.url(),
                first: 0,
                workers: WORKERS,
                work: Work::Turns(*most),
                length,
            };
            let before = computed_us(&server);
            let (done, ()) = together(&order, 1, async || ()).await;
            let rate = done.count as f64 / done.seconds;
            let server_us = (computed_us(&server) - before) / done.count as f64;
            rates.push([rate, rate / their_rate, server_us]);
        }
    }
    let ours = ours.into_iter().map(|(most, rates)| {
        let of = |at: usize| median(rates.iter().map(|rate| rate[at]).collect());
        let (tasks_per_second, ratio, server_us_per_task) = (of(0), of(1), of(2));
        Ours { most, tasks_per_second, ratio, server_us_per_task }
    });
    Beside { bullmq_per_second: median(theirs), ours: ours.collect() }
}

fn bullmq(script: &str, url: &str) -> Told {
    let arguments = [url.to_owned(), TASKS.to_string(), WORKERS.to_string()];
    let output = Command::new("node").arg(script).args(arguments).output().expect("node");
    let errors = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("BullMQ: {errors}"))
}

/// Microseconds that the server has computed, in its own code and in the kernel's.
fn computed_us(server: &RedisServer) -> f64 {
    let info = server.ask(&["INFO", "cpu"]);
    let seconds = |name: &str| {
        let value = info.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    };
    1e6 * (seconds("used_cpu_user:") + seconds("used_cpu_sys:"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
