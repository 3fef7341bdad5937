//! A store whose frames wait before a gate, and lanes that go on meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::watch;
use vqfarm_core::id::JobId;
use vqfarm_queue::Queue;
use vqfarm_storage::JobStore;
use vqfarm_worker::job::OpenJob;
use vqfarm_worker::jobs::Jobs;
use vqfarm_worker::meters::Meters;

use crate::ground::{AtWork, Ground, frames, job};

/// Objects in memory; frames are not written before the gate is open.
struct Gate {
    objects: InMemory,
    open: watch::Sender<bool>,
    meters: OnceLock<Arc<Meters>>,
    seen: Mutex<Seen>,
}

/// What was asked.
#[derive(Default)]
struct Seen {
    /// How often each frame was written.
    writes: BTreeMap<String, u32>,
    /// Frames that wait now, and those that waited at the same time at most.
    waiting: u32,
    waited: u32,
    /// Iterations that the worker had made when each frame was first looked for.
    looked: BTreeMap<String, u64>,
}

impl Gate {
    fn closed() -> Arc<Self> {
        Arc::new(Self {
            objects: InMemory::new(),
            open: watch::Sender::new(false),
            meters: OnceLock::new(),
            seen: Mutex::default(),
        })
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    /// A worker of one lane at a job in this store, which it does not lease for ahead of time.
    async fn worker(
        self: &Arc<Self>,
        ground: &Ground,
        cells: u64,
        iterations: u32,
    ) -> (AtWork, JobId) {
        let record = ground.record(job(cells, iterations));
        let opened = OpenJob::new(record.clone(), self.store()).unwrap();
        ground.queue.submit(&Ground::submission(&record)).await.unwrap();
        let worker = ground.worker_at(Jobs::One(Arc::new(opened)));
        assert!(self.meters.set(worker.meters.clone()).is_ok());
        (worker, record.id)
    }

    fn store(self: &Arc<Self>) -> JobStore {
        JobStore::new(self.clone(), Path::default())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_holds_no_lane_up_until_the_room_is_full() {
    const CELLS: u64 = 80;
    // 64 wait, one is in the lane's hands.
    const AHEAD: u64 = 65;
    let (ground, gate) = (Ground::new().await, Gate::closed());
    let (worker, id) = gate.worker(&ground, CELLS, 2).await;
    let steps = || worker.meters.steps();
    let made = tokio::time::timeout(Duration::from_secs(120), async {
        while steps() < 2 * AHEAD {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    made.await.expect("the lane goes on");
    // Long enough for several more.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(steps(), 2 * AHEAD, "but not for ever");
    assert_eq!(frames(&gate.store()).await.len(), 0);
    gate.open();
    ground.done(id).await;
    assert_eq!(frames(&gate.store()).await.len() as u64, CELLS);
    assert_eq!(steps(), 2 * CELLS, "each is rendered once");
    let seen = gate.seen.lock().unwrap();
    assert!(seen.writes.values().all(|&writes| writes == 1), "{:?}", seen.writes);
    assert!((2..=17).contains(&seen.waited), "several at once: {}", seen.waited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_that_is_nearly_done_has_its_next_cell_prepared() {
    let (ground, gate) = (Ground::new().await, Gate::closed());
    gate.open();
    let (worker, id) = gate.worker(&ground, 2, 400).await;
    ground.done(id).await;
    let looked = gate.seen.lock().unwrap().looked["frames/000001.png"];
    assert!((1..400).contains(&looked), "after {looked} iterations");
    assert_eq!(worker.meters.steps(), 800);
}

fn is_frame(location: &Path) -> bool {
    location.as_ref().starts_with("frames/")
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

#[async_trait]
impl ObjectStore for Gate {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        if is_frame(location) {
            {
                let mut seen = self.seen.lock().unwrap();
                seen.waiting += 1;
                seen.waited = seen.waited.max(seen.waiting);
            }
            let _ = self.open.subscribe().wait_for(|open| *open).await;
            let mut seen = self.seen.lock().unwrap();
            seen.waiting -= 1;
            *seen.writes.entry(location.to_string()).or_default() += 1;
        }
        self.objects.put_opts(location, payload, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if is_frame(location) {
            let steps = self.meters.get().map_or(0, |meters| meters.steps());
            let mut seen = self.seen.lock().unwrap();
            seen.looked.entry(location.to_string()).or_insert(steps);
        }
        self.objects.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.objects.get_ranges(location, ranges).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}
