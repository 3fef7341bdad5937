//! The measurements.

use std::time::{Duration, Instant};

use serde::Serialize;
use vqfarm_core::id::{FarmName, JobId, JobName, RequestId, UserName, WorkerId};
use vqfarm_core::plan::Dependency;
use vqfarm_queue::*;
use vqfarm_testing::redis::RedisServer;

use crate::process::{Order, Work, together};

/// Processes that share the simulated workers.
const PROCESSES: u32 = 4;

/// Leasing and committing with so many workers.
#[derive(Serialize)]
pub struct Rate {
    pub workers: u32,
    pub most: u32,
    pub tasks_per_second: f64,
    /// Bare EVALSHA calls with as many connections.
    pub bare_per_second: f64,
    pub of_bare: f64,
    pub lease_p50_us: u32,
    pub lease_p99_us: u32,
    pub commit_p50_us: u32,
    pub commit_p99_us: u32,
    /// Calls that the clients made, for each task.
    pub calls_per_task: f64,
    /// What the server spent inside its scripts, for each task.
    pub script_us_per_task: f64,
}

pub async fn rate(workers: u32, most: u32, length: Duration) -> Rate {
    let server = RedisServer::start();
    let queue = open(&server).await;
    queue.submit(&job(1, 1 << 32)).await.expect("submitted");
    let order = Order {
        url: server.url(),
        first: 0,
        workers,
        work: Work::Bare,
        // The server's own measure of a machine that others use, too: before and after.
        length: length / 2,
    };
    let (before, ()) = together(&order, PROCESSES, async || ()).await;
    server.ask(&["CONFIG", "RESETSTAT"]);
    let tasks = Order { work: Work::Tasks(most), length, ..order.clone() };
    let (done, ()) = together(&tasks, PROCESSES, async || ()).await;
    let (calls, script_us) = scripts(&server);
    let (after, ()) = together(&order, PROCESSES, async || ()).await;
    let bare = (before.count + after.count) as f64 / (before.seconds + after.seconds);
    let count = done.count as f64;
    let rate = count / done.seconds;
    let (lease, commit) = (sorted(done.lease_us), sorted(done.commit_us));
    Rate {
        workers,
        most,
        tasks_per_second: rate,
        bare_per_second: bare,
        of_bare: rate / bare,
        lease_p50_us: at(&lease, 0.5),
        lease_p99_us: at(&lease, 0.99),
        commit_p50_us: at(&commit, 0.5),
        commit_p99_us: at(&commit, 0.99),
        calls_per_task: calls as f64 / count,
        script_us_per_task: script_us as f64 / count,
    }
}

/// Calls of scripts and the microseconds spent in them.
fn scripts(server: &RedisServer) -> (u64, u64) {
    let stats = server.ask(&["INFO", "commandstats"]);
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:"));
    let fields = line.unwrap_or_default();
    let number = |name: &str| {
        let value = fields.split(',').find_map(|field| field.strip_prefix(name));
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    (number("calls="), number("usec="))
}

fn sorted(mut values: Vec<u32>) -> Vec<u32> {
    values.sort_unstable();
    values
}

fn at(sorted: &[u32], part: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part) as usize).copied().unwrap_or(0)
}

/// A job's submit.
#[derive(Serialize)]
pub struct Submit {
    pub tasks: u64,
    pub milliseconds: f64,
    /// What the waiting job takes of the server's memory.
    pub bytes: u64,
}

pub async fn submit(tasks: u64) -> Submit {
    let server = RedisServer::start();
    let queue = open(&server).await;
    queue.submit(&job(1, 1)).await.expect("submitted");
    let before = server.info("used_memory");
    let begun = Instant::now();
    queue.submit(&job(2, tasks)).await.expect("submitted");
    let milliseconds = begun.elapsed().as_secs_f64() * 1000.0;
    let bytes = server.info("used_memory").saturating_sub(before);
    Submit { tasks, milliseconds, bytes }
}

/// One worker's leases and commits beside so much that waits or is over.
#[derive(Serialize)]
pub struct Grows {
    pub tasks: u64,
    /// Jobs that are over.
    pub history: u32,
    pub script_us_per_task: f64,
}

