//! The log of changes: who did what to the farm, or was refused it, and who was not let in. One JSON
//! object a line, in a file that is only ever appended to.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::changed::Stamp;
use crate::refusals::{Refusals, Refused};

/// One line. What it has no value for is left out.
#[derive(Debug, Default, Serialize)]
pub struct Entry<'a> {
    pub time: Timestamp,
    /// Whose token it was; left out where the farm has no tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'a str>,
    /// The beginning of the token's hash, which `vqfarm token list` shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// The address that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The call of `vqfarm.v1.Farm`.
    pub action: &'a str,
    /// The job or worker that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// `done`, `refused`, or `cut_off` when the caller went away in the middle.
    pub outcome: &'a str,
    /// Why it was refused, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// How many calls like one that was told before this line stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
}

/// The file. Whoever rotates it moves it away; a new one is begun at the next line.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: Mutex<(Option<Stamp>, File)>,
    refusals: Mutex<Refusals>,
}

impl AuditLog {
    /// # Errors
    /// The file cannot be made or written to.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = append(path)?;
        let file = Mutex::new((Stamp::of(path), file));
        Ok(Self { path: path.to_owned(), file, refusals: Mutex::default() })
    }

    /// Appends the line of a call that was refused to whoever made it, unless there was one alike in
    /// the last minute; then it is counted.
    pub fn refuse(&self, entry: &Entry<'_>) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let told = refusals.take(Refused::of(entry), entry.time);
        drop(refusals);
        if told {
            self.write(entry);
        }
    }

    /// Appends how many refused calls were not told, of the kinds whose minute is over by then.
    pub fn tell_refusals(&self, by: Timestamp) {
        let over = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).over(by);
        for (refused, times) in over {
            self.write(&Entry {
                time: Timestamp::now(),
                user: refused.user.as_deref(),
                role: refused.role.as_deref(),
                token: refused.token.as_deref(),
                peer: refused.peer,
                action: &refused.action,
                outcome: "refused",
                reason: refused.reason.as_deref(),
                times: Some(times),
                ..Entry::default()
            });
        }
    }

    /// Appends a line. What cannot be written is told in the coordinator's own log.
    pub fn write(&self, entry: &Entry<'_>) {
        if let Err(error) = self.try_write(entry) {
            let path = self.path.display();
            tracing::error!(%path, %error, ?entry, "the audit log was not written");
        }
    }

    fn try_write(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut held = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |was: &Stamp| Stamp::of(&self.path).is_some_and(|is| is.is_same_file(was));
        if !held.0.as_ref().is_some_and(same) {
            let file = append(&self.path)?;
            *held = (Stamp::of(&self.path), file);
        }
        // In one piece: another coordinator may write to the same file.
        held.1.write_all(&line)
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_log_that_is_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "before\n").unwrap();
        let log = AuditLog::open(&path).unwrap();
        let write = |job| log.write(&Entry { action: "Pause", job: Some(job), ..Entry::default() });
        write("a\n\"b");
        let old = dir.path().join("audit.log.1");
        fs::rename(&path, &old).unwrap();
        write("c");
        let old = fs::read_to_string(old).unwrap();
        assert!(old.starts_with("before\n{") && old.lines().count() == 2, "{old}");
        let line: serde_json::Value = serde_json::from_str(old.lines().nth(1).unwrap()).unwrap();
        assert_eq!(line["job"], "a\n\"b");
        let new = fs::read_to_string(&path).unwrap();
        assert!(new.lines().count() == 1 && new.contains("\"job\":\"c\""), "{new}");
    }
}
