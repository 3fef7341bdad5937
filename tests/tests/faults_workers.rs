//! Workers die, freeze, leave and meet poison: no frame is lost, none is made twice.
//! The numbers are those of the table in `docs/reliability.md`.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use vqfarm_tests::farm::{FRAMES, Farm, Setup, Submitted, Worker, film, sweep, until};

/// Two workers and a job of one task: the one that has it, the idle one, and the job.
fn one_at_work(farm: &Farm) -> (Worker, Worker, Submitted) {
    let (one, two) = (farm.worker("one", &[]), farm.worker("two", &[]));
    let job = farm.submit(&sweep(1, LONG), 1);
    let task = until("a worker has the task", || {
        farm.tasks(job.id).into_iter().find(|task| task["state"] == "leased")
    });
    if task["worker"] == one.name { (one, two, job) } else { (two, one, job) }
}

/// Iterations for a second or so.
const LONG: u32 = 40;

/// Some seconds are promised beyond a lease.
const GRACE: Duration = Duration::from_secs(5);

/// Waits until another attempt at a task is leased; answers with its worker and number.
fn leased_again(farm: &Farm, job: vqfarm_core::id::JobId, index: u64) -> (String, u64) {
    until("the task is leased again", || {
        let tasks = farm.tasks(job);
        let task = tasks.iter().find(|task| {
            task["index"] == index && task["layer"] == "render" && task["state"] == "leased"
        })?;
        let attempt = task["attempt"].as_u64()?;
        (attempt > 1).then(|| (task["worker"].as_str().unwrap_or_default().to_owned(), attempt))
    })
}

#[test]
fn f01_a_killed_workers_task_is_leased_again_in_time() {
    let farm = Farm::new(Setup::default());
    let (mut busy, idle, job) = one_at_work(&farm);
    // It cannot finish between the look and the kill.
    busy.process.freeze();
    farm.wait_for_lease(job.id, "render", &busy.name);
    let killed = Timestamp::now();
    busy.process.kill();
    assert_eq!(leased_again(&farm, job.id, 0), (idle.name.clone(), 2));
    farm.prove(&job);
    // The worker's own word: a look from outside comes later.
    let attempts = farm.stored.attempts(job.id, "render", 0);
    let (_, log) = attempts.iter().find(|(attempt, _)| *attempt == 2).expect("its log");
    let leased = log.split(' ').next().expect("a line begins with its time");
    let leased: Timestamp = leased.parse().expect("a time");
    let took = leased.duration_since(killed);
    let promised = SignedDuration::try_from(farm.lease() + GRACE).expect("some seconds");
    assert!(took <= promised, "it took {took:?}");
}

#[test]
fn f01_frames_stored_before_a_kill_are_not_rendered_again() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, LONG), 4);
    farm.wait_for_count(job.id, "render", "done", 2);
    one.process.freeze();
    one.process.kill();
    let before = farm.stored.written(job.id);
    assert!((2..4).contains(&before.len()), "the fault came in time: {}", before.len());
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
    let after = farm.stored.written(job.id);
    assert!(before.iter().all(|(name, time)| after[name] == *time), "stored frames stay");
}

#[test]
fn f02_a_frame_stored_and_not_committed_is_adopted() {
    use vqfarm_testing::proxy::Fault;
    let farm = Farm::new(Setup::with_s3());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, LONG), 1);
    farm.wait_for_lease(job.id, "render", "one");
    // From here on the queue hears nothing of this worker, least of all its commit.
    one.wires.redis().set(Fault::BlackHole);
    let stored = until("the frame is stored", || farm.stored.get(job.id, "frames/000000.png"));
    one.wires.redis().wait_until_fired(1);
    one.process.kill();
    assert_eq!(farm.count(job.id, "render", "done"), 0, "the fault fired");

    let _two = farm.worker("two", &[]);
    farm.prove(&job);
    assert_eq!(farm.stored.get(job.id, "frames/000000.png"), Some(stored));
    let attempts = farm.stored.attempts(job.id, "render", 0);
    let (last, log) = attempts.last().expect("an attempt's log");
    assert!(*last > 1 && log.contains("stored already"), "attempt {last}: {log}");
}

#[test]
fn f02_a_frame_stored_before_its_optimiser_is_made_once_more() {
    use vqfarm_testing::proxy::Fault;
    let farm = Farm::new(Setup::with_s3());
    let mut one = farm.worker("one", &[]);
    // One shot, in segments of three frames.
    let toml = film(LONG)
        .replace("6 = { prompt = \"a blue sea\", cut = true }\n", "")
        .replace("segment = 3", "segment = 3\noptimizer = \"keep\"");
    let job = farm.submit(&toml, FRAMES);
    let layer = farm.job(job.id)["layers"][0]["name"].as_str().expect("a name").to_owned();
    let memory = format!("work/{layer}/000000.safetensors");
    let remembers = |frame: u32| {
        let bytes = farm.stored.get(job.id, &memory)?;
        let said = format!("\"frame\":\"{frame}\"");
        String::from_utf8_lossy(&bytes).contains(&said).then_some(())
    };
    until("the optimiser is stored after frame 1", || remembers(1));
    assert!(farm.stored.get(job.id, "frames/000002.png").is_none(), "the fault comes in time");
    one.wires.s3().set(Fault::Status(503, b"000000.safetensors".to_vec()));
    let stored = until("the segment's last frame", || farm.stored.get(job.id, "frames/000002.png"));
    one.wires.s3().wait_until_fired(1);
    one.process.kill();
    assert_eq!(remembers(1), Some(()), "what follows from frame 2 is not stored");

    let _two = farm.worker("two", &[]);
    farm.prove(&job);
    assert_eq!(farm.stored.get(job.id, "frames/000002.png"), Some(stored));
}

