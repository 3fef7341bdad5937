//! Coordinators die at the worst moments: a submit that was answered is never lost, one that
//! was not can be repeated, and nothing is there twice.
//! The numbers are those of the table in `docs/reliability.md`.

use std::process::{Child, Stdio};
use std::time::Duration;

use vqfarm_core::id::JobId;
use vqfarm_testing::proxy::Fault;
use vqfarm_tests::farm::{Farm, Setup, Submitted, sweep, until};

/// Answers come so late that a coordinator can be killed between question and answer.
const LATE: Duration = Duration::from_secs(1);

/// A submit under way.
struct Submit(Child);

impl Submit {
    fn start(farm: &Farm, toml: &str, request: &str) -> Self {
        farm.write("job.toml", toml);
        let mut command = farm.command(&["submit", "job.toml", "--request-id", request]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
    }

    /// The user gives up before there is an answer.
    fn give_up(mut self) {
        assert!(self.0.try_wait().expect("a child of ours").is_none(), "nobody has answered");
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// The job's id, when there is an answer.
    fn answer(self) -> String {
        let output = self.0.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        assert!(stderr.contains("trying again"), "the fault fired: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// The one job in storage, as soon as its record is there.
fn stored_job(farm: &Farm) -> JobId {
    until("the job's record is stored", || {
        let job = *farm.stored.jobs().first()?;
        farm.stored.get(job, "job.json").map(|_| job)
    })
}

/// A submit whose coordinator is killed when the record is stored and the queue knows nothing.
fn killed_between_record_and_queue(farm: &mut Farm, toml: &str, request: &str) -> (JobId, Submit) {
    let s3 = farm.coordinator.wires.s3();
    s3.set(Fault::Delay(LATE));
    let submit = Submit::start(farm, toml, request);
    let id = stored_job(farm);
    farm.coordinator.process.kill();
    assert!(!is_queued(farm, id), "the queue knows nothing of the job");
    (id, submit)
}

fn is_queued(farm: &Farm, id: JobId) -> bool {
    !farm.redis().ask(&["KEYS", &format!("*{id}*")]).trim().is_empty()
}

/// The farm has this job and no other.
fn only(farm: &Farm, id: JobId) {
    let jobs = farm.rows(&["jobs", "--json"]);
    let ids: Vec<&str> = jobs.iter().filter_map(|job| job["id"].as_str()).collect();
    assert_eq!(ids, [id.to_string()]);
    assert_eq!(farm.stored.jobs(), [id]);
}

#[test]
fn f06_a_submit_outlives_a_coordinator_killed_before_the_queue_knew() {
    let mut farm = Farm::new(Setup::with_s3());
    let _one = farm.worker("one", &[]);
    let toml = sweep(4, 5);
    let (id, submit) = killed_between_record_and_queue(&mut farm, &toml, "night-1");
    farm.restart_coordinator();
    // The command asks again by itself, under the same request id.
    assert_eq!(submit.answer(), id.to_string());
    let again = farm.submit_with(&toml, 4, &["--request-id", "night-1"]);
    assert_eq!(again.id, id, "and so does a user");
    farm.prove(&again);
    only(&farm, id);
}

#[test]
fn f06_a_submit_outlives_a_coordinator_killed_before_it_answered() {
    let mut farm = Farm::new(Setup::default());
    let toml = sweep(4, 5);
    farm.coordinator.wires.redis().set(Fault::Delay(LATE));
    let submit = Submit::start(&farm, &toml, "night-2");
    let id = stored_job(&farm);
    until("the queue has the job", || is_queued(&farm, id).then_some(()));
    farm.coordinator.process.kill();
    farm.restart_coordinator();
    assert_eq!(submit.answer(), id.to_string());
    let _one = farm.worker("one", &[]);
    farm.prove(&Submitted { id, toml, cells: 4 });
    only(&farm, id);
}

#[test]
fn f07_a_plan_cut_short_is_completed_by_the_next_coordinator() {
    let mut farm = Farm::new(Setup::with_s3());
    let _one = farm.worker("one", &[]);
    let toml = sweep(4, 5);
    let (id, submit) = killed_between_record_and_queue(&mut farm, &toml, "night-3");
    // Nobody repeats the submit.
    submit.give_up();
    farm.restart_coordinator();
    until("the job is back", || (farm.vqfarm(&["job", &id.to_string()]).status == 0).then_some(()));
    farm.prove(&Submitted { id, toml, cells: 4 });
    only(&farm, id);
    for index in 0..4 {
        assert_eq!(farm.stored.attempts(id, "render", index).len(), 1, "nothing twice");
    }
}

#[test]
fn f07_another_coordinator_serves_while_one_is_dead() {
    let mut farm = Farm::new(Setup::default());
    let mut other = farm.another_coordinator("other");
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 20), 4);
    farm.wait_for_lease(job.id, "render", "one");
    farm.coordinator.process.kill();
    std::mem::swap(&mut farm.coordinator, &mut other);
    farm.prove(&job);
    let next = farm.submit(&sweep(4, 5), 4);
    farm.prove(&next);
}

#[test]
fn workers_finish_without_any_coordinator() {
    let mut farm = Farm::new(Setup::default());
    let _one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(4, 20), 4);
    farm.wait_for_lease(job.id, "render", "one");
    farm.coordinator.process.kill();
    until("the overviews are stored", || farm.stored.outputs(job.id).then_some(()));
    farm.restart_coordinator();
    farm.prove(&job);
}
