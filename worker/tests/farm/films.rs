//! Films on a farm: chains, keyframes, and what happens when pictures of theirs are lost.

use serde_json::{Value, json};
use vqfarm_core::event::Event as Progress;
use vqfarm_core::id::JobId;
use vqfarm_core::job::Job;
use vqfarm_core::keys;
use vqfarm_core::plan::Plan;
use vqfarm_queue::{Queue, Retry};
use vqfarm_worker::run::Told;
use vqfarm_worker::stop::Stop;

use crate::ground::{Ground, frames, job};
use crate::standalone;

fn film(animation: Value) -> Job {
    Job {
        animation: serde_json::from_value(animation).unwrap(),
        sweep: None,
        output: serde_json::from_value(json!({ "video": { "codec": "gif" } })).unwrap(),
        ..job(1, 2)
    }
}

fn zoom(rounds: u32, refine: u32) -> Job {
    let zoom = json!({
        "frames_per_step": 15, "rounds": rounds, "round_iterations": 2, "refine": refine,
    });
    film(json!({ "mode": "zoom", "frames": 30, "zoom": zoom }))
}

/// A chain of 12 frames in segments of four.
fn chain(optimizer: &str) -> Job {
    let motion = json!({ "zoom": 1.05, "iterations": 2, "step_size": 0.5 });
    let feedback = json!({ "segment": 4, "optimizer": optimizer });
    film(json!({ "mode": "feedback", "frames": 12, "motion": motion, "feedback": feedback }))
}

/// Lets the task be done over.
async fn again(ground: &Ground, id: JobId, (layer, index): (u8, u64)) {
    let which = Retry::Tasks { layer, indices: vec![index] };
    assert_eq!(ground.queue.retry(id, &which).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_leased_together_are_made_one_after_the_other() {
    let ground = Ground::new().await;
    let (id, store) = ground.submit(zoom(1, 1)).await;
    let _worker = ground.worker("one", 8);
    ground.done(id).await;
    let alone = standalone(zoom(1, 1), &ground.folder.path().join("alone")).await;
    assert_eq!(alone.len(), 30);
    assert!(frames(&store).await == alone);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_keyframes_are_made_again_by_whoever_needs_them() {
    let ground = Ground::new().await;
    let film = zoom(2, 0);
    let plan = Plan::new(&film).unwrap();
    let (id, store) = ground.submit(film).await;
    let worker = ground.worker("one", 4);
    ground.done(id).await;
    let whole = frames(&store).await;
    let (steps, keyframes) = (worker.meters.steps(), plan.layers[0].tasks);
    assert_eq!(steps, 2 * 2 * keyframes);

    // A keyframe of the last round, where a frame is composed anew.
    let last = "work/keyframes-2/000001.png";
    let kept = store.get(last).await.unwrap().unwrap();
    store.replace(last, kept.slice(..200)).await.unwrap();
    store.delete(&keys::frame(17)).await.unwrap();
    again(&ground, id, plan.maker(17).unwrap()).await;
    ground.done(id).await;
    assert!(frames(&store).await == whole);
    assert_eq!(store.get(last).await.unwrap().unwrap(), kept);
    assert_eq!(worker.meters.steps(), steps + 2, "one keyframe, and no more");

    // One of the first round, where one of the last is made anew.
    store.delete("work/keyframes-1/000000.png").await.unwrap();
    store.delete(last).await.unwrap();
    again(&ground, id, plan.keyframe_maker(1, 1).unwrap()).await;
    ground.done(id).await;
    assert_eq!(store.get(last).await.unwrap().unwrap(), kept);
    assert_eq!(worker.meters.steps(), steps + 2 + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_frame_that_a_segment_starts_from_is_made_again() {
    let ground = Ground::new().await;
    let film = chain("reset");
    let plan = Plan::new(&film).unwrap();
    let (id, store) = ground.submit(film).await;
    let worker = ground.worker("one", 1);
    ground.done(id).await;
    let (whole, steps) = (frames(&store).await, worker.meters.steps());
    store.replace(&keys::frame(3), "no picture".into()).await.unwrap();
    store.delete(&keys::frame(4)).await.unwrap();
    again(&ground, id, plan.maker(4).unwrap()).await;
    ground.done(id).await;
    assert!(frames(&store).await == whole);
    assert_eq!(worker.meters.steps(), steps + 4, "two frames of two iterations");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optimiser_that_is_kept_goes_on_to_the_bit_wherever_the_chain_breaks() {
    let ground = Ground::new().await;
    let alone = standalone(chain("keep"), &ground.folder.path().join("alone")).await;
    let reset = standalone(chain("reset"), &ground.folder.path().join("reset")).await;
    assert_eq!(alone.len(), 12);
    let pixels = |frame: &[u8]| image::load_from_memory(frame).unwrap().to_rgb8();
    assert!(pixels(&alone["000000.png"]) == pixels(&reset["000000.png"]));
    assert!(pixels(&alone["000011.png"]) != pixels(&reset["000011.png"]), "it is not kept");

    // A worker that leaves in the middle, and another one.
    let (id, store) = ground.submit(chain("keep")).await;
    let mut worker = ground.worker("one", 1);
    let mut made = 0;
    while made < 6 {
        let told = worker.told.recv().await.unwrap();
        made += u32::from(
            matches!(told, Told::Event(event) if matches!(*event, Progress::Frame { .. })),
        );
    }
    worker.brake.raise(Stop::Now);
    worker.end().await;
    let stored = frames(&store).await.len();
    assert!((6..12).contains(&stored), "{stored} frames: it was to leave in the middle");
    let worker = ground.worker("two", 1);
    ground.done(id).await;
    assert!(frames(&store).await == alone);

    // Frames in the middle of a segment whose optimiser is past them.
    let plan = Plan::new(&chain("keep")).unwrap();
    let steps = worker.meters.steps();
    store.delete(&keys::frame(6)).await.unwrap();
    again(&ground, id, plan.maker(6).unwrap()).await;
    ground.done(id).await;
    assert!(frames(&store).await == alone);
    assert_eq!(worker.meters.steps(), steps + 6, "from the segment's beginning, frame 4");

    // Nothing is known of the optimiser any more: all of the shot is gone through.
    let layer = &plan.layers[0].name;
    for segment in 0..3 {
        store.delete(&keys::work(layer, segment, "safetensors")).await.unwrap();
    }
    store.delete(&keys::frame(9)).await.unwrap();
    again(&ground, id, plan.maker(9).unwrap()).await;
    ground.done(id).await;
    assert!(frames(&store).await == alone);
    assert_eq!(worker.meters.steps(), steps + 6 + 20);
}
