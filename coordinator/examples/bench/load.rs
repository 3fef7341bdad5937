//! What goes on meanwhile: workers that lease and commit, watchers that look on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_stream::StreamExt;
use vqfarm_core::id::RequestId;
use vqfarm_proto::v1::{ChangesRequest, JobRequest};
use vqfarm_queue::{LeaseAnswer, Queue, RedisQueue};

use crate::farm::{BenchFarm, worker};

const WORKERS: u32 = 100;
/// Cells that a worker renders at once, and how long that takes.
const BATCH: u32 = 8;
const RENDERING: Duration = Duration::from_secs(1);

pub struct Load {
    going_on: JoinSet<()>,
    counted: Arc<Counted>,
}

#[derive(Default)]
struct Counted {
    committed: AtomicU64,
    told: AtomicU64,
}

pub struct Counts {
    pub committed: u64,
    /// Messages to watchers.
    pub told: u64,
}

/// Starts workers, and watchers of whom one half looks at the farm and the other at the job.
pub async fn start(farm: &BenchFarm, job: &str, watchers: u32) -> Load {
    let mut load = Load { going_on: JoinSet::new(), counted: Arc::default() };
    let queue = Arc::new(farm.queue().await);
    for number in 0..WORKERS {
        load.going_on.spawn(work(queue.clone(), number, load.counted.clone()));
    }
    for number in 0..watchers {
        // Each has a connection of its own.
        let mut client = farm.client().await;
        let counted = load.counted.clone();
        if number % 2 == 0 {
            let told = client.changes(ChangesRequest {}).await.expect("an answer").into_inner();
            load.going_on.spawn(listen(client, told, counted));
        } else {
            let request = JobRequest { job: job.to_owned() };
            let told = client.watch(request).await.expect("an answer").into_inner();
            load.going_on.spawn(listen(client, told, counted));
        }
    }
    load
}

/// Reads until the stream ends; the client keeps its connection for so long.
async fn listen<C, T>(client: C, mut told: tonic::Streaming<T>, counted: Arc<Counted>) {
    while let Some(Ok(_)) = told.next().await {
        counted.told.fetch_add(1, Ordering::Relaxed);
    }
    drop(client);
}

async fn work(queue: Arc<RedisQueue>, number: u32, counted: Arc<Counted>) {
    let info = worker(number);
    let mut done = Vec::new();
    // Not all at the same moment.
    sleep(RENDERING * number / WORKERS).await;
    loop {
        let request = RequestId::generate();
        let turn = queue.commit_and_lease(&done, &request, &info, BATCH).await;
        let (commits, answer) = turn.expect("an answer");
        counted.committed.fetch_add(commits.len() as u64, Ordering::Relaxed);
        let LeaseAnswer::Work(lease) = answer else { panic!("there is work: {answer:?}") };
        done = lease.tickets;
        sleep(RENDERING).await;
    }
}

impl Load {
    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { committed: of(&self.counted.committed), told: of(&self.counted.told) }
    }

    pub fn stop(mut self) {
        self.going_on.abort_all();
    }
}
