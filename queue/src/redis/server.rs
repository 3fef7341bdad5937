//! What the server is, and whether a farm may rely on it.

use std::collections::HashMap;

use ::redis::{Value, cmd};
use vqfarm_core::clock::Timestamp;

use super::link::Link;
use super::{ConnectError, decode, scripts};
use crate::{Health, Persistence, QueueError};

/// The oldest server whose commands suffice.
const OLDEST: (u32, u32) = (6, 2);

/// Asks the server that holds the farm; `epoch` is left open.
pub(super) async fn ask(link: &Link, key: &str) -> Result<Info, QueueError> {
    let answer = link.ask(&scripts::HEALTH.load(key)).await?;
    let text = decode::text(&answer)?;
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    let fsync = setting(link, "appendfsync").await;
    let save = setting(link, "save").await;
    Ok(Info { fields, fsync, save })
}

/// A setting, where the account may read settings.
async fn setting(link: &Link, name: &str) -> Option<String> {
    let answer = link.ask(cmd("CONFIG").arg("GET").arg(name)).await.ok()?;
    match answer {
        Value::Array(pair) => decode::text(pair.get(1)?).ok().map(str::to_owned),
        Value::Map(pairs) => decode::text(&pairs.first()?.1).ok().map(str::to_owned),
        _ => None,
    }
}

/// What a server says of itself.
pub(super) struct Info {
    fields: HashMap<String, String>,
    fsync: Option<String>,
    save: Option<String>,
}

impl Info {
    fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Refuses a server on which a farm would lose jobs or not work at all.
    pub fn check(&self) -> Result<(), ConnectError> {
        let found = self.get("redis_version").to_owned();
        let mut parts = found.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if version < OLDEST {
            return Err(ConnectError::Version { found });
        }
        let policy = self.get("maxmemory_policy");
        if policy != "noeviction" {
            return Err(ConnectError::Eviction { found: policy.to_owned() });
        }
        Ok(())
    }

    pub fn health(&self) -> Health {
        let valkey = self.fields.get("valkey_version");
        let persistence = self.persistence();
        Health {
            server: if valkey.is_some() { "valkey" } else { "redis" }.into(),
            version: valkey.map_or(self.get("redis_version"), String::as_str).to_owned(),
            run: self.get("run_id").to_owned(),
            epoch: None,
            now: Timestamp(i64::try_from(self.number("server_time_usec") / 1000).unwrap_or(0)),
            persistence,
            replicas: u32::try_from(self.number("connected_slaves")).unwrap_or(u32::MAX),
            memory_used: self.number("used_memory"),
            memory_limit: Some(self.number("maxmemory")).filter(|limit| *limit > 0),
            warnings: self.warnings(persistence),
        }
    }

    fn persistence(&self) -> Persistence {
        if self.get("aof_enabled") == "1" {
            return match self.fsync.as_deref() {
                Some("always") => Persistence::LogAlways,
                Some("everysec") => Persistence::LogEverySecond,
                _ => Persistence::Log,
            };
        }
        match self.save.as_deref() {
            Some("") => Persistence::Nothing,
            _ => Persistence::Snapshots,
        }
    }

    fn warnings(&self, persistence: Persistence) -> Vec<String> {
        let mut warnings: Vec<String> = Vec::new();
        let lost = "jobs come back from storage, their running tasks are done again";
        match persistence {
            Persistence::Nothing => warnings.push(format!(
                "the server keeps nothing on disk: when it restarts the queue is empty; {lost}; \
                 set `appendonly yes`"
            )),
            Persistence::Snapshots => warnings.push(format!(
                "appendonly is off: when the server restarts, what happened since its last \
                 snapshot is lost; {lost}; set `appendonly yes`"
            )),
            Persistence::Log if self.fsync.is_none() => warnings.push(
                "appendonly is on, but this account may not read appendfsync: how much a power \
                 cut may lose is not known"
                    .into(),
            ),
            Persistence::Log => warnings.push(format!(
                "appendfsync is `no`: a power cut may lose the last half minute; {lost}; set \
                 `appendfsync everysec`"
            )),
            Persistence::LogEverySecond | Persistence::LogAlways => (),
        }
        if self.get("aof_enabled") == "1" && self.get("aof_last_write_status") == "err" {
            warnings.push("the server cannot write its log: is its disk full?".into());
        }
        let policy = self.get("maxmemory_policy");
        if policy != "noeviction" {
            warnings.push(format!(
                "maxmemory-policy has been changed to `{policy}`: when the server is full it forgets \
                 parts of the queue; set `maxmemory-policy noeviction`"
            ));
        }
        let (used, limit) = (self.number("used_memory"), self.number("maxmemory"));
        if limit > 0 && used > limit / 10 * 9 {
            warnings.push(format!(
                "the server has used {used} of {limit} bytes: when it is full it takes no new \
                 jobs; forget old jobs or raise maxmemory"
            ));
        }
        if self.get("role") == "slave" {
            warnings.push("the server is a replica and takes no changes".into());
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(fields: &[(&str, &str)], fsync: Option<&str>, save: Option<&str>) -> Info {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let fields = fields.iter().map(owned).collect();
        Info { fields, fsync: fsync.map(str::to_owned), save: save.map(str::to_owned) }
    }

    #[test]
    fn old_and_evicting_servers_are_refused() {
        let good = ("maxmemory_policy", "noeviction");
        for (version, fine) in
            [("6.0.16", false), ("6.2.0", true), ("7.2.4", true), ("10.0", true), ("", false)]
        {
            let found = info(&[("redis_version", version), good], None, None).check();
            assert_eq!(found.is_ok(), fine, "{version:?}: {found:?}");
        }
        let evicting = [("redis_version", "7.0.0"), ("maxmemory_policy", "allkeys-lru")];
        let refused = info(&evicting, None, None).check();
        assert!(matches!(refused, Err(ConnectError::Eviction { .. })));
    }

    #[test]
    fn what_is_risked_is_said() {
        let kept = |aof: &str, fsync, save| {
            let good = ("maxmemory_policy", "noeviction");
            let health = info(&[("aof_enabled", aof), good], fsync, save).health();
            (health.persistence, health.warnings.len())
        };
        assert_eq!(kept("0", None, Some("")), (Persistence::Nothing, 1));
        assert_eq!(kept("0", None, Some("3600 1")), (Persistence::Snapshots, 1));
        assert_eq!(kept("1", Some("everysec"), None), (Persistence::LogEverySecond, 0));
        assert_eq!(kept("1", Some("always"), None), (Persistence::LogAlways, 0));
        assert_eq!(kept("1", Some("no"), None), (Persistence::Log, 1));
        assert_eq!(kept("1", None, None), (Persistence::Log, 1));
        let full = [
            ("used_memory", "95"),
            ("maxmemory", "100"),
            ("aof_enabled", "1"),
            ("maxmemory_policy", "noeviction"),
        ];
        let health = info(&full, Some("always"), None).health();
        assert_eq!((health.memory_limit, health.warnings.len()), (Some(100), 1));
        let evicting = [("aof_enabled", "1"), ("maxmemory_policy", "allkeys-lru")];
        let health = info(&evicting, Some("always"), None).health();
        let [warning] = health.warnings.as_slice() else { panic!("{:?}", health.warnings) };
        assert!(warning.contains("allkeys-lru") && warning.contains("noeviction"), "{warning}");
    }
}
