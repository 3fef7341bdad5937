//! How films scale: a plan's tasks leased and done by simulated workers, event by event, on a
//! clock that is turned by hand, beside what `vqfarm plan` says of them beforehand.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use vqfarm_core::clock::{Clock, ManualClock, Timestamp};
use vqfarm_core::cost::{cost, makespan};
use vqfarm_core::file::{Document, Limits};
use vqfarm_core::id::{JobId, JobName, RequestId, TaskId, UserName, WorkerId};
use vqfarm_core::plan::{Content, Plan, TaskSpec};
use vqfarm_queue::{
    JobState, LayerSpec, LeaseAnswer, MemoryQueue, Needs, Policy, Queue, Submission, Ticket,
    WorkerInfo,
};

/// How long an iteration takes.
const ITERATION: Duration = Duration::from_millis(100);
const WORKERS: [u64; 7] = [1, 2, 4, 8, 16, 32, 64];

const ZOOM: &str = "[animation]\nmode = \"zoom\"\nframes = 480\n";
const REFINED: &str =
    "[animation]\nmode = \"zoom\"\nframes = 480\n[animation.zoom]\nrefine = 5\nrounds = 4\n";
const FEEDBACK: &str = "[animation]\nmode = \"feedback\"\nframes = 480\n";

fn plan(film: &str) -> Plan {
    let text = format!("version = 1\n[render]\nprompt = \"a\"\niterations = 100\n{film}");
    let document = Document::parse("job.toml", text.as_bytes()).unwrap();
    Plan::new(&document.job(Limits::default(), |_| Ok(Vec::new())).unwrap()).unwrap()
}

/// The feedback film with a cut every 120 frames.
fn shots() -> String {
    let cut = |n| format!("{} = {{ prompt = \"shot {n}\", cut = true }}\n", n * 120);
    format!("{FEEDBACK}[animation.prompts]\n0 = \"a\"\n{}{}{}", cut(1), cut(2), cut(3))
}

/// The iterations that a worker has to do for a task. Composing and stitching are as nothing.
fn iterations(plan: &Plan, task: TaskId) -> u64 {
    let Content::Film(film) = &plan.content else { panic!("a film") };
    let composed = plan.handing_on().next().is_some() && film.animation().zoom.refine == 0;
    match plan.task(task.layer, task.index).unwrap() {
        TaskSpec::Keyframe { round, index } => {
            film.keyframe(round, index).unwrap().iterations.into()
        }
        TaskSpec::Segment(_) if composed => 0,
        TaskSpec::Segment(frames) => {
            frames.map(|frame| u64::from(plan.settings(frame).unwrap().iterations)).sum()
        }
        TaskSpec::Frame(frame) => plan.settings(frame).unwrap().iterations.into(),
        TaskSpec::Stitch => 0,
        TaskSpec::Cell(_) | TaskSpec::Preview { .. } | TaskSpec::Choose { .. } => {
            panic!("a film has no cells")
        }
    }
}

/// A farm's queue with one job, and workers that lease a task at a time.
struct Farm<'a> {
    plan: &'a Plan,
    clock: Arc<ManualClock>,
    queue: MemoryQueue,
    job: JobId,
    idle: BTreeSet<u64>,
    /// Who will have done what, and when.
    busy: BinaryHeap<Reverse<(Timestamp, u64, Work)>>,
}

/// Ordered by its task, so that events at the same moment have an order.
struct Work(Ticket);

impl PartialEq for Work {
    fn eq(&self, other: &Self) -> bool {
        self.0.task == other.0.task
    }
}

impl Eq for Work {}

impl PartialOrd for Work {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Work {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.task.layer, self.0.task.index).cmp(&(other.0.task.layer, other.0.task.index))
    }
}

