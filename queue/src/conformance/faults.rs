//! Lost answers, lost workers, late results, tasks that fail.

use super::*;
use Dependency::{All, Independent};

pub async fn only_the_ticket_counts(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    let elsewhere = TaskId { index: 1, ..ticket.task };
    let forged = [
        Ticket { token: Token(ticket.token.0 ^ 1), ..ticket },
        Ticket { attempt: 2, ..ticket },
        Ticket { task: elsewhere, ..ticket },
    ];
    let failure = Failure { message: "x".into(), retryable: false };
    for forged in forged {
        let stale = QueueError::Stale(forged);
        assert_eq!(s.queue.commit(&forged).await, Err(stale.clone()));
        assert_eq!(s.queue.fail(&forged, &failure).await, Err(stale.clone()));
        assert_eq!(s.queue.release(&forged).await, Err(stale));
    }
    let nowhere = Ticket { task: TaskId { index: 2, ..ticket.task }, ..ticket };
    assert_eq!(s.queue.commit(&nowhere).await, Err(QueueError::NoSuchTask(nowhere.task)));
    let counts = s.layer(id, 0).await;
    assert_eq!((counts.leased, counts.waiting()), (1, 1));
    s.commit(&ticket).await;
}

pub async fn a_lost_commit_answer_can_be_asked_for(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    s.commit(&ticket).await;
    assert_eq!(s.queue.commit(&ticket).await, Ok(Committed::Before));
    let failure = Failure { message: "too late".into(), retryable: true };
    assert_eq!(s.queue.fail(&ticket, &failure).await, Err(QueueError::Stale(ticket)));
    assert_eq!(s.queue.release(&ticket).await, Err(QueueError::Stale(ticket)));
    assert_eq!((s.layer(id, 0).await.done, s.state(id).await), (1, JobState::Done));
}

pub async fn a_silent_worker_loses_its_lease(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent)]).await;
    let late = s.lease("silent", 2).await;
    (s.advance)(s.policy.lease - Duration::from_millis(1));
    assert_eq!(s.queue.reap().await, Ok(Reaped::default()));
    (s.advance)(Duration::from_millis(1));
    let reaped = s.queue.reap().await.expect("reaped");
    assert_eq!(reaped.expired, [late[0].task, late[1].task]);
    assert_eq!(reaped.quarantined, []);
    let error = &s.queue.tasks(id, &Tasks::default()).await.expect("tasks")[0].last_error;
    assert!(error.as_ref().is_some_and(|text| text.contains("silent")), "{error:?}");
    (s.advance)(s.policy.backoff);
    let fresh = s.lease("other", 2).await;
    assert_eq!((fresh[0].task, fresh[0].attempt), (late[0].task, 2));
    assert_eq!(s.queue.commit(&late[0]).await, Err(QueueError::Stale(late[0])));
    let beats = s.queue.heartbeat(&info("silent"), &late).await.expect("heard").beats;
    assert_eq!(beats, [Beat::Stale, Beat::Stale]);
    s.commit(&fresh[0]).await;
    assert_eq!(s.queue.commit(&late[0]).await, Err(QueueError::Stale(late[0])));
}

pub async fn the_same_worker_again_is_another_attempt(s: &Subject<'_>) {
    s.submit(1, "ann", &[(1, Independent)]).await;
    let old = s.lease("w", 1).await[0];
    (s.advance)(s.policy.lease);
    s.queue.reap().await.expect("reaped");
    (s.advance)(s.policy.backoff);
    let new = s.lease("w", 1).await[0];
    assert_eq!(s.queue.commit(&old).await, Err(QueueError::Stale(old)));
    assert_eq!(s.queue.release(&old).await, Err(QueueError::Stale(old)));
    s.commit(&new).await;
}

pub async fn heartbeats_keep_a_lease(s: &Subject<'_>) {
    s.submit(1, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    for _ in 0..5 {
        (s.advance)(s.policy.lease / 2);
        let answer = s.queue.heartbeat(&info("w"), &[ticket]).await.expect("heard");
        assert!(matches!(answer.beats[..], [Beat::Extended(_)]) && !answer.drain, "{answer:?}");
        assert_eq!(s.queue.reap().await, Ok(Reaped::default()));
    }
    s.commit(&ticket).await;
    let answer = s.queue.heartbeat(&info("w"), &[ticket]).await.expect("heard");
    assert_eq!(answer.beats, [Beat::Stale]);
}

pub async fn heartbeats_keep_the_tasks_that_they_name(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(4, Independent)]).await;
    let tickets = s.lease("w", 4).await;
    let half = s.policy.lease / 2;
    let ends = async || {
        let tasks = s.queue.tasks(id, &Tasks::default()).await.expect("tasks");
        let ends = tasks.iter().filter_map(|task| match task.state {
            TaskState::Leased { expires, .. } => Some((task.task.index, expires)),
            _ => None,
        });
        ends.collect::<Vec<_>>()
    };
    let first = ends().await[0].1;
    (s.advance)(half);
    let named = [tickets[0], tickets[2], tickets[3]];
    s.queue.heartbeat(&info("w"), &named).await.expect("heard");
    let later = first.after(half);
    assert_eq!(ends().await, [(0, later), (1, first), (2, later), (3, later)]);
    (s.advance)(half);
    assert_eq!(s.queue.reap().await.expect("reaped").expired, [tickets[1].task]);
    s.commit(&tickets[2]).await;
    assert_eq!(ends().await, [(0, later), (3, later)]);
    let beats = s.queue.heartbeat(&info("w"), &tickets).await.expect("heard").beats;
    let extended = Beat::Extended(later.after(half));
    assert_eq!(beats, [extended, Beat::Stale, Beat::Stale, extended]);
    (s.advance)(s.policy.lease);
    let over = [tickets[0].task, tickets[3].task];
    assert_eq!(s.queue.reap().await.expect("reaped").expired, over);
    assert_eq!(s.queue.reap().await, Ok(Reaped::default()));
}

