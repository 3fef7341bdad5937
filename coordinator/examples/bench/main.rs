//! How a coordinator bears a long history, many watchers and a huge job.
//!
//!     cargo build --release --workspace
//!     cargo run --release --workspace --example bench-coordinator -- [--json] [--jobs 10000]
//!         [--watchers 200] [--cells 10000000] [--asked 300]
//!
//! Starts a private `redis-server`, a folder as storage, and the program `vqfarm-coordinator` that
//! lies beside this one. The history is made by the queue's and the storage's own code, as if
//! those jobs had been rendered. While workers lease and commit the huge job's cells, and watchers
//! look on, questions are asked one after the other.

mod asking;
mod farm;
mod load;

use std::time::{Duration, Instant};

use serde::Serialize;

use self::asking::{Latency, Question};
use self::farm::BenchFarm;

#[derive(Serialize)]
struct Results {
    jobs: u32,
    watchers: u32,
    cells: u64,
    /// From the start of the coordinator until it says that it is ready.
    ready_after_ms: f64,
    /// The same, when the queue had lost its memory.
    reconciled_after_ms: f64,
    /// What the workers committed meanwhile.
    tasks_per_second: f64,
    /// What the watchers heard meanwhile.
    told_per_second: f64,
    latencies: Vec<Latency>,
    /// The most that the coordinator has had in memory, in MiB.
    peak_mib: f64,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let at = arguments.iter().position(|argument| argument == name);
        let value = at.and_then(|at| arguments.get(at + 1));
        value.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} {text}")))
    };
    if arguments.iter().any(|argument| argument == "--help") {
        println!("bench-coordinator [--json] [--jobs N] [--watchers N] [--cells N] [--asked N]");
        return;
    }
    let jobs = number("--jobs", 10_000) as u32;
    let watchers = number("--watchers", 200) as u32;
    let cells = number("--cells", 10_000_000);
    let results = measure(jobs, watchers, cells, number("--asked", 300) as u32).await;
    if arguments.iter().any(|argument| argument == "--json") {
        println!("{}", serde_json::to_string_pretty(&results).expect("JSON"));
    } else {
        print(&results);
    }
}

async fn measure(jobs: u32, watchers: u32, cells: u64, asked: u32) -> Results {
    eprintln!("{jobs} jobs of history…");
    let mut farm = BenchFarm::start().await;
    farm.make_history(jobs).await;
    let huge = farm.submit_huge(cells).await;
    let ready_after_ms = milliseconds(farm.restart().await);

    eprintln!("{watchers} watchers and workers; questions…");
    let load = load::start(&farm, &huge, watchers).await;
    let begun = Instant::now();
    let before = load.counts();
    let mut latencies = Vec::new();
    for question in Question::ALL {
        latencies.push(asking::ask(&farm, &huge, question, asked).await);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = load.counts();
    let peak_mib = farm.peak_mib();
    load.stop();

    eprintln!("the queue loses its memory…");
    farm.lose_queue();
    let reconciled_after_ms = milliseconds(farm.restart().await);
    Results {
        jobs,
        watchers,
        cells,
        ready_after_ms,
        reconciled_after_ms,
        tasks_per_second: (after.committed - before.committed) as f64 / seconds,
        told_per_second: (after.told - before.told) as f64 / seconds,
        latencies,
        peak_mib,
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn print(results: &Results) {
    println!(
        "{} jobs that are over, a job of {} cells, {} watchers who hear {:.0} messages/s, workers \
         that commit {:.0} tasks/s\n",
        results.jobs,
        results.cells,
        results.watchers,
        results.told_per_second,
        results.tasks_per_second
    );
    println!("{:<24} {:>8} {:>8} {:>8}", "ms", "p50", "p99", "most");
    for Latency { what, p50_ms, p99_ms, most_ms } in &results.latencies {
        println!("{what:<24} {p50_ms:>8.1} {p99_ms:>8.1} {most_ms:>8.1}");
    }
    println!("\nmemory of the coordinator, at most: {:.0} MiB", results.peak_mib);
    println!("ready {:.0} ms after its start", results.ready_after_ms);
    println!("ready {:.0} ms after its start with an empty queue", results.reconciled_after_ms);
}
