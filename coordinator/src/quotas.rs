//! What users may have of the farm. Jobs and tasks are counted in the queue; how often and how much
//! somebody sends is counted here, by each coordinator for itself.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use vqfarm_core::access::Quota;
use vqfarm_core::clock::Timestamp;
use vqfarm_core::id::UserName;
use vqfarm_proto::RefusalReason as Reason;
use vqfarm_queue::JobSnapshot;

use crate::error::{Error, Result};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const MIB: u64 = 1 << 20;

/// What each user has sent lately.
#[derive(Debug, Default)]
pub struct Quotas(Mutex<HashMap<UserName, Arc<tokio::sync::Mutex<Account>>>>);

/// What one user has sent lately.
#[derive(Debug, Default)]
pub struct Account {
    submits: Window,
    uploads: Window,
}

/// Amounts and when they came.
#[derive(Debug, Default)]
struct Window(VecDeque<(Timestamp, u64)>);

impl Quotas {
    /// A user's account. While it is held no other call of this user's gets past it, so that two
    /// together cannot have what each alone may.
    pub async fn of(&self, user: &UserName) -> OwnedMutexGuard<Account> {
        let account = {
            let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            accounts.entry(user.clone()).or_default().clone()
        };
        account.lock_owned().await
    }
}

impl Account {
    /// Takes a submit.
    ///
    /// # Errors
    /// There were as many in the last minute as there may be.
    pub fn submit(&mut self, quota: &Quota, now: Timestamp) -> Result<()> {
        let Some(most) = quota.submits_a_minute else { return Ok(()) };
        match self.submits.add(1, most, MINUTE, now) {
            Ok(()) => Ok(()),
            Err(wait) => refuse(format!(
                "you may submit {most} jobs a minute (submits_a_minute); try again in {} s",
                wait.as_secs().max(1)
            )),
        }
    }

    /// Takes so many bytes of files.
    ///
    /// # Errors
    /// With them more would have come in the last hour than may.
    pub fn upload(&mut self, quota: &Quota, bytes: u64, now: Timestamp) -> Result<()> {
        let Some(most) = quota.upload_mib_an_hour.filter(|_| bytes > 0) else { return Ok(()) };
        match self.uploads.add(bytes, most.saturating_mul(MIB), HOUR, now) {
            Ok(()) => Ok(()),
            Err(wait) => refuse(format!(
                "you may send {most} MiB of files an hour (upload_mib_an_hour), and these are {} \
                 MiB more; try again in {} min",
                bytes.div_ceil(MIB),
                wait.as_secs().div_ceil(60).max(1)
            )),
        }
    }
}

impl Window {
    /// Adds an amount unless there would be more than `most` within `span`; says then how long it
    /// is until some of it is over.
    fn add(
        &mut self,
        amount: u64,
        most: u64,
        span: Duration,
        now: Timestamp,
    ) -> Result<(), Duration> {
        while self.0.front().is_some_and(|(at, _)| now.since(*at) >= span) {
            self.0.pop_front();
        }
        let sum: u64 = self.0.iter().map(|(_, amount)| amount).sum();
        if sum.saturating_add(amount) > most {
            let first = self.0.front().map_or(now, |(at, _)| *at);
            return Err(span.saturating_sub(now.since(first)));
        }
        self.0.push_back((now, amount));
        Ok(())
    }
}

/// Whether a user may have another job of so many tasks beside those that are not over.
///
/// # Errors
/// It would be more than the quota.
pub fn check_jobs(quota: &Quota, user: &UserName, live: &[JobSnapshot], tasks: u64) -> Result<()> {
    let theirs = || live.iter().filter(|job| job.user == *user);
    if let Some(most) = quota.open_jobs
        && theirs().count() as u64 >= most
    {
        return refuse(format!(
            "you may have {most} jobs that are not over (open_jobs); wait for one, or cancel one"
        ));
    }
    let Some(most) = quota.waiting_tasks else { return Ok(()) };
    let open = theirs().map(|job| {
        let counts = job.total();
        counts.tasks.saturating_sub(counts.done + counts.failed + counts.cancelled)
    });
    let open: u64 = open.sum();
    if open.saturating_add(tasks) > most {
        return refuse(format!(
            "you may have {most} tasks waiting (waiting_tasks); {open} do already, and this job has \
             {tasks}; make it smaller, or wait"
        ));
    }
    Ok(())
}

/// Whether a user may give a job this priority.
///
/// # Errors
/// It is higher than the quota.
pub fn check_priority(quota: &Quota, priority: i32) -> Result<()> {
    match quota.highest_priority {
        Some(highest) if priority > highest => refuse(format!(
            "you may give priorities up to {highest} (highest_priority), not {priority}"
        )),
        _ => Ok(()),
    }
}

fn refuse(message: String) -> Result<()> {
    Err(Error::refused(Reason::Quota, message + "; an operator may change your quota"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1000)
    }

    #[test]
    fn submits_are_counted_over_a_minute() {
        let quota = Quota { submits_a_minute: Some(2), ..Quota::default() };
        let mut account = Account::default();
        assert!(account.submit(&quota, at(0)).is_ok());
        assert!(account.submit(&quota, at(30)).is_ok());
        let refused = account.submit(&quota, at(45)).unwrap_err().to_string();
        assert!(refused.contains("2 jobs a minute") && refused.contains("in 15 s"), "{refused}");
        // What was refused does not count.
        assert!(account.submit(&quota, at(60)).is_ok());
        assert!(account.submit(&quota, at(61)).is_err());
        assert!(account.submit(&Quota::default(), at(61)).is_ok());
    }

    #[test]
    fn files_are_counted_over_an_hour() {
        let quota = Quota { upload_mib_an_hour: Some(10), ..Quota::default() };
        let mut account = Account::default();
        assert!(account.upload(&quota, 6 * MIB, at(0)).is_ok());
        let refused = account.upload(&quota, 5 * MIB, at(1800)).unwrap_err().to_string();
        assert!(refused.contains("5 MiB more; try again in 30 min"), "{refused}");
        assert!(account.upload(&quota, 4 * MIB, at(1800)).is_ok());
        assert!(account.upload(&quota, 6 * MIB, at(3600)).is_ok());
        assert!(account.upload(&quota, u64::MAX, at(9999)).is_err());
    }
}