pub async fn grows(tasks: u64, history: u32) -> Grows {
    const COUNT: u32 = 1_000;
    let server = RedisServer::start();
    let queue = open(&server).await;
    for number in 0..history {
        let mut over = job(u128::from(number) + 10, 10);
        over.done = vec![(0, 0..10), (1, 0..1)];
        queue.submit(&over).await.expect("submitted");
    }
    queue.submit(&job(1, tasks)).await.expect("submitted");
    let info = worker("w");
    let mut count = 0;
    server.ask(&["CONFIG", "RESETSTAT"]);
    while count < COUNT {
        let answer = queue.lease(&RequestId::generate(), &info, 1).await.expect("an answer");
        let LeaseAnswer::Work(lease) = answer else { break };
        for committed in queue.commit_all(&lease.tickets).await.expect("an answer") {
            committed.expect("committed");
            count += 1;
        }
    }
    let (_, script_us) = scripts(&server);
    Grows { tasks, history, script_us_per_task: script_us as f64 / f64::from(count) }
}

/// Workers that have nothing to do, and then one task.
#[derive(Serialize)]
pub struct Idle {
    pub workers: u32,
    pub commands_per_second: f64,
    /// Leases asked for when one task came.
    pub leases_for_one_task: u64,
    /// From the submit to its lease.
    pub taken_after_ms: f64,
}

pub async fn idle(workers: u32, length: Duration) -> Idle {
    let server = RedisServer::start();
    let queue = open(&server).await;
    let mut events = queue.events();
    let url = server.url();
    // Longer than any machine takes; they end when this is done.
    let length_of_wait = Duration::from_secs(3_600);
    let order = Order { url, first: 0, workers, work: Work::Idle, length: length_of_wait };
    let (_, measured) = together(&order, PROCESSES, async || {
        let listening = || server.ask(&["PUBSUB", "NUMSUB", "{vqfarm:main}:wake"]);
        let all = format!("\n{workers}");
        while !listening().ends_with(&all) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let commands = || server.info("total_commands_processed");
        let (before, begun) = (commands(), Instant::now());
        tokio::time::sleep(length).await;
        // Each look at the count is a command, too.
        let per_second = (commands() - before - 1) as f64 / begun.elapsed().as_secs_f64();
        server.ask(&["CONFIG", "RESETSTAT"]);
        let begun = Instant::now();
        queue.submit(&job(1, 1)).await.expect("submitted");
        loop {
            let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
            if let Ok(Event::Leased { .. }) = event.expect("in time") {
                break;
            }
        }
        let taken = begun.elapsed();
        // Until nobody comes any more.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (calls, _) = scripts(&server);
        (per_second, calls, taken)
    })
    .await;
    let (commands_per_second, calls, taken) = measured;
    Idle {
        workers,
        commands_per_second,
        // Without the submit itself.
        leases_for_one_task: calls.saturating_sub(1),
        taken_after_ms: taken.as_secs_f64() * 1000.0,
    }
}

pub async fn open(server: &RedisServer) -> RedisQueue {
    let farm = FarmName::default();
    let queue = RedisQueue::connect(&server.url(), &farm, Policy::default()).await;
    let queue = queue.expect("connected");
    queue.open().await.expect("opened");
    queue
}

fn worker(name: &str) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(name).expect("a name"),
        tags: Default::default(),
        memory: 80 << 30,
        loaded: ["imagenet-f16-16384".to_owned(), "ViT-B/32".to_owned()].into(),
        busy: None,
        disk: None,
    }
}

/// A sweep as the planner makes them.
pub fn job(number: u128, tasks: u64) -> Submission {
    let models = ["imagenet-f16-16384".to_owned(), "ViT-B/32".to_owned()].into();
    let needs = Needs { memory: 8 << 30, models, ..Needs::default() };
    let layer = |name: &str, tasks, dependency, needs| LayerSpec {
        name: name.into(),
        tasks,
        dependency,
        needs,
    };
    Submission {
        request: RequestId::generate(),
        job: JobId::from_u128(number),
        name: JobName::default(),
        user: UserName::new("ann").expect("a name"),
        priority: 0,
        layers: vec![
            layer("render", tasks, Dependency::Independent, needs),
            layer("stitch", 1, Dependency::All, Needs::default()),
        ],
        done: Vec::new(),
    }
}
