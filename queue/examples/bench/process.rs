//! A process of simulated workers.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use vqfarm_core::id::{FarmName, RequestId, WorkerId};
use vqfarm_queue::*;

use crate::WORKER;

/// What a process shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub url: String,
    /// The number of the first worker.
    pub first: u32,
    pub workers: u32,
    pub work: Work,
    pub length: Duration,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Work {
    /// Bare calls of a script that does nothing.
    Bare,
    /// Leases of so many tasks, and commits.
    Tasks(u32),
    /// As `Tasks`, but a commit and the next lease are one call, and all workers of a process
    /// share a connection.
    Turns(u32),
    /// Waiting for work that does not come.
    Idle,
}

/// What a process has done.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Done {
    /// Tasks, or bare calls.
    pub count: u64,
    /// Of each call that leases, in microseconds.
    pub lease_us: Vec<u32>,
    pub commit_us: Vec<u32>,
    pub seconds: f64,
}

/// Starts processes that share the workers, lets them begin together and gathers what they
/// have done. `between` runs while they work.
pub async fn together<T>(
    order: &Order,
    processes: u32,
    between: impl AsyncFnOnce() -> T,
) -> (Done, T) {
    let share = |at: u32| order.workers * (at + 1) / processes - order.workers * at / processes;
    let mut first = order.first;
    let mut children: Vec<Child> = Vec::new();
    for at in 0..processes {
        let workers = share(at);
        if workers > 0 {
            children.push(start(&Order { first, workers, ..order.clone() }));
            first += workers;
        }
    }
    let mut outputs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().expect("its output")))
        .collect();
    for output in &mut outputs {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "ready");
    }
    let mut inputs: Vec<_> =
        children.iter_mut().map(|child| child.stdin.take().expect("its input")).collect();
    for input in &mut inputs {
        input.write_all(b"go\n").expect("told");
    }
    let between = between().await;
    // Who is idle waits for this.
    drop(inputs);
    let mut all = Done::default();
    for output in &mut outputs {
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let done: Done = serde_json::from_str(&line).expect("what it has done");
        all.count += done.count;
        all.lease_us.extend(done.lease_us);
        all.commit_us.extend(done.commit_us);
        all.seconds = all.seconds.max(done.seconds);
    }
    for mut child in children {
        assert!(child.wait().expect("an end").success());
    }
    (all, between)
}

fn start(order: &Order) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args([WORKER, &serde_json::to_string(order).expect("JSON")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// What the process does that was started with `order`.
pub async fn run(order: &str) {
    let order: Order = serde_json::from_str(order).expect("an order");
    let mut workers = Vec::new();
    let shared = match order.work {
        Work::Turns(_) => Some(connect(&order.url).await),
        _ => None,
    };
    for number in order.first..order.first + order.workers {
        let worker = match (order.work, &shared) {
            (Work::Bare, _) => Worker::Bare(bare(&order.url).await),
            // The lanes of one worker, as BullMQ's concurrency is that of one.
            (_, Some(queue)) => Worker::Queue(queue.clone(), info(order.first)),
            (_, None) => Worker::Queue(connect(&order.url).await, info(number)),
        };
        workers.push(worker);
    }
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("go");
    let begun = Instant::now();
    let end = begun + order.length;
    if matches!(order.work, Work::Idle) {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            println!("{}", serde_json::to_string(&Done::default()).expect("JSON"));
            std::process::exit(0);
        });
    }
    let tasks: Vec<_> =
        workers.into_iter().map(|worker| tokio::spawn(worker.work(order.work, end))).collect();
    let mut all = Done::default();
    for task in tasks {
        let done = task.await.expect("no panic");
        all.count += done.count;
        all.lease_us.extend(done.lease_us);
        all.commit_us.extend(done.commit_us);
    }
    all.seconds = begun.elapsed().as_secs_f64();
    println!("{}", serde_json::to_string(&all).expect("JSON"));
}

