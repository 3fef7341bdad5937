//! Workers of a farm: what they render, adopt, refuse and hand back.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod films;
mod gate;
mod ground;

use std::collections::BTreeMap;
use std::path::Path;

use tokio::sync::watch;
use vqfarm_core::event::Event as Progress;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_queue::{Event, JobState, Queue, Restoration, Standing};
use vqfarm_storage::JobStore;
use vqfarm_worker::batch_size::Asked;
use vqfarm_worker::run::Told;
use vqfarm_worker::standalone::{self, End, Request};
use vqfarm_worker::stop::Stop;

use ground::{Ground, event, frames, job, library};

/// The frames of a standalone render.
async fn standalone(job: Job, out: &Path) -> BTreeMap<String, Vec<u8>> {
    let request = Request {
        job,
        out: out.to_owned(),
        device: "cpu".into(),
        threads: 1,
        batch: Asked::Fixed(1),
        memory: None,
        library: library(),
        keep: Vec::new(),
    };
    let (_stop, stopped) = watch::channel(false);
    assert_eq!(standalone::render(request, &mut |_| (), stopped).await, End::Done);
    frames(&JobStore::folder(out).unwrap()).await
}

fn leased(event: &Event) -> Option<()> {
    matches!(event, Event::Leased { .. }).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_make_what_a_standalone_render_makes() {
    let ground = Ground::new().await;
    let (id, store) = ground.submit(job(5, 3)).await;
    let workers = [ground.worker("one", 2), ground.worker("two", 2)];
    ground.done(id).await;
    let steps: u64 = workers.iter().map(|worker| worker.meters.steps()).sum();
    assert_eq!(steps, 15);
    for worker in workers {
        worker.brake.raise(Stop::Finish);
        worker.end().await;
    }
    let alone = standalone(job(5, 3), &ground.folder.path().join("alone")).await;
    assert_eq!(alone.len(), 5);
    assert!(frames(&store).await == alone, "other pictures than alone");
    for key in [keys::CONTACT_SHEET, keys::GALLERY, keys::SCORES] {
        assert!(store.size(key).await.unwrap().is_some(), "{key}");
    }
    // Two models, fetched once, and what is remembered of each.
    assert_eq!(std::fs::read_dir(ground.cache()).unwrap().count(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_frames_are_adopted_and_damaged_ones_rendered_again() {
    let ground = Ground::new().await;
    let alone = standalone(job(3, 3), &ground.folder.path().join("alone")).await;
    let (id, store) = ground.submit(job(3, 3)).await;
    let whole = alone["000000.png"].clone();
    let cut = alone["000001.png"][..400].to_vec();
    store.create(&keys::frame(0), whole.into()).await.unwrap();
    store.create(&keys::frame(1), cut.into()).await.unwrap();
    let worker = ground.worker("one", 8);
    ground.done(id).await;
    assert_eq!(worker.meters.steps(), 6, "two of three are rendered");
    assert!(frames(&store).await == alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_another_job_is_never_touched() {
    let ground = Ground::new().await;
    let other = standalone(job(1, 2), &ground.folder.path().join("other")).await;
    let (id, store) = ground.submit(job(2, 3)).await;
    store.create(&keys::frame(0), other["000000.png"].clone().into()).await.unwrap();
    let _worker = ground.worker("one", 8);
    assert_eq!(ground.over(id).await.state, JobState::Failed);
    let errors = ground.errors(id).await;
    assert!(errors[0].contains("frames/000000.png holds a frame of another job"), "{errors:?}");
    let frames = frames(&store).await;
    assert_eq!(frames["000000.png"], other["000000.png"]);
    assert!(frames.contains_key("000001.png"), "the others are rendered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_tampered_with_is_not_rendered() {
    let ground = Ground::new().await;
    let mut record = ground.record(job(1, 3));
    record.spec.render.iterations = 4;
    let store = ground.store(&record).await;
    ground.queue.submit(&Ground::submission(&record)).await.unwrap();
    let worker = ground.worker("one", 8);
    assert_eq!(ground.over(record.id).await.state, JobState::Failed);
    let errors = ground.errors(record.id).await;
    assert!(errors[0].contains("job.json") && errors[0].contains("spec hash"), "{errors:?}");
    assert_eq!((worker.meters.steps(), frames(&store).await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_not_those_of_the_job_are_refused_by_name() {
    let ground = Ground::new().await;
    let mut record = ground.record(job(1, 3));
    let wrong = "ab".repeat(32);
    ground.storage.replace(&keys::model(&wrong), "no weights".into()).await.unwrap();
    record.models.insert("demo-f8".into(), wrong.clone());
    ground.store(&record).await;
    ground.queue.submit(&Ground::submission(&record)).await.unwrap();
    let (good, _) = ground.submit(job(1, 3)).await;
    let _worker = ground.worker("one", 1);
    assert_eq!(ground.over(record.id).await.state, JobState::Failed);
    let errors = ground.errors(record.id).await;
    assert!(errors[0].contains("`demo-f8`") && errors[0].contains(&wrong), "{errors:?}");
    ground.done(good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_keep_models_leaves_the_task_to_another() {
    let ground = Ground::new().await;
    let file = ground.folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let mut events = ground.queue.events();
    let _bad = ground.worker_with("bad", 1, file.join("models"));
    let (id, _) = ground.submit(job(1, 3)).await;
    let message = event(&mut events, |event| match event {
        Event::Failed { message, .. } => Some(message.clone()),
        _ => None,
    });
    let message = message.await;
    assert!(message.contains(&file.display().to_string()), "{message}");
    let _good = ground.worker("good", 1);
    ground.done(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_leaves_after_its_batch_and_hands_the_next_one_back() {
    let ground = Ground::new().await;
    let mut events = ground.queue.events();
    let (id, store) = ground.submit(job(6, 10)).await;
    let worker = ground.worker("one", 2);
    event(&mut events, leased).await;
    ground.queue.drain(&"one".parse().unwrap(), true).await.unwrap();
    worker.end().await;
    let counts = ground.queue.job(id).await.unwrap().layers[0].counts;
    assert_eq!((counts.leased, counts.failed), (0, 0), "{counts:?}");
    assert!(counts.done < 6, "{counts:?}");
    assert_eq!(frames(&store).await.len() as u64, counts.done, "what is stored is committed");
    ground.queue.drain(&"one".parse().unwrap(), false).await.unwrap();
    let _next = ground.worker("one", 2);
    ground.done(id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_in_a_hurry_hands_everything_back() {
    let ground = Ground::new().await;
    let mut events = ground.queue.events();
    let (id, store) = ground.submit(job(4, 100_000)).await;
    let mut worker = ground.worker("one", 2);
    event(&mut events, leased).await;
    // It has begun to render.
    worker.told.recv().await.unwrap();
    worker.brake.raise(Stop::Now);
    worker.end().await;
    let counts = ground.queue.job(id).await.unwrap().layers[0].counts;
    assert_eq!((counts.done, counts.leased, counts.ready), (0, 0, 4), "{counts:?}");
    assert_eq!(frames(&store).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_dropped_in_the_middle() {
    let ground = Ground::new().await;
    let (id, _) = ground.submit(job(2, 100_000)).await;
    let mut worker = ground.worker("one", 2);
    worker.told.recv().await.unwrap();
    ground.queue.cancel(id).await.unwrap();
    // The lane is free again.
    let (next, _) = ground.submit(job(1, 3)).await;
    ground.done(next).await;
    assert_eq!(ground.queue.job(id).await.unwrap().state, JobState::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_lost_its_memory_costs_no_frame() {
    let ground = Ground::new().await;
    let record = ground.record(job(4, 20));
    let store = ground.store(&record).await;
    let submission = Ground::submission(&record);
    ground.queue.submit(&submission).await.unwrap();
    let mut worker = ground.worker("one", 2);
    // Rendering has begun.
    worker.told.recv().await.unwrap();
    ground.queue.lose();
    assert_eq!(ground.queue.epoch().await.unwrap(), None);
    // The worker finishes what it has while nobody answers.
    tokio::time::timeout(std::time::Duration::from_secs(120), async {
        while frames(&store).await.len() < 2 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the frames in work are stored");
    let restoration =
        Restoration { submitted: record.submitted, standing: Standing::Active, submission };
    assert!(ground.queue.restore(&restoration).await.unwrap());
    ground.queue.open().await.unwrap();
    ground.done(record.id).await;
    assert_eq!(frames(&store).await.len(), 4);
    let mut adopted = 0;
    while let Ok(told) = worker.told.try_recv() {
        adopted += u32::from(
            matches!(told, Told::Event(event) if matches!(*event, Progress::Frame { adopted: true, .. })),
        );
    }
    assert!(adopted >= 2, "what was stored is adopted, not rendered again");
}
