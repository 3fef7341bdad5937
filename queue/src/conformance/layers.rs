//! The four kinds of layers, and jobs that begin with stored tasks.

use super::*;
use Dependency::{All, Chain, Independent, Neighbours};

pub async fn independent_tasks_wait_for_nothing(s: &Subject<'_>) {
    s.submit(1, "ann", &[(2, Chain), (2, Independent)]).await;
    let layers: Vec<_> = [s.lease("w", 9).await, s.lease("w", 9).await]
        .iter()
        .map(|tickets| (tickets[0].task.layer, tickets.len()))
        .collect();
    assert_eq!(layers, [(1, 2), (0, 2)]);
}

pub async fn a_chain_goes_in_order(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(5, Chain)]).await;
    let segment = s.lease("w", 3).await;
    assert_eq!(indices(&segment), [0, 1, 2], "a segment of the chain");
    assert_eq!(s.lease("v", 3).await, [], "the rest follows the segment");
    let early = QueueError::OutOfOrder(segment[1].task);
    assert_eq!(s.queue.commit(&segment[1]).await, Err(early));
    for ticket in &segment {
        s.commit(ticket).await;
    }
    let rest = s.lease("v", 3).await;
    assert_eq!(indices(&rest), [3, 4]);
    s.commit(&rest[0]).await;
    s.commit(&rest[1]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn a_broken_chain_heals(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(4, Chain)]).await;
    let segment = s.lease("w", 3).await;
    s.commit(&segment[0]).await;
    s.fail(&segment[1]).await;
    s.queue.release(&segment[2]).await.expect("released");
    assert_eq!(s.lease("w", 3).await, [], "task 2 waits for task 1, and that for its pause");
    (s.advance)(s.policy.backoff);
    let again = s.lease("w", 9).await;
    assert_eq!(indices(&again), [1, 2, 3]);
    for ticket in &again {
        s.commit(ticket).await;
    }
    assert_eq!(s.state(id).await, JobState::Done);
    let broken = s.submit(2, "ann", &[(3, Chain)]).await;
    let segment = s.lease("w", 2).await;
    let failure = Failure { message: "x".into(), retryable: false };
    s.queue.fail(&segment[0], &failure).await.expect("failed");
    s.queue.release(&segment[1]).await.expect("released");
    assert_eq!(s.state(broken).await, JobState::Failed, "nothing of it can run");
}

