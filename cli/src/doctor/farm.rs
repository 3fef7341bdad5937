//! The farm: its coordinator, Redis, storage, workers and clock.

use std::time::Duration;

use jiff::Timestamp;
use vqfarm_proto::v1::{
    ListWorkersRequest, StatusRequest, StatusResponse, WhoAmIRequest, WhoAmIResponse, Worker,
    WorkerState,
};

use super::expiry::{CERTIFICATE, OWN_CERTIFICATE, TOKEN};
use super::{Check, profile};
use crate::failure::Failure;
use crate::farm::{ConnectArgs, Origin, show};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Clocks may differ by so much before anybody is misled.
const CLOCK: Duration = Duration::from_secs(5);
/// A model or two, and a film on its way.
const DISK: u64 = 4 << 30;

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
        let who = farm.who_am_i(WhoAmIRequest {}).await;
        let who = who.map_err(|status| connect.explain(status))?.into_inner();
        let status = farm.status(StatusRequest { write: true }).await;
        let status = status.map_err(|status| connect.explain(status))?.into_inner();
        // Where the queue does not answer, the status says so.
        let workers = farm.list_workers(ListWorkersRequest {}).await;
        let workers = workers.map_or_else(|_| Vec::new(), |answer| answer.into_inner().workers);
        Ok::<_, Failure>((who, status, workers))
    };
    let (who, status, listed) = match asked.await {
        Ok(answers) => answers,
        Err(failure) if nobody_chose => {
            let remedy = "`make farm` starts one here, --addr, VQFARM_ADDR or a profile says where \
                          one is; `vqfarm render` needs none";
            return vec![Check::warning("coordinator", failure.to_string(), remedy)];
        }
        Err(failure) => {
            let text = failure.to_string();
            // The certificate's end stops the connection before anything can be asked.
            if text.contains("certificate expired") {
                return vec![Check::missing(CERTIFICATE.check, text, CERTIFICATE.remedy)];
            }
            let remedy = "start it, or correct --addr, VQFARM_ADDR or the profile";
            return vec![Check::missing("coordinator", text, remedy)];
        }
    };
    let now = Timestamp::now();
    let mut checks = vec![coordinator(&status)];
    checks.extend(ends(&who, &status, now));
    for health in &status.health {
        // The names of checks are ours.
        let part = if health.part == "storage" { "storage" } else { "redis" };
        checks.push(match health.well {
            true if health.warnings.is_empty() => Check::ok(part, &health.text),
            true => Check::warning(part, &health.text, health.warnings.join("; ")),
            false => Check::missing(part, &health.text, remedy_of(part)),
        });
    }
    checks.push(workers(&status));
    checks.extend(releases(&listed, &status.version));
    checks.extend(disks(&listed));
    if status.now != 0 {
        checks.push(clock(status.now, now.as_millisecond()));
    }
    checks
}

fn remedy_of(part: &str) -> &'static str {
    match part {
        "storage" => {
            "see that it runs, has room, and that the coordinator's account may read, write and \
             delete there (docs/security.md)"
        }
        _ => "see that it runs and lets the coordinator in; the coordinator's log says more",
    }
}

/// What has an end: certificates and the token.
fn ends(who: &WhoAmIResponse, status: &StatusResponse, now: Timestamp) -> Vec<Check> {
    let all = [
        CERTIFICATE.check(status.certificate_expires, now),
        OWN_CERTIFICATE.check(who.certificate_expires, now),
        TOKEN.check(who.token_expires, now),
    ];
    all.into_iter().flatten().collect()
}

/// Workers that have little room left for models and films.
fn disks(workers: &[Worker]) -> Option<Check> {
    let there = workers.iter().filter(|worker| worker.state() != WorkerState::Lost);
    let room: Vec<(u64, &str)> =
        there.filter_map(|worker| Some((worker.disk?, worker.id.as_str()))).collect();
    let (least, id) = room.iter().min()?;
    let full = room.iter().filter(|(free, _)| *free < DISK).count() as u64;
    if full == 0 {
        let text =
            format!("at least {} free on workers, for models and films", show::memory(*least));
        return Some(Check::ok("disk", text));
    }
    let text = format!(
        "{} with little room for models and films; {id} has {}",
        show::count(full, "worker"),
        show::memory(*least)
    );
    let remedy =
        "make room below --cache and the temporary folder, or lead them elsewhere: --cache, TMPDIR";
    Some(Check::warning("disk", text, remedy))
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
    fn workers_without_room_are_told_of() {
        let worker = |id: &str, disk: Option<u64>, state: WorkerState| Worker {
            id: id.into(),
            disk,
            state: state.into(),
            ..Worker::default()
        };
        let silent = worker("a", None, WorkerState::Idle);
        let gone = worker("b", Some(0), WorkerState::Lost);
        assert_eq!(disks(&[silent.clone(), gone.clone()]), None, "nobody says");
        let wide = worker("c", Some(50 << 30), WorkerState::Busy);
        let told = disks(&[silent.clone(), gone.clone(), wide.clone()]).unwrap();
        assert!(told.remedy.is_empty() && told.text.contains("50"), "{}", told.text);
        let full = worker("d", Some(300 << 20), WorkerState::Busy);
        let told = disks(&[silent, gone, wide, full]).unwrap();
        assert!(
            told.text.starts_with("1 worker with little room") && told.text.contains("; d has")
        );
        assert!(told.remedy.contains("--cache"), "{}", told.remedy);
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
