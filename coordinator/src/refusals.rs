//! Refused calls, so that a flood of them does not fill the audit log: of those that are alike the
//! first of a minute is told at once, the others together when the minute is over.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::audit_log::Entry;

const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// Kinds that are told apart at the same time. The others, as of a flood from many addresses, are one.
const MOST: usize = 1000;

/// What makes refused calls alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Refused {
    /// The address without its port, which is another one each time.
    pub peer: Option<String>,
    pub user: Option<String>,
    pub role: Option<String>,
    pub token: Option<String>,
    pub action: String,
    pub reason: Option<String>,
}

impl Refused {
    pub fn of(entry: &Entry<'_>) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let peer = entry.peer.as_deref();
        Self {
            peer: owned(peer.map(|peer| peer.rsplit_once(':').map_or(peer, |(host, _)| host))),
            user: owned(entry.user),
            role: owned(entry.role),
            token: owned(entry.token),
            action: entry.action.to_owned(),
            reason: owned(entry.reason),
        }
    }

    /// All that cannot be told apart any more.
    fn others(self) -> Self {
        Self { action: self.action, reason: self.reason, ..Self::default() }
    }
}

/// The refused calls of the last minute.
#[derive(Debug, Default)]
pub struct Refusals(HashMap<Refused, Seen>);

#[derive(Debug)]
struct Seen {
    first: Timestamp,
    /// Those that were not told.
    more: u64,
}

impl Refusals {
    /// Takes a refused call; whether it is to be told at once.
    pub fn take(&mut self, refused: Refused, now: Timestamp) -> bool {
        let room = self.0.len() < MOST || self.0.contains_key(&refused);
        let key = if room { refused } else { refused.others() };
        match self.0.get_mut(&key) {
            Some(seen) => {
                seen.more += 1;
                false
            }
            None => {
                self.0.insert(key, Seen { first: now, more: 0 });
                true
            }
        }
    }

    /// The kinds whose minute is over, with how many calls were not told of each.
    pub fn over(&mut self, now: Timestamp) -> Vec<(Refused, u64)> {
        let over = self.0.extract_if(|_, seen| now.duration_since(seen.first) >= MINUTE);
        over.map(|(refused, seen)| (refused, seen.more)).filter(|(_, more)| *more > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn from(peer: &str, action: &str) -> Refused {
        let entry = Entry { action, peer: Some(format!("{peer}:4711")), ..Entry::default() };
        Refused::of(&entry)
    }

    #[test]
    fn a_flood_is_one_line_a_minute_and_a_count() {
        let mut refusals = Refusals::default();
        let told = (0..1000).filter(|_| refusals.take(from("10.0.0.1", "LogIn"), at(0))).count();
        assert_eq!(told, 1);
        assert!(refusals.take(from("10.0.0.2", "LogIn"), at(30)), "another peer");
        assert!(refusals.take(from("10.0.0.1", "Pause"), at(30)), "another call");
        assert_eq!(refusals.over(at(59)), []);
        assert_eq!(refusals.over(at(60)), [(from("10.0.0.1", "LogIn"), 999)]);
        assert!(refusals.take(from("10.0.0.1", "LogIn"), at(60)), "another minute");
        assert_eq!(refusals.over(at(90)), [], "what was told at once is told once");
    }

    #[test]
    fn a_flood_from_everywhere_is_bounded_too() {
        let mut refusals = Refusals::default();
        let peers = (0..5 * MOST).map(|peer| peer.to_string());
        let told = peers.filter(|peer| refusals.take(from(peer, "LogIn"), at(0))).count();
        assert_eq!(told, MOST + 1);
        let others = from("", "LogIn").others();
        assert_eq!(refusals.over(at(60)), [(others, 4 * MOST as u64 - 1)]);
    }
}