#[test]
fn f03_a_worker_frozen_past_its_lease_is_refused() {
    let farm = Farm::new(Setup::default());
    let (mut busy, idle, job) = one_at_work(&farm);
    busy.process.freeze();
    farm.wait_for_lease(job.id, "render", &busy.name);
    let mark = busy.process.mark();
    assert_eq!(leased_again(&farm, job.id, 0).0, idle.name);
    busy.process.thaw();
    // By a heartbeat's answer, or by the commit's if that comes first.
    busy.process.wait_for_line(mark, &["lease", "is over", "index=0 attempt=1"]);
    farm.prove(&job);
    assert!(busy.process.ended().is_none(), "the worker goes on");
    let next = farm.submit(&sweep(2, 5), 2);
    farm.prove(&next);
}

#[test]
fn f04_an_old_attempt_is_refused_though_the_same_worker_has_the_task_again() {
    let farm = Farm::new(Setup::default());
    let mut old = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, LONG), 1);
    farm.wait_for_lease(job.id, "render", "one");
    old.process.freeze();
    farm.wait_for_lease(job.id, "render", "one");
    let mark = old.process.mark();
    // The same worker to the queue: only the attempt and its token tell them apart.
    let _new = farm.worker("one", &[]);
    let (worker, attempt) = leased_again(&farm, job.id, 0);
    assert_eq!((worker.as_str(), attempt), ("one", 2));
    old.process.thaw();
    old.process.wait_for_line(mark, &["lease", "is over", "index=0 attempt=1"]);
    farm.prove(&job);
}

#[test]
fn f05_a_terminated_worker_hands_back_and_leaves_in_order() {
    let farm = Farm::new(Setup { lease: 60.0, ..Setup::default() });
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, LONG), 4);
    farm.wait_for_lease(job.id, "render", "one");
    let asked = Instant::now();
    one.process.signal(Signal::TERM);
    let ended = one.process.wait();
    assert_eq!(ended.code(), Some(0), "{ended}");
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    // Nothing waits for a lease of a minute to run out.
    assert_eq!(farm.count(job.id, "render", "leased"), 0, "everything was handed back");
    assert!(farm.count(job.id, "render", "done") < 4, "the fault came in time");
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
}

/// Processor time of a worker's lanes, in hundredths of a second.
fn lane_ticks(worker: &Worker) -> u64 {
    let threads = format!("/proc/{}/task", worker.process.pid().as_raw_nonzero());
    let threads = std::fs::read_dir(threads).into_iter().flatten().flatten();
    let stats =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    let lanes = stats.filter(|stat| stat.contains("(lane-"));
    // In user mode: the twelfth field after the name.
    lanes.filter_map(|stat| stat.rsplit(") ").next()?.split(' ').nth(11)?.parse::<u64>().ok()).sum()
}

#[test]
fn f05_a_worker_that_is_told_twice_leaves_at_once() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(1, 10 * LONG), 1);
    until("its lane computes", || (lane_ticks(&one) > 50).then_some(()));
    let mark = one.process.mark();
    one.process.signal(Signal::TERM);
    one.process.wait_for_line(mark, &["stopping"]);
    one.process.signal(Signal::TERM);
    let ended = one.process.wait();
    // As a shell says it; no crash of a thread that still computed.
    assert_eq!(ended.code(), Some(143), "{ended}");
    assert_eq!(farm.count(job.id, "render", "leased"), 1, "nothing was handed back");
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
}

#[test]
fn f13_a_workers_wrong_clock_changes_no_lease() {
    let farm = Farm::new(Setup { lease: 6.0, ..Setup::default() });
    let clock = farm.shifted_clock();
    let wrong = |name: &str, seconds: &str| {
        farm.worker_with(name, &["--log-format", "json"], |command| {
            command.env("LD_PRELOAD", &clock).env("CLOCK_SHIFT", seconds);
        })
    };
    let fast = wrong("fast", "3600");
    let slow = wrong("slow", "-3600");
    // Longer than a lease, so that heartbeats count.
    let job = farm.submit(&sweep(6, 2 * LONG), 6);
    farm.prove(&job);
    for (worker, shift) in [(&fast, 3600.0), (&slow, -3600.0)] {
        let off = seconds_off(&worker.process.log());
        assert!((off - shift).abs() < 300.0, "the clock of {} is off by {off} s", worker.name);
    }
    for index in 0..6 {
        let attempts = farm.stored.attempts(job.id, "render", index);
        assert_eq!(attempts.len(), 1, "no lease of task {index} ended early");
    }
}

/// How far the times in a log in JSON are from this process's clock.
fn seconds_off(log: &str) -> f64 {
    let line =
        log.lines().find(|line| line.contains("\"timestamp\"")).expect("a line with its time");
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    let time: Timestamp = line["timestamp"].as_str().expect("text").parse().expect("a time");
    time.duration_since(Timestamp::now()).as_secs_f64()
}

#[test]
fn f18_a_job_waits_for_workers_that_have_gone_and_resumes() {
    let farm = Farm::new(Setup::default());
    let mut one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, LONG), 4);
    farm.wait_for_count(job.id, "render", "done", 1);
    one.process.kill();
    let why = until("the job says that there is no worker", || {
        farm.why(job.id).into_iter().find(|why| why["kind"] == "no_workers")
    });
    assert_eq!(why["remedy"], "start one: vqfarm-worker run");
    assert_ne!(farm.state(job.id), "done");
    farm.audit();
    let _two = farm.worker("two", &[]);
    farm.prove(&job);
}