pub async fn a_poison_task_is_quarantined(s: &Subject<'_>) {
    let poison = s.submit(1, "ann", &[(1, Independent), (1, All)]).await;
    let mut pause = s.policy.backoff;
    for attempt in 1..=s.policy.attempts {
        let ticket = s.lease("w", 1).await[0];
        assert_eq!(ticket.attempt, attempt);
        let outcome = s.fail(&ticket).await;
        assert_eq!(s.fail(&ticket).await, outcome, "asked again, answered again");
        if attempt == s.policy.attempts {
            assert_eq!(outcome, Failed::Quarantined);
            break;
        }
        assert!(matches!(outcome, Failed::Retry(_)));
        assert_eq!(s.layer(poison, 0).await.delayed, 1);
        (s.advance)(pause - Duration::from_millis(1));
        let answer = s.queue.lease(&RequestId::generate(), &info("w"), 1).await;
        let Ok(LeaseAnswer::Nothing { due_in, .. }) = answer else { panic!("too early") };
        assert_eq!(due_in, Some(Duration::from_millis(1)));
        (s.advance)(Duration::from_millis(1));
        pause *= 2;
    }
    assert_eq!(s.state(poison).await, JobState::Failed);
    let tasks = s.queue.tasks(poison, &Tasks::default()).await.expect("tasks");
    assert_eq!((tasks.len(), &tasks[0].state), (1, &TaskState::Failed));
    assert_eq!(tasks[0].last_error.as_deref(), Some("no luck"));
    let good = s.submit(2, "ann", &[(1, Independent)]).await;
    let ticket = s.lease("w", 1).await[0];
    assert_eq!(ticket.task.job, good, "other jobs go on");
}

pub async fn a_hopeless_failure_is_final_at_once(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent)]).await;
    let tickets = s.lease("w", 2).await;
    let failure = Failure { message: "no such picture".into(), retryable: false };
    assert_eq!(s.queue.fail(&tickets[0], &failure).await, Ok(Failed::Quarantined));
    assert_eq!(s.state(id).await, JobState::Running, "the other task goes on");
    s.commit(&tickets[1]).await;
    assert_eq!(s.state(id).await, JobState::Failed);
    assert!(s.queue.job(id).await.expect("the job").finished.is_some());
}

pub async fn released_tasks_lose_nothing(s: &Subject<'_>) {
    s.submit(1, "ann", &[(1, Independent)]).await;
    for attempt in 1..=2 * s.policy.attempts {
        let ticket = s.lease("w", 1).await[0];
        assert_eq!(ticket.attempt, attempt);
        assert_eq!(s.queue.release(&ticket).await, Ok(()));
        assert_eq!(s.queue.release(&ticket).await, Ok(()), "asked again, answered again");
        assert_eq!(s.queue.commit(&ticket).await, Err(QueueError::Stale(ticket)));
    }
}

pub async fn failed_jobs_can_be_retried(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(2, Independent), (1, All)]).await;
    let tickets = s.lease("w", 2).await;
    let failure = Failure { message: "x".into(), retryable: false };
    s.queue.fail(&tickets[0], &failure).await.expect("failed");
    s.commit(&tickets[1]).await;
    assert_eq!(s.queue.retry(id, &Retry::Failed).await, Ok(1));
    assert_eq!(s.queue.retry(id, &Retry::Failed).await, Ok(0));
    assert_eq!(s.state(id).await, JobState::Running);
    let ticket = s.lease("w", 2).await[0];
    assert_eq!((ticket.task.index, ticket.attempt), (0, 2));
    assert!(matches!(s.fail(&ticket).await, Failed::Retry(_)), "a fresh set of attempts");
    (s.advance)(s.policy.backoff);
    s.commit(&s.lease("w", 1).await[0]).await;
    s.commit(&s.lease("w", 1).await[0]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}

pub async fn done_tasks_can_be_done_over(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(3, Independent)]).await;
    for ticket in s.lease("w", 3).await {
        s.commit(&ticket).await;
    }
    assert_eq!(s.state(id).await, JobState::Done);
    let over = |indices| Retry::Tasks { layer: 0, indices };
    let missing = TaskId { job: id, layer: 0, index: 3 };
    assert_eq!(s.queue.retry(id, &over(vec![3])).await, Err(QueueError::NoSuchTask(missing)));
    assert_eq!(s.queue.retry(id, &over(vec![1])).await, Ok(1));
    assert_eq!((s.state(id).await, s.layer(id, 0).await.done), (JobState::Running, 2));
    let tickets = s.lease("w", 3).await;
    assert_eq!(indices(&tickets), [1]);
    s.commit(&tickets[0]).await;
    assert_eq!(s.state(id).await, JobState::Done);
}
