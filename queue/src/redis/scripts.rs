//! The operations: one Lua file each. A line `-- include open clock` stands for those parts.

use std::sync::OnceLock;

use ::redis::{Cmd, cmd};
use sha1::{Digest, Sha1};

/// A script and the name by which the server knows it.
pub(super) struct Script {
    file: &'static str,
    /// SHA-1 and text.
    loaded: OnceLock<(String, String)>,
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(super) static $name: Script = Script {
            file: include_str!(concat!("lua/", $file, ".lua")),
            loaded: OnceLock::new(),
        };)*
        #[cfg(test)]
        static ALL: &[(&str, &Script)] = &[$(($file, &$name)),*];
    };
}

scripts! {
    SUBMIT = "submit";
    RESTORE = "restore";
    OPEN = "open";
    END_PAUSES = "end_pauses";
    HEARTBEAT = "heartbeat";
    TURN = "turn";
    FAIL = "fail";
    RELEASE = "release";
    REAP = "reap";
    PAUSE = "pause";
    CANCEL = "cancel";
    RETRY = "retry";
    FORGET = "forget";
    SET_PRIORITY = "set_priority";
    DRAIN = "drain";
    JOBS = "jobs";
    WORKERS = "workers";
    HEALTH = "health";
}

macro_rules! parts {
    ($($name:literal),*) => {
        &[$(($name, include_str!(concat!("lua/part/", $name, ".lua")))),*]
    };
}

/// What several scripts have in common.
static PARTS: &[(&str, &str)] = parts!(
    "add",
    "any",
    "bitmap",
    "choose",
    "clock",
    "commit",
    "ended",
    "entries",
    "events",
    "fits",
    "given_before",
    "held",
    "job",
    "lease",
    "leases",
    "lone_commit",
    "lone_lease",
    "nothing",
    "offers",
    "open",
    "record",
    "running",
    "runs",
    "seats",
    "settle",
    "settled",
    "spare",
    "store_lease",
    "take",
    "take_any",
    "tasks",
    "wake",
    "was_committed",
    "whose_turn"
);

const INCLUDE: &str = "-- include ";

/// A script's text with its parts where it names them.
fn assembled(file: &str) -> String {
    let mut text = String::new();
    for line in file.lines() {
        match line.trim_start().strip_prefix(INCLUDE) {
            Some(names) => {
                for (_, part) in names.split(' ').filter_map(part) {
                    text += &assembled(part);
                }
            }
            None => {
                text += line;
                text.push('\n');
            }
        }
    }
    text
}

fn part(name: &str) -> Option<&'static (&'static str, &'static str)> {
    PARTS.iter().find(|(known, _)| *known == name)
}

impl Script {
    fn loaded(&self) -> &(String, String) {
        self.loaded.get_or_init(|| {
            let text = assembled(self.file);
            let hash = Sha1::digest(text.as_bytes());
            (hash.iter().map(|byte| format!("{byte:02x}")).collect(), text)
        })
    }

    /// Calls the script by name.
    pub fn call(&self, key: &str) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.loaded().0).arg(1).arg(key);
        command
    }

    /// Calls the script by its text; the server knows it by name from then on.
    pub fn load(&self, key: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(&self.loaded().1).arg(1).arg(key);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_takes_and_answers() {
        for (name, script) in ALL {
            assert!(script.file.starts_with("-- "), "{name} begins with what it does");
            for word in ["KEYS[1]", "-- Answers"] {
                assert!(script.file.contains(word), "{name} says nothing of {word}");
            }
        }
    }

    #[test]
    fn every_part_is_there_and_used() {
        let named = |text: &'static str| {
            let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(INCLUDE));
            lines.flat_map(|names| names.split(' ')).collect::<Vec<_>>()
        };
        let mut used: Vec<&str> = ALL.iter().flat_map(|(_, script)| named(script.file)).collect();
        for (name, text) in PARTS {
            for inner in named(text) {
                let (_, inner_text) = part(inner).expect("a part");
                assert!(named(inner_text).is_empty(), "{name} includes {inner}, which includes");
                used.push(inner);
            }
        }
        for name in &used {
            assert!(part(name).is_some(), "no part {name:?}");
        }
        for (name, _) in PARTS {
            assert!(used.contains(name), "nobody includes {name:?}");
        }
    }
}