pub async fn neighbours_wait_for_three(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(5, Independent), (5, Neighbours), (5, Neighbours)]).await;
    let below = s.lease("w", 5).await;
    for done in [0, 2, 3] {
        s.commit(&below[done]).await;
        assert_eq!(s.lease("w", 5).await, [], "no task has all its neighbours");
    }
    s.commit(&below[1]).await;
    let middle = s.lease("w", 5).await;
    assert_eq!(indices(&middle), [0, 1, 2]);
    s.commit(&below[4]).await;
    let ends = s.lease("w", 5).await;
    assert_eq!((ends[0].task.layer, indices(&ends)), (1, vec![3, 4]));
    s.commit(&middle[0]).await;
    s.commit(&middle[1]).await;
    let top = s.lease("w", 5).await;
    assert_eq!((top[0].task.layer, indices(&top)), (2, vec![0]));
    for ticket in middle[2..].iter().chain(&ends).chain(&top) {
        s.commit(ticket).await;
    }
    for ticket in s.lease("w", 5).await {
        s.commit(&ticket).await;
    }
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn all_waits_for_the_whole_layer(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(3, Independent), (1, All)]).await;
    let tickets = s.lease("w", 3).await;
    s.commit(&tickets[2]).await;
    s.commit(&tickets[0]).await;
    assert_eq!(s.lease("w", 1).await, []);
    s.commit(&tickets[1]).await;
    let stitch = s.lease("w", 1).await;
    assert_eq!(stitch[0].task, TaskId { job: id, layer: 1, index: 0 });
    assert_eq!(s.state(id).await, JobState::Running);
    s.commit(&stitch[0]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn all_waits_for_every_layer_below(s: &Subject<'_>) {
    // Two shots of an animation side by side, what is made of them, and what is made of that.
    let id = s.submit(1, "ann", &[(1, Chain), (2, Chain), (2, All), (1, All)]).await;
    let second = s.lease("w", 2).await;
    assert_eq!((second[0].task.layer, indices(&second)), (1, vec![0, 1]));
    let first = s.lease("w", 2).await;
    assert_eq!((first[0].task.layer, indices(&first)), (0, vec![0]));
    for ticket in &second {
        s.commit(ticket).await;
        assert_eq!(s.lease("w", 1).await, [], "the other shot is not done");
        assert_eq!(s.layer(id, 2).await.blocked, 2);
    }
    s.commit(&first[0]).await;
    let made = s.lease("w", 9).await;
    assert_eq!((made[0].task.layer, indices(&made)), (2, vec![0, 1]));
    s.commit(&made[0]).await;
    // A frame is done over: what follows waits again, and so does what follows that.
    let over = Retry::Tasks { layer: 0, indices: vec![0] };
    s.queue.retry(id, &over).await.expect("retried");
    s.queue.release(&made[1]).await.expect("released");
    let again = s.lease("w", 9).await;
    assert_eq!((again[0].task.layer, indices(&again)), (0, vec![0]));
    assert_eq!(s.lease("w", 9).await, []);
    s.commit(&again[0]).await;
    let rest = s.lease("w", 9).await;
    assert_eq!((rest[0].task.layer, indices(&rest)), (2, vec![1]));
    s.commit(&rest[0]).await;
    let last = s.lease("w", 9).await;
    assert_eq!((last[0].task.layer, indices(&last)), (3, vec![0]));
    s.commit(&last[0]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn what_is_done_over_holds_up_all_above(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent), (1, All), (2, All), (1, All)]).await;
    for layer in 0..4 {
        for ticket in s.lease("w", 9).await {
            assert_eq!(ticket.task.layer, layer);
            s.commit(&ticket).await;
        }
    }
    assert_eq!(s.state(id).await, JobState::Done);
    for (layer, index) in [(0, 1), (2, 0)] {
        let which = Retry::Tasks { layer, indices: vec![index] };
        assert_eq!(s.queue.retry(id, &which).await, Ok(1));
    }
    let lowest = s.lease("w", 9).await;
    assert_eq!(lowest.iter().map(|t| (t.task.layer, t.task.index)).collect::<Vec<_>>(), [(0, 1)]);
    assert_eq!(s.lease("w", 9).await, [], "what is above waits, whatever is done in between");
    s.commit(&lowest[0]).await;
    let above = s.lease("w", 9).await;
    assert_eq!(above.iter().map(|t| (t.task.layer, t.task.index)).collect::<Vec<_>>(), [(2, 0)]);
    s.commit(&above[0]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn stored_tasks_are_not_leased(s: &Subject<'_>) {
    let mut sweep = job(1, "ann", &[(6, Independent), (1, All)]);
    sweep.done = vec![(0, 0..2), (0, 4..5)];
    let sweep = s.submit_with(sweep).await;
    assert_eq!(s.layer(sweep, 0).await.done, 3);
    let mut rest = s.lease("w", 9).await;
    rest.extend(s.lease("w", 9).await);
    assert_eq!(indices(&rest), [2, 3, 5]);
    for ticket in rest {
        s.commit(&ticket).await;
    }
    s.commit(&s.lease("w", 1).await[0]).await;
    assert_eq!(s.state(sweep).await, JobState::Done);

    let mut chain = job(2, "ann", &[(4, Chain)]);
    chain.done = vec![(0, 0..3)];
    s.submit_with(chain).await;
    assert_eq!(indices(&s.lease("w", 9).await), [3]);

    let mut zoom = job(3, "ann", &[(4, Independent), (4, Neighbours)]);
    zoom.done = vec![(0, 0..4), (1, 3..4)];
    s.submit_with(zoom).await;
    assert_eq!(indices(&s.lease("w", 9).await), [0, 1, 2]);

    let mut whole = job(4, "ann", &[(2, Independent), (1, All)]);
    whole.done = vec![(0, 0..2), (1, 0..1)];
    let whole = s.submit_with(whole).await;
    assert_eq!(s.state(whole).await, JobState::Done);
    assert!(s.queue.job(whole).await.expect("the job").finished.is_some());
}
