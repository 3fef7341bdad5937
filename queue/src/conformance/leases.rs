//! Submitting and leasing.

use super::*;
use Dependency::{All, Chain, Independent, Neighbours};

pub async fn a_submit_repeated_is_one_job(s: &Subject<'_>) {
    let first = job(1, "ann", &[(3, Independent)]);
    let id = s.submit_with(first.clone()).await;
    let again = Submission { job: JobId::from_u128(2), ..first.clone() };
    assert_eq!(s.queue.submit(&again).await, Ok(id));
    assert_eq!(s.queue.jobs(Jobs::All).await.expect("jobs").len(), 1);
    let other = Submission { request: RequestId::generate(), ..first };
    assert_eq!(s.queue.submit(&other).await, Err(QueueError::JobExists(id)));
}

pub async fn submissions_that_make_no_sense_are_refused(s: &Subject<'_>) {
    let mut beyond = job(1, "ann", &[(3, Independent)]);
    beyond.done = vec![(0, 2..4)];
    let mut nowhere = job(1, "ann", &[(3, Independent)]);
    nowhere.done = vec![(1, 0..1)];
    let bad = [
        job(1, "ann", &[]),
        job(1, "ann", &[(0, Independent)]),
        job(1, "ann", &[(1, All)]),
        job(1, "ann", &[(3, Independent), (2, Neighbours)]),
        beyond,
        nowhere,
    ];
    for submission in bad {
        let answer = s.queue.submit(&submission).await;
        assert!(matches!(answer, Err(QueueError::Invalid(_))), "{submission:?}: {answer:?}");
    }
    assert_eq!(s.queue.jobs(Jobs::All).await, Ok(vec![]));
}

pub async fn a_huge_job_is_counted_at_once(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(10_000_000, Independent), (1, All)]).await;
    assert_eq!(s.layer(id, 0).await.waiting(), 10_000_000);
    assert_eq!(s.state(id).await, JobState::Waiting);
    assert_eq!(indices(&s.lease("w", 3).await), [0, 1, 2]);
    let counts = s.layer(id, 0).await;
    assert_eq!((counts.waiting(), counts.leased), (9_999_997, 3));
    assert_eq!(s.state(id).await, JobState::Running);
}

pub async fn leases_are_neighbours(s: &Subject<'_>) {
    let mut submission = job(1, "ann", &[(10, Independent)]);
    submission.done = vec![(0, 2..3)];
    s.submit_with(submission).await;
    let first = s.lease("w", 4).await;
    assert_eq!(indices(&first), [0, 1], "task 2 is done, so 3 is no neighbour");
    assert_eq!(indices(&s.lease("w", 4).await), [3, 4, 5, 6]);
    s.queue.release(&first[1]).await.expect("released");
    assert_eq!(indices(&s.lease("w", 4).await), [1]);
    assert_eq!(indices(&s.lease("w", 9).await), [7, 8, 9]);
    assert_eq!(s.lease("w", 1).await, []);
}

pub async fn each_task_is_leased_once(s: &Subject<'_>) {
    s.submit(1, "ann", &[(50, Independent)]).await;
    let mut seen = BTreeSet::new();
    let mut tokens = BTreeSet::new();
    for turn in 0.. {
        let tickets = s.lease(["v", "w"][turn % 2], 3).await;
        if tickets.is_empty() {
            break;
        }
        for ticket in tickets {
            assert!(seen.insert(ticket.task) && tokens.insert(ticket.token));
            assert_eq!(ticket.attempt, 1);
        }
    }
    assert_eq!(seen.len(), 50);
}

pub async fn a_lost_lease_answer_is_given_again(s: &Subject<'_>) {
    s.submit(1, "ann", &[(5, Independent)]).await;
    let request = RequestId::generate();
    let first = s.queue.lease(&request, &info("w"), 2).await;
    assert_eq!(s.queue.lease(&request, &info("w"), 2).await, first);
    assert_eq!(indices(&s.lease("w", 2).await), [2, 3]);
}

