//! What is told when a job ends: the body of a farm's notifications and of `--on-end`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{FarmName, JobId, JobName, UserName};

/// Causes of failure that are told, the most frequent first.
const CAUSES: usize = 5;

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    Done,
    /// Some tasks failed for good and nothing else of it can run.
    Failed,
    Cancelled,
}

impl Ending {
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The name of an event, as `job.done`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndEvent {
    #[serde(rename = "job.done")]
    Done,
    #[serde(rename = "job.failed")]
    Failed,
    #[serde(rename = "job.cancelled")]
    Cancelled,
}

impl From<Ending> for EndEvent {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Done => Self::Done,
            Ending::Failed => Self::Failed,
            Ending::Cancelled => Self::Cancelled,
        }
    }
}

/// A job that has ended. Fields may be added; those that are here keep their meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEnd {
    pub event: EndEvent,
    /// None of a render on one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub farm: Option<FarmName>,
    pub job: JobId,
    pub name: JobName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserName>,
    pub state: Ending,
    /// When it was submitted; of a render on one machine, when that began.
    pub started: Timestamp,
    pub ended: Timestamp,
    /// From the one to the other.
    pub seconds: f64,
    /// Of a farm's job, in all layers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<TaskTotals>,
    pub frames: FrameTotals,
    /// What tasks failed of, the most frequent first.
    pub failures: Vec<Cause>,
    /// URLs, or paths on one machine, of what was made of the frames.
    pub outputs: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskTotals {
    pub total: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameTotals {
    pub total: u64,
    /// None of a very large job that is not done: counting takes long there.
    pub stored: Option<u64>,
}

/// Tasks that failed of the same thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// What one of them said, its first line.
    pub message: String,
    pub tasks: u64,
}

impl JobEnd {
    /// The body as it travels: one JSON object.
    pub fn to_json(&self) -> String {
        match serde_json::to_string(self) {
            Ok(json) => json,
            Err(impossible) => unreachable!("text and numbers are always JSON: {impossible}"),
        }
    }

    /// What a command that is told finds in its environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("VQFARM_JOB", self.job.to_string()),
            ("VQFARM_JOB_NAME", self.name.to_string()),
            ("VQFARM_JOB_STATE", self.state.word().to_owned()),
        ];
        variables.extend(self.user.iter().map(|user| ("VQFARM_JOB_USER", user.to_string())));
        variables
    }
}

/// Groups messages of failed tasks by their cause, the most frequent first. Messages that differ in
/// numbers only are one cause.
pub fn causes<'a>(messages: impl IntoIterator<Item = &'a str>) -> Vec<Cause> {
    let mut groups: BTreeMap<String, Cause> = BTreeMap::new();
    for message in messages {
        let message = message.lines().next().unwrap_or_default();
        let group = groups.entry(cause(message));
        group.or_insert_with(|| Cause { message: message.to_owned(), tasks: 0 }).tasks += 1;
    }
    let mut groups: Vec<Cause> = groups.into_values().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks));
    groups.truncate(CAUSES);
    groups
}

/// What is the same in messages of one cause: all but the numbers.
pub fn cause(message: &str) -> String {
    let mut cause = String::with_capacity(message.len());
    for c in message.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !cause.ends_with('#') {
            cause.push(c);
        }
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_keeps_its_form() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let end = JobEnd {
            event: Ending::Failed.into(),
            farm: Some(FarmName::new("studio").unwrap()),
            job: JobId::from_u128(7),
            name: JobName::new("boats").unwrap(),
            user: Some(UserName::new("ada").unwrap()),
            state: Ending::Failed,
            started: at("2026-11-24T12:00:00Z"),
            ended: at("2026-11-24T12:01:30.5Z"),
            seconds: 90.5,
            tasks: Some(TaskTotals { total: 9, done: 6, failed: 2, cancelled: 0 }),
            frames: FrameTotals { total: 8, stored: Some(6) },
            failures: causes(["out of memory: 3 MiB\nmore", "no model", "out of memory: 14 MiB"]),
            outputs: Vec::new(),
        };
        let json = concat!(
            r#"{"event":"job.failed","farm":"studio","job":"00000000000000000000000000000007","#,
            r#""name":"boats","user":"ada","state":"failed","started":"2026-11-24T12:00:00Z","#,
            r#""ended":"2026-11-24T12:01:30.5Z","seconds":90.5,"#,
            r#""tasks":{"total":9,"done":6,"failed":2,"cancelled":0},"#,
            r#""frames":{"total":8,"stored":6},"#,
            r#""failures":[{"message":"out of memory: 3 MiB","tasks":2},"#,
            r#"{"message":"no model","tasks":1}],"outputs":[]}"#
        );
        assert_eq!(end.to_json(), json);
        assert_eq!(serde_json::from_str::<JobEnd>(json).unwrap(), end);
        assert!(end.variables().contains(&("VQFARM_JOB_STATE", "failed".into())));
    }
}
