//! The farm: its coordinator, Redis, storage, workers and clock.

use std::time::Duration;

use jiff::Timestamp;
use vqfarm_proto::v1::{ListWorkersRequest, StatusRequest, StatusResponse, Worker, WorkerState};

use super::{Check, profile};
use crate::failure::Failure;
use crate::farm::{ConnectArgs, Origin, show};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Clocks may differ by so much before anybody is misled.
const CLOCK: Duration = Duration::from_secs(5);

pub async fn checks(connect: &ConnectArgs) -> Vec<Check> {
    let mut checks = profile::checks(connect);
    if connect.way().is_ok() {
        checks.extend(ask(connect).await);
    }
    checks
}

async fn ask(connect: &ConnectArgs) -> Vec<Check> {
    let nobody_chose = connect.way().is_ok_and(|way| way.addr.from == Origin::Default);
    let asked = async {
        let mut farm = connect.connect().await?;
        let status = farm.status(StatusRequest {}).await;
        let status = status.map_err(|status| connect.explain(status))?.into_inner();
        // Where the queue does not answer, the status says so.
        let workers = farm.list_workers(ListWorkersRequest {}).await;
        let workers = workers.map_or_else(|_| Vec::new(), |answer| answer.into_inner().workers);
        Ok::<_, Failure>((status, workers))
    };
    let (status, listed) = match asked.await {
        Ok(answers) => answers,
        Err(failure) if nobody_chose => {
            let remedy = "`make farm` starts one here, --addr, VQFARM_ADDR or a profile says where \
                          one is; `vqfarm render` needs none";
            return vec![Check::warning("coordinator", failure.to_string(), remedy)];
        }
        Err(failure) => {
            let remedy = "start it, or correct --addr, VQFARM_ADDR or the profile";
            return vec![Check::missing("coordinator", failure.to_string(), remedy)];
        }
    };
    let mut checks = vec![coordinator(&status)];
    for health in &status.health {
        // The names of checks are ours.
        let part = if health.part == "storage" { "storage" } else { "redis" };
        checks.push(match health.well {
            true if health.warnings.is_empty() => Check::ok(part, &health.text),
            true => Check::warning(part, &health.text, health.warnings.join("; ")),
            false => Check::missing(part, &health.text, "see the coordinator's log"),
        });
    }
    checks.push(workers(&status));
    checks.extend(releases(&listed, &status.version));
    if status.now != 0 {
        checks.push(clock(status.now, Timestamp::now().as_millisecond()));
    }
    checks
}

fn coordinator(status: &StatusResponse) -> Check {
    let text = format!("farm {}, version {}", status.farm, status.version);
    match status.version == VERSION {
        true => Check::ok("coordinator", text),
        false => {
            let remedy = format!("use programs of one version; vqfarm is of {VERSION}");
            Check::missing("coordinator", text, remedy)
        }
    }
}

fn workers(status: &StatusResponse) -> Check {
    let of = |state: WorkerState| status.workers.get(state.word()).copied().unwrap_or(0);
    let takes = of(WorkerState::Idle) + of(WorkerState::Busy);
    match takes {
        0 => Check::warning("workers", "none takes work", "start one: vqfarm-worker run"),
        n => Check::ok("workers", format!("{} at work or ready", show::count(n, "worker"))),
    }
}

/// Workers of another release than the coordinator's.
fn releases(workers: &[Worker], farm: &str) -> Option<Check> {
    let there = workers.iter().filter(|worker| worker.state() != WorkerState::Lost);
    let others: Vec<&Worker> = there.filter(|worker| worker.version != farm).collect();
    let first = others.first()?;
    let version = if first.version.is_empty() { "an earlier release" } else { &first.version };
    let text = format!(
        "{} not of version {farm}, as {}, which is of {version}",
        show::count(others.len() as u64, "worker"),
        first.id
    );
    let remedy = format!("start new ones, then: vqfarm drain --older-than-version {farm}");
    Some(Check::warning("workers", text, remedy))
}

/// Compares the farm's clock with ours, in milliseconds since 1970.
fn clock(farm: i64, ours: i64) -> Check {
    let apart = Duration::from_millis(farm.abs_diff(ours));
    if apart <= CLOCK {
        return Check::ok("clock", format!("{} ms from the farm's", apart.as_millis()));
    }
    let which = if farm > ours { "behind" } else { "ahead of" };
    let text = format!("this machine is {} {which} the farm's clock", show::span(apart));
    Check::warning("clock", text, "set it by the network, as with chrony or systemd-timesyncd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared() {
        assert!(clock(1_000, 4_000).remedy.is_empty());
        assert_eq!(clock(100_000, 0).text, "this machine is 1 min behind the farm's clock");
        assert_eq!(clock(0, 6_000).text, "this machine is 6 s ahead of the farm's clock");
    }

    #[test]
    fn workers_of_other_releases_are_told_of() {
        let worker = |id: &str, version: &str, state: WorkerState| Worker {
            id: id.into(),
            version: version.into(),
            state: state.into(),
            ..Worker::default()
        };
        let same = worker("a", "0.2.0", WorkerState::Idle);
        let gone = worker("b", "0.1.0", WorkerState::Lost);
        assert_eq!(releases(&[same.clone(), gone], "0.2.0"), None);
        let old = worker("c", "", WorkerState::Busy);
        let told = releases(&[same, old], "0.2.0").unwrap();
        assert!(told.text.contains("1 worker not of version 0.2.0, as c, which is of an earlier"));
        assert!(told.remedy.contains("--older-than-version 0.2.0"), "{}", told.remedy);
    }

    #[test]
    fn versions_are_compared() {
        let of = |version: &str| {
            coordinator(&StatusResponse { version: version.into(), ..StatusResponse::default() })
        };
        assert!(of(VERSION).remedy.is_empty());
        assert!(of("0.0.1").remedy.contains(VERSION));
    }
}