pub async fn every_lane_gets_its_lost_answer_again(s: &Subject<'_>) {
    s.submit(1, "ann", &[(9, Independent)]).await;
    let requests = [RequestId::generate(), RequestId::generate(), RequestId::generate()];
    let ask = async |lane: usize| s.queue.lease(&requests[lane], &info("w"), 2).await;
    let first = [ask(0).await, ask(1).await, ask(2).await];
    assert_eq!([ask(0).await, ask(1).await, ask(2).await], first);
    let Ok(LeaseAnswer::Work(lease)) = &first[1] else { panic!("{first:?}") };
    s.commit(&lease.tickets[0]).await;
    assert_eq!(ask(1).await, first[1], "one of its tasks runs");
    s.commit(&lease.tickets[1]).await;
    let Ok(LeaseAnswer::Work(lease)) = ask(1).await else { panic!("there is work") };
    assert_eq!(indices(&lease.tickets), [6, 7], "it was over");
    s.queue.cancel(lease.tickets[0].task.job).await.expect("cancelled");
    let other = s.submit(2, "ann", &[(1, Independent)]).await;
    let Ok(LeaseAnswer::Work(lease)) = ask(2).await else { panic!("there is work") };
    assert_eq!(lease.tickets[0].task.job, other, "it was void");
}

pub async fn waiting_workers_are_woken(s: &Subject<'_>) {
    let answer = s.queue.lease(&RequestId::generate(), &info("w"), 1).await;
    let Ok(LeaseAnswer::Nothing { seen, due_in: None }) = answer else {
        panic!("nothing is there: {answer:?}")
    };
    // The work comes between the answer and the wait: it must not be missed.
    let id = s.submit(1, "ann", &[(1, Independent), (1, All)]).await;
    let long = Duration::from_secs(600);
    s.queue.wait_for_work(seen, long).await.expect("woken");
    let tickets = s.lease("w", 1).await;
    let answer = s.queue.lease(&RequestId::generate(), &info("v"), 1).await;
    let Ok(LeaseAnswer::Nothing { seen, .. }) = answer else { panic!("all is leased: {answer:?}") };
    let commit = async { s.commit(&tickets[0]).await };
    let (woken, ()) = tokio::join!(s.queue.wait_for_work(seen, long), commit);
    woken.expect("woken");
    assert_eq!(s.lease("v", 1).await[0].task, TaskId { job: id, layer: 1, index: 0 });
}

pub async fn workers_are_known_by_what_they_said(s: &Subject<'_>) {
    s.submit(1, "ann", &[(5, Independent)]).await;
    let mut big = info("big");
    big.memory = 80 << 30;
    big.tags.insert(tag("h200"));
    big.busy = Some(97);
    big.disk = Some(5 << 30);
    s.lease_as(&big, 3).await;
    s.queue.heartbeat(&info("idle"), &[]).await.expect("heard");
    let workers = s.queue.workers().await.expect("workers");
    let seen: Vec<_> = workers.iter().map(|w| (w.info.clone(), w.leased, w.draining)).collect();
    assert_eq!(seen, [(big, 3, false), (info("idle"), 0, false)]);
}

pub async fn several_commits_are_one_call(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(5, Chain), (1, All)]).await;
    let tickets = s.lease("w", 5).await;
    let forged = Ticket { attempt: 2, ..tickets[1] };
    let stale = QueueError::Stale(forged);
    let early = QueueError::OutOfOrder(tickets[2].task);
    let answers = s.queue.commit_all(&[tickets[0], forged, tickets[2]]).await;
    assert_eq!(answers, Ok(vec![Ok(Committed::Now), Err(stale), Err(early)]));
    let answers = s.queue.commit_all(&tickets).await.expect("answers");
    assert_eq!(answers[0], Ok(Committed::Before));
    assert_eq!(answers[1..], [const { Ok(Committed::Now) }; 4]);
    assert_eq!(s.queue.commit_all(&[]).await, Ok(vec![]));
    let other = s.submit(2, "ann", &[(2, Independent)]).await;
    let mixed = [s.lease("w", 1).await, s.lease("w", 1).await, s.lease("w", 1).await].concat();
    let answers = s.queue.commit_all(&mixed).await.expect("answers");
    assert_eq!(answers, [const { Ok(Committed::Now) }; 3]);
    assert_eq!((s.state(id).await, s.state(other).await), (JobState::Done, JobState::Done));
}

pub async fn commits_count_for_their_own_tasks_in_any_order(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(6, Independent), (6, Neighbours)]).await;
    let tickets = s.lease("w", 6).await;
    let ready = async || s.layer(id, 1).await.ready;
    // From 1 to 3 and three of them, but not a run.
    let some = [tickets[1], tickets[5], tickets[3]];
    let answers = s.queue.commit_all(&some).await;
    assert_eq!(answers, Ok(vec![const { Ok(Committed::Now) }; 3]));
    assert_eq!(ready().await, 0, "no task has all its neighbours done");
    assert_eq!(s.queue.commit(&tickets[4]).await, Ok(Committed::Now));
    assert_eq!(ready().await, 2, "4 and 5 have");
}