impl Farm<'_> {
    async fn new(plan: &Plan, workers: u64) -> Farm<'_> {
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        // Simulated workers send no heartbeats.
        let policy = Policy { lease: Duration::from_secs(86_400), ..Policy::default() };
        let queue = MemoryQueue::new(policy, clock.clone(), 1);
        let layers = plan.layers.iter().map(|layer| LayerSpec {
            name: layer.name.clone(),
            tasks: layer.tasks,
            dependency: layer.dependency,
            needs: Needs::default(),
        });
        let submission = Submission {
            request: RequestId::generate(),
            job: JobId::generate(),
            name: JobName::default(),
            user: UserName::new("anna").unwrap(),
            priority: 0,
            layers: layers.collect(),
            done: Vec::new(),
        };
        let job = queue.submit(&submission).await.unwrap();
        Farm { plan, clock, queue, job, idle: (0..workers).collect(), busy: BinaryHeap::new() }
    }

    /// Every idle worker asks for work.
    async fn lease(&mut self) {
        for worker in self.idle.clone() {
            let info = WorkerInfo {
                id: WorkerId::new(format!("worker-{worker}")).unwrap(),
                tags: BTreeSet::new(),
                memory: 0,
                loaded: BTreeSet::new(),
                busy: None,
                disk: None,
            };
            let answer = self.queue.lease(&RequestId::generate(), &info, 1).await.unwrap();
            let LeaseAnswer::Work(lease) = answer else { continue };
            let [ticket] = lease.tickets[..] else { panic!("one task at a time: {lease:?}") };
            let takes = ITERATION * iterations(self.plan, ticket.task) as u32;
            self.idle.remove(&worker);
            self.busy.push(Reverse((self.clock.now().after(takes), worker, Work(ticket))));
        }
    }

    /// Works until the job is done, and says how long that took, in iterations.
    async fn run(mut self) -> u64 {
        let begin = self.clock.now();
        self.lease().await;
        while let Some(Reverse((end, worker, Work(ticket)))) = self.busy.pop() {
            self.clock.advance(end.since(self.clock.now()));
            self.queue.commit(&ticket).await.unwrap();
            self.idle.insert(worker);
            self.lease().await;
        }
        assert_eq!(self.queue.job(self.job).await.unwrap().state, JobState::Done);
        (self.clock.now().since(begin).as_millis() / ITERATION.as_millis()) as u64
    }
}

async fn simulated(plan: &Plan, workers: u64) -> u64 {
    Farm::new(plan, workers).await.run().await
}

#[tokio::test]
async fn a_zoom_of_480_frames_scales_as_its_plan_says() {
    let chain = cost(&plan(FEEDBACK)).unwrap().critical_path_iterations;
    for film in [ZOOM, REFINED] {
        let plan = plan(film);
        let cost = cost(&plan).unwrap();
        let path = cost.critical_path_iterations;
        assert!(path * 10 <= chain, "{path} of {chain}");
        let mut last = u64::MAX;
        for workers in WORKERS {
            let (took, said) = (simulated(&plan, workers).await, makespan(&plan, workers).unwrap());
            println!("{workers:>3} workers: {took} iterations, {said} as planned");
            assert!(
                took.abs_diff(said) * 100 <= said * 3,
                "{workers} workers: {took}, {said} said"
            );
            assert!(took >= path.max(cost.total_iterations.div_ceil(workers)));
            assert!(took <= last, "{workers} workers are slower than half as many");
            last = took;
        }
        assert_eq!(simulated(&plan, 1).await, cost.total_iterations);
        assert!(last * 10 <= chain, "64 workers: {last} of {chain}");
    }
}

#[tokio::test]
async fn a_chain_is_as_slow_for_many_workers_and_its_shots_are_not() {
    let (chain, shots) = (plan(FEEDBACK), plan(&shots()));
    let total = cost(&chain).unwrap().total_iterations;
    for workers in WORKERS {
        assert_eq!(simulated(&chain, workers).await, total);
        let (took, said) = (simulated(&shots, workers).await, makespan(&shots, workers).unwrap());
        assert!(took.abs_diff(said) * 100 <= said * 3, "{workers} workers: {took}, {said} said");
    }
    let cost = cost(&shots).unwrap();
    let (one, four) = (simulated(&shots, 1).await, simulated(&shots, 4).await);
    assert_eq!((one, four), (cost.total_iterations, cost.total_iterations / 4));
    assert_eq!(simulated(&shots, 64).await, four, "there are no more than four shots");
}
