//! What a queue tells of itself.

use super::*;
use Dependency::{All, Chain, Independent, Neighbours};

pub async fn what_waits_is_ready_or_blocked(s: &Subject<'_>) {
    let mut submission = job(1, "ann", &[(4, Chain), (4, Neighbours), (2, All), (1, Independent)]);
    submission.layers[0].needs.memory = 1 << 30;
    submission.layers[0].needs.models.insert("ViT-B/32".into());
    let needs = submission.layers[0].needs.clone();
    let id = s.submit_with(submission).await;
    let waiting = async || -> Vec<(u64, u64)> {
        let job = s.queue.job(id).await.expect("the job");
        job.layers.iter().map(|layer| (layer.counts.ready, layer.counts.blocked)).collect()
    };
    assert_eq!(waiting().await, [(1, 3), (0, 4), (0, 2), (1, 0)]);
    let layers = s.queue.job(id).await.expect("the job").layers;
    assert_eq!((layers[0].dependency, &layers[0].needs), (Chain, &needs));
    assert_eq!(layers[1].name, "layer1");
    let mut big = info("w");
    big.memory = 1 << 30;
    s.commit(&s.lease_as(&big, 1).await[0]).await;
    let segment = s.lease_as(&big, 2).await;
    assert_eq!(waiting().await, [(0, 2), (0, 4), (0, 2), (0, 0)]);
    s.commit(&segment[0]).await;
    assert_eq!(waiting().await, [(0, 2), (0, 4), (0, 2), (0, 0)]);
    s.commit(&segment[1]).await;
    assert_eq!(waiting().await, [(1, 1), (1, 3), (0, 2), (0, 0)]);
    s.queue.pause(id).await.expect("paused");
    assert_eq!(waiting().await, [(1, 1), (1, 3), (0, 2), (0, 0)]);
    s.queue.cancel(id).await.expect("cancelled");
    assert_eq!(waiting().await, [(0, 0); 4]);
}

pub async fn tasks_come_in_pages(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(40, Independent), (3, Independent)]).await;
    s.lease("w", 3).await;
    let tickets = s.lease("w", 30).await;
    let hopeless = Failure { message: "x".into(), retryable: false };
    for ticket in &tickets[10..20] {
        s.queue.fail(ticket, &hopeless).await.expect("failed");
    }
    let delayed = s.fail(&tickets[20]).await;
    let told = async |which: Tasks| s.queue.tasks(id, &which).await.expect("tasks");
    let all = told(Tasks::default()).await;
    assert_eq!(all.len(), 33);
    assert!(all.is_sorted_by_key(|task| task.task));
    let failed = told(Tasks { only: Some(TaskKind::Failed), ..Tasks::default() }).await;
    let numbers: Vec<u64> = failed.iter().map(|task| task.task.index).collect();
    assert_eq!(numbers, (10..20).collect::<Vec<_>>());
    let Failed::Retry(until) = delayed else { panic!("it is tried again") };
    let waits = told(Tasks { only: Some(TaskKind::Delayed), ..Tasks::default() }).await;
    assert_eq!(waits.len(), 1);
    assert_eq!(waits[0].state, TaskState::Delayed { until });
    let mut paged = Vec::new();
    loop {
        let last = paged.last().map(|task: &TaskSnapshot| (task.task.layer, task.task.index));
        let page = told(Tasks { after: last, most: 7, only: None }).await;
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
}

pub async fn done_tasks_are_counted_by_parts(s: &Subject<'_>) {
    // Larger than what one piece of a bitmap holds.
    let mut large = job(1, "ann", &[(100_000, Independent), (2, All)]);
    large.done = vec![(0, 65_530..65_550)];
    let id = s.submit_with(large).await;
    for ticket in s.lease("w", 3).await {
        s.commit(&ticket).await;
    }
    let done = async |layer, each| {
        let each = NonZero::new(each).expect("at least one");
        s.queue.done(id, layer, each).await
    };
    assert_eq!(done(0, 40_000).await, Ok(vec![3, 20, 0]));
    assert_eq!(done(0, 65_539).await, Ok(vec![3 + 9, 11]));
    assert_eq!(done(0, 1).await.expect("counted").iter().sum::<u64>(), 23);
    assert_eq!(done(1, 100).await, Ok(vec![0]));
    let none = QueueError::NoSuchTask(TaskId { job: id, layer: 2, index: 0 });
    assert_eq!(done(2, 1).await, Err(none));
    let unknown = JobId::from_u128(7);
    assert_eq!(
        s.queue.done(unknown, 0, NonZero::<u64>::MIN).await,
        Err(QueueError::NoSuchJob(unknown))
    );
}

pub async fn jobs_are_listed_by_age(s: &Subject<'_>) {
    let ids = [
        s.submit(9, "ann", &[(1, Independent)]).await,
        s.submit(5, "bob", &[(1, Independent)]).await,
        s.submit(7, "ann", &[(1, Independent)]).await,
    ];
    let listed = async |which| -> Vec<JobId> {
        s.queue.jobs(which).await.expect("jobs").into_iter().map(|job| job.job).collect()
    };
    assert_eq!(listed(Jobs::All).await, ids);
    assert_eq!(listed(Jobs::Live).await, ids);
    assert_eq!(listed(Jobs::Newest(2)).await, ids[1..]);
    s.queue.cancel(ids[1]).await.expect("cancelled");
    assert_eq!(listed(Jobs::Live).await, [ids[0], ids[2]]);
    assert_eq!(listed(Jobs::All).await, ids);
    assert_eq!(listed(Jobs::InState(JobState::Waiting, 9)).await, [ids[0], ids[2]]);
    assert_eq!(listed(Jobs::InState(JobState::Waiting, 1)).await, [ids[2]]);
    let ticket = s.lease("w", 1).await[0];
    s.commit(&ticket).await;
    assert_eq!(ticket.task.job, ids[0]);
    assert_eq!(listed(Jobs::InState(JobState::Done, 9)).await, [ids[0]]);
    assert_eq!(listed(Jobs::InState(JobState::Cancelled, 9)).await, [ids[1]]);
    assert_eq!(s.queue.job_ids().await, Ok(ids.to_vec()));
    let ended = async || s.queue.ended().await.expect("how many");
    assert_eq!(ended().await, Ended { done: 1, failed: 0, cancelled: 1 });
    // What is done over is over no more; what is forgotten is not counted.
    let again = Retry::Tasks { layer: 0, indices: vec![0] };
    assert_eq!(s.queue.retry(ids[0], &again).await, Ok(1));
    assert_eq!(ended().await, Ended { done: 0, failed: 0, cancelled: 1 });
    s.queue.forget(ids[1]).await.expect("forgotten");
    assert_eq!(ended().await, Ended::default());
    assert_eq!(s.queue.job_ids().await, Ok(vec![ids[0], ids[2]]));
    let all = s.queue.jobs(Jobs::All).await.expect("jobs");
    for snapshot in all {
        assert_eq!(s.queue.job(snapshot.job).await, Ok(snapshot));
    }
}

pub async fn long_messages_are_cut(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    let failure = Failure { message: "ä".repeat(1_500), retryable: false };
    s.queue.fail(&ticket, &failure).await.expect("failed");
    let tasks = s.queue.tasks(id, &Tasks::default()).await.expect("tasks");
    assert_eq!(tasks[0].last_error, Some("ä".repeat(1_000)));
}
