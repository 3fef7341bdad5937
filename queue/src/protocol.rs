//! Which programs can share a farm's queue.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::{QueueError, WorkerInfo};

/// How this program keeps the queue in Redis. It is raised whenever a program of before would
/// misread or spoil what one of now writes; the farm's hash says which one its queue has.
pub const PROTOCOL: u32 = 4;

/// The oldest that this program can work with.
const OLDEST: u32 = 4;

/// The release that this library is of, as workers tell the farm.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a program can work with.
pub(crate) const PROTOCOLS: RangeInclusive<u32> = OLDEST..=PROTOCOL;

/// Refuses a farm whose queue is kept in another way. One that says nothing was opened by a program
/// that did not say it yet.
pub(crate) fn agree(farm: Option<u32>, ours: &RangeInclusive<u32>) -> Result<(), QueueError> {
    let farm = farm.unwrap_or(1);
    if ours.contains(&farm) {
        return Ok(());
    }
    let which = if farm > *ours.end() { "an older" } else { "a newer" };
    Err(QueueError::Incompatible(format!(
        "this program (version {VERSION}) is of {which} kind than the farm: the farm's queue has \
         protocol {farm}, the program knows {} to {}; use programs of one version, as \
         docs/runbook.md says under Upgrading",
        ours.start(),
        ours.end()
    )))
}

/// What is stored of a worker.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told<Info> {
    #[serde(flatten)]
    pub info: Info,
    /// None of programs that did not say it yet.
    #[serde(default)]
    pub version: Option<String>,
}

impl<'a> Told<&'a WorkerInfo> {
    pub fn by_us(info: &'a WorkerInfo) -> Self {
        Self { info, version: Some(VERSION.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_other_protocols_are_refused_in_both_directions() {
        let said = |farm, ours| agree(farm, &ours).map_err(|error| error.to_string());
        assert_eq!(said(None, 1..=1), Ok(()));
        assert_eq!(said(Some(2), 1..=2), Ok(()));
        assert_eq!(said(Some(1), 1..=2), Ok(()));
        assert!(said(Some(2), 1..=1).unwrap_err().contains("an older kind than the farm"));
        assert!(said(None, 2..=3).unwrap_err().contains("a newer kind than the farm"));
        assert!(PROTOCOLS.contains(&PROTOCOL));
    }
}