async fn connect(url: &str) -> Arc<RedisQueue> {
    // A busy machine may be slow; that is what is measured.
    let minute = Duration::from_secs(60);
    let patient =
        RedisOptions { call: minute, answer: minute, connect: minute, ..RedisOptions::default() };
    let queue = RedisQueue::connect_with(url, &FarmName::default(), patient).await;
    Arc::new(queue.expect("connected"))
}

async fn bare(url: &str) -> (redis::aio::MultiplexedConnection, String) {
    let client = redis::Client::open(url).expect("an address");
    let patient = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(60)))
        .set_response_timeout(Some(Duration::from_secs(60)));
    let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
    let mut connection = connection.expect("connected");
    let mut load = redis::cmd("SCRIPT");
    load.arg("LOAD").arg("return 1");
    let name: String = load.query_async(&mut connection).await.expect("loaded");
    (connection, name)
}

fn info(number: u32) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(format!("host-{number}-gpu0")).expect("a name"),
        tags: Default::default(),
        memory: 80 << 30,
        loaded: ["imagenet-f16-16384".to_owned(), "ViT-B/32".to_owned()].into(),
        busy: None,
        disk: None,
    }
}

enum Worker {
    Bare((redis::aio::MultiplexedConnection, String)),
    Queue(Arc<RedisQueue>, WorkerInfo),
}

impl Worker {
    async fn work(self, work: Work, end: Instant) -> Done {
        match (self, work) {
            (Self::Bare((mut connection, name)), _) => {
                let mut done = Done::default();
                while Instant::now() < end {
                    let mut call = redis::cmd("EVALSHA");
                    call.arg(&name).arg(1).arg("{vqfarm:main}:farm");
                    let _: i64 = call.query_async(&mut connection).await.expect("an answer");
                    done.count += 1;
                }
                done
            }
            (Self::Queue(queue, info), Work::Tasks(most)) => {
                lease_and_commit(&queue, &info, most, end).await
            }
            (Self::Queue(queue, info), Work::Turns(most)) => turns(&queue, &info, most, end).await,
            (Self::Queue(queue, info), _) => {
                while Instant::now() < end {
                    wait(&queue, &info, end).await;
                }
                Done::default()
            }
        }
    }
}

async fn lease_and_commit(queue: &RedisQueue, info: &WorkerInfo, most: u32, end: Instant) -> Done {
    let mut done = Done::default();
    while Instant::now() < end {
        let begun = Instant::now();
        let answer = queue.lease(&RequestId::generate(), info, most).await.expect("an answer");
        let LeaseAnswer::Work(lease) = answer else { panic!("there is work: {answer:?}") };
        done.lease_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
        let begun = Instant::now();
        for committed in queue.commit_all(&lease.tickets).await.expect("an answer") {
            committed.expect("committed");
            done.count += 1;
        }
        done.commit_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    done
}

async fn turns(queue: &RedisQueue, info: &WorkerInfo, most: u32, end: Instant) -> Done {
    let mut done = Done::default();
    let mut tickets = Vec::new();
    loop {
        if Instant::now() >= end {
            // Another worker's turn finds nothing half done.
            for committed in queue.commit_all(&tickets).await.expect("an answer") {
                committed.expect("committed");
                done.count += 1;
            }
            return done;
        }
        let request = RequestId::generate();
        let turn = queue.commit_and_lease(&tickets, &request, info, most).await;
        let (commits, answer) = turn.expect("an answer");
        for committed in commits {
            committed.expect("committed");
            done.count += 1;
        }
        let LeaseAnswer::Work(lease) = answer else { panic!("there is work: {answer:?}") };
        tickets = lease.tickets;
    }
}

async fn wait(queue: &RedisQueue, info: &WorkerInfo, end: Instant) {
    let answer = queue.lease(&RequestId::generate(), info, 1).await.expect("an answer");
    let LeaseAnswer::Nothing { seen, .. } = answer else { return };
    // As a worker does: half a minute at most.
    let at_most = end.saturating_duration_since(Instant::now()).min(Duration::from_secs(30));
    queue.wait_for_work(seen, at_most).await.expect("an answer");
}