pub async fn a_commit_and_the_next_lease_are_one_call(s: &Subject<'_>) {
    let id = s.submit(1, "ann", &[(4, Independent), (1, All)]).await;
    let worker = info("w");
    let turn = async |done: &[Ticket], request: &RequestId| {
        s.queue.commit_and_lease(done, request, &worker, 2).await.expect("an answer")
    };
    let tickets = |answer: LeaseAnswer| match answer {
        LeaseAnswer::Work(lease) => lease.tickets,
        other => panic!("there is work: {other:?}"),
    };
    let (commits, answer) = turn(&[], &RequestId::generate()).await;
    let first = tickets(answer);
    assert_eq!((commits, indices(&first)), (vec![], vec![0, 1]));

    // A client that lost the answer asks again: nothing is committed or leased twice.
    let request = RequestId::generate();
    let (commits, answer) = turn(&first, &request).await;
    let second = tickets(answer);
    assert_eq!((commits, indices(&second)), (vec![Ok(Committed::Now); 2], vec![2, 3]));
    let (commits, answer) = turn(&first, &request).await;
    assert_eq!((commits, tickets(answer)), (vec![Ok(Committed::Before); 2], second.clone()));
    assert_eq!(s.layer(id, 0).await.leased, 2);

    // What is refused keeps no worker from its work; what a commit opens can be leased at once.
    let forged = Ticket { attempt: 2, ..second[0] };
    let done = [forged, second[0], second[1]];
    let (commits, answer) = turn(&done, &RequestId::generate()).await;
    let stale = Err(QueueError::Stale(forged));
    assert_eq!(commits, [stale, Ok(Committed::Now), Ok(Committed::Now)]);
    let last = tickets(answer);
    assert_eq!(last[0].task, TaskId { job: id, layer: 1, index: 0 });

    // Tasks of several layers and jobs; nothing more to do.
    let other = s.submit(2, "ann", &[(1, Independent)]).await;
    let done = [last, s.lease("w", 1).await].concat();
    let (commits, answer) = turn(&done, &RequestId::generate()).await;
    assert_eq!(commits, [const { Ok(Committed::Now) }; 2]);
    let LeaseAnswer::Nothing { seen, due_in: None } = answer else { panic!("{answer:?}") };
    assert_eq!((s.state(id).await, s.state(other).await), (JobState::Done, JobState::Done));
    // It has seen its own commits: only what comes now wakes it.
    let long = Duration::from_secs(600);
    let (woken, _) =
        tokio::join!(s.queue.wait_for_work(seen, long), s.submit(3, "ann", &[(1, Independent)]));
    woken.expect("woken");

    let task = s.lease("w", 1).await;
    s.queue.drain(&worker.id, true).await.expect("draining");
    let (commits, answer) = turn(&task, &RequestId::generate()).await;
    assert_eq!((commits, answer), (vec![Ok(Committed::Now)], LeaseAnswer::Drain));
}

pub async fn pauses_that_are_over_are_seen_by_a_commit(s: &Subject<'_>) {
    s.submit(1, "ann", &[(2, Independent)]).await;
    let tickets = s.lease("w", 2).await;
    let Failed::Retry(until) = s.fail(&tickets[0]).await else { panic!("it may be tried again") };
    let worker = info("w");
    let turn = async |done: &[Ticket]| {
        let request = RequestId::generate();
        s.queue.commit_and_lease(done, &request, &worker, 1).await.expect("an answer")
    };
    let (_, answer) = turn(&[]).await;
    let LeaseAnswer::Nothing { due_in: Some(due), .. } = answer else { panic!("{answer:?}") };
    assert!(until > Timestamp(0) && due > Duration::ZERO);
    (s.advance)(due);
    let (commits, answer) = turn(&tickets[1..]).await;
    assert_eq!(commits, [Ok(Committed::Now)]);
    let LeaseAnswer::Work(lease) = answer else { panic!("{answer:?}") };
    assert_eq!((lease.tickets[0].task, lease.tickets[0].attempt), (tickets[0].task, 2));
}
