//! The operations: one Lua file each, behind the parts that it needs.

use ::redis::{Cmd, cmd};
use sha1::{Digest, Sha1};

/// A script and the name by which the server knows it.
pub(super) struct Script {
    source: &'static [&'static str],
    text: std::sync::OnceLock<(String, String)>,
}

macro_rules! scripts {
    ($($name:ident = [$($part:literal),*] $file:literal;)*) => {
        $(pub(super) static $name: Script = Script {
            source: &[$(include_str!(concat!("lua/part/", $part, ".lua")),)* include_str!(concat!("lua/", $file, ".lua"))],
            text: std::sync::OnceLock::new(),
        };)*
        #[cfg(test)]
        pub(super) static ALL: &[(&str, &Script)] = &[$(($file, &$name)),*];
    };
}

scripts! {
    SUBMIT = ["open", "clock", "events", "wake", "job", "offers", "add"] "submit";
    RESTORE = ["any", "clock", "events", "wake", "job", "offers", "add"] "restore";
    OPEN = ["any", "events", "wake"] "open";
    LEASE = ["open", "clock", "events", "spare", "bitmap", "job", "offers", "tasks", "delays", "fits"] "lease";
    HEARTBEAT = ["open", "clock", "spare", "job"] "heartbeat";
    COMMIT = ["open", "clock", "events", "wake", "bitmap", "job", "offers", "tasks", "settled"] "commit";
    FAIL = ["open", "clock", "events", "wake", "job", "offers", "bitmap", "tasks", "settled", "running", "ended"] "fail";
    RELEASE = ["open", "clock", "events", "wake", "bitmap", "job", "offers", "tasks", "settled", "running"] "release";
    REAP = ["open", "clock", "events", "wake", "spare", "bitmap", "job", "offers", "tasks", "ended"] "reap";
    PAUSE = ["open", "clock", "events", "wake", "spare", "job", "offers"] "pause";
    CANCEL = ["open", "clock", "events", "spare", "job", "offers"] "cancel";
    RETRY = ["open", "clock", "events", "wake", "spare", "bitmap", "job", "offers", "tasks", "settled"] "retry";
    FORGET = ["open", "clock", "bitmap", "job", "settled"] "forget";
    SET_PRIORITY = ["open", "clock", "events", "spare", "job", "offers"] "set_priority";
    DRAIN = ["open", "wake", "spare"] "drain";
    JOBS = [] "jobs";
    WORKERS = ["any", "clock", "job"] "workers";
    HEALTH = [] "health";
}

impl Script {
    /// The script's text and SHA-1.
    fn text(&self) -> &(String, String) {
        self.text.get_or_init(|| {
            let text = self.source.concat();
            let hash = Sha1::digest(text.as_bytes());
            (hash.iter().map(|byte| format!("{byte:02x}")).collect(), text)
        })
    }

    /// Calls the script by name.
    pub fn call(&self, key: &str) -> Cmd {
        let mut command = cmd("EVALSHA");
        command.arg(&self.text().0).arg(1).arg(key);
        command
    }

    /// Calls the script by its text; the server knows it by name from then on.
    pub fn load(&self, key: &str) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(&self.text().1).arg(1).arg(key);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_takes_and_answers() {
        for (name, script) in ALL {
            let file = script.source.last().expect("a file");
            assert!(file.starts_with("-- "), "{name} begins with what it does");
            for word in ["KEYS[1]", "-- Answers"] {
                assert!(file.contains(word), "{name} says nothing of {word}");
            }
        }
    }
}
