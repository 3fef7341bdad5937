//! Whose turn it is.

use super::*;
use Dependency::Independent;

async fn turns(s: &Subject<'_>, worker: &WorkerInfo, count: usize) -> Vec<JobId> {
    let mut jobs = Vec::new();
    for _ in 0..count {
        jobs.push(s.lease_as(worker, 1).await[0].task.job);
    }
    jobs
}

pub async fn priority_goes_first(s: &Subject<'_>) {
    let low = s.submit(1, "ann", &[(9, Independent)]).await;
    let mut urgent = job(2, "ann", &[(9, Independent)]);
    urgent.priority = 5;
    let urgent = s.submit_with(urgent).await;
    assert_eq!(turns(s, &info("w"), 2).await, [urgent, urgent]);
    s.queue.set_priority(low, 6).await.expect("set");
    assert_eq!(turns(s, &info("w"), 2).await, [low, low]);
    assert_eq!(s.queue.job(low).await.expect("the job").priority, 6);
}

pub async fn users_share_fairly(s: &Subject<'_>) {
    let ann = s.submit(1, "ann", &[(99, Independent)]).await;
    assert_eq!(turns(s, &info("w"), 9).await, [ann; 9]);
    let bob = s.submit(2, "bob", &[(99, Independent)]).await;
    s.submit(3, "ann", &[(99, Independent)]).await;
    let turns = turns(s, &info("w"), 20).await;
    let bobs = turns.iter().filter(|job| **job == bob).count();
    assert_eq!(bobs, 10, "the user counts, not the number of jobs, nor the past: {turns:?}");
}

pub async fn loaded_models_are_preferred(s: &Subject<'_>) {
    let needing = |number, user, model: &str| {
        let mut submission = job(number, user, &[(999, Independent)]);
        submission.layers[0].needs.models.insert(model.into());
        submission
    };
    let coco = s.submit_with(needing(1, "ann", "coco")).await;
    let faces = s.submit_with(needing(2, "bob", "faces")).await;
    let mut worker = info("w");
    worker.loaded.insert("faces".into());
    assert_eq!(turns(s, &worker, 4).await, [faces; 4], "no model is unloaded for one turn");
    let turns = turns(s, &worker, 200).await;
    let coco = turns.iter().filter(|job| **job == coco).count();
    assert!((60..=140).contains(&coco), "in the long run it is fair: {coco} of 200");
}

pub async fn age_decides_last(s: &Subject<'_>) {
    let first = s.submit(9, "ann", &[(2, Independent)]).await;
    let second = s.submit(1, "ann", &[(2, Independent)]).await;
    assert_eq!(turns(s, &info("w"), 4).await, [first, first, second, second]);
}

pub async fn workers_get_only_what_fits(s: &Subject<'_>) {
    let mut submission = job(1, "ann", &[(9, Independent)]);
    submission.layers[0].needs.memory = 16 << 30;
    submission.layers[0].needs.tags = [tag("cuda")].into();
    let id = s.submit_with(submission).await;
    let mut worker = info("w");
    worker.memory = 80 << 30;
    assert_eq!(s.lease_as(&worker, 1).await, [], "the tag is missing");
    worker.tags = [tag("cuda"), tag("fast")].into();
    worker.memory = (16 << 30) - 1;
    assert_eq!(s.lease_as(&worker, 1).await, [], "the memory is too small");
    worker.memory = 16 << 30;
    assert_eq!(turns(s, &worker, 1).await, [id]);
}
