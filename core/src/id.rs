//! Identities: jobs, tasks, workers, users. Each is valid once it exists.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A job's identity: a UUID of version 7, so ids sort by the time of submission.
/// Written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Uuid);

impl JobId {
    /// A new identity, from the machine's clock and randomness.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    pub fn from_u128(value: u128) -> Self {
        Self(Uuid::from_u128(value))
    }

    /// The last eight digits: the random end, enough for people to tell jobs apart.
    pub fn short(&self) -> String {
        self.to_string()[24..].to_owned()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl FromStr for JobId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Uuid::try_parse(text).map(Self).map_err(|_| NameError {
            what: "job id",
            text: text.to_owned(),
            rule: "32 hexadecimal digits",
        })
    }
}

impl TryFrom<String> for JobId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// One task: its job, the number of its layer in the job's plan, its number in the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub job: JobId,
    pub layer: u8,
    pub index: u64,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.job, self.layer, self.index)
    }
}

/// A name that is not allowed where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: it must be {rule}")]
pub struct NameError {
    pub what: &'static str,
    pub text: String,
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $valid:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(NameError { what: $what, text, rule: $rule })
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// What a job is called: shown to people, used in names of files.
    JobName,
    "job name",
    |s| {
        (1..=100).contains(&s.chars().count())
            && !s.starts_with('.')
            && s.trim() == s
            && !s.chars().any(|c| c.is_control() || "/\\".contains(c))
    },
    "1 to 100 characters without slashes, control characters, a leading dot or outer spaces"
);

name!(
    /// One worker process on one machine.
    WorkerId,
    "worker id",
    |s| plain(s, 128),
    "1 to 128 letters, digits or any of `._-@`, not starting with a dot"
);

name!(
    /// Whose job it is; fair share is between users.
    UserName,
    "user name",
    |s| plain(s, 64),
    "1 to 64 letters, digits or any of `._-@`, not starting with a dot"
);

name!(
    /// What a worker offers and a task may need, as `a100` or `ffmpeg`.
    Tag,
    "tag",
    |s| plain(s, 64),
    "1 to 64 letters, digits or any of `._-@`, not starting with a dot"
);

name!(
    /// A farm: several may share one Redis and one store.
    FarmName,
    "farm name",
    |s| plain(s, 64) && !s.contains('@'),
    "1 to 64 letters, digits or any of `._-`, not starting with a dot"
);

name!(
    /// A client's name for one call; the same id again is the same call.
    RequestId,
    "request id",
    |s| plain(s, 128),
    "1 to 128 letters, digits or any of `._-@`, not starting with a dot"
);

name!(
    /// A model in the library, as `imagenet-f16-16384` or `ViT-B/32`.
    ModelName,
    "model name",
    |s| s.len() <= 128 && s.split('/').all(|part| plain(part, 128)),
    "letters, digits or any of `._-@`, in parts joined by `/` that do not start with a dot"
);

impl Default for FarmName {
    fn default() -> Self {
        Self("main".into())
    }
}

impl Default for JobName {
    fn default() -> Self {
        Self("untitled".into())
    }
}

impl RequestId {
    /// A request id that no other call has.
    pub fn generate() -> Self {
        Self(Uuid::now_v7().simple().to_string())
    }
}

fn plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && !text.starts_with('.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_text_and_json() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 32);
        assert!(id.to_string().ends_with(&id.short()));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<JobId>(&json).unwrap(), id);
        assert!("not-an-id".parse::<JobId>().is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", "../up", "a/b", "a\\b", "new\nline", " x", ".hidden"] {
            assert!(JobName::new(bad).is_err(), "{bad:?}");
        }
        assert!(JobName::new("häfen im Nebel 3").is_ok());
        for bad in ["", "..", "../x", "a/../b", "/x", "x/", "a b"] {
            assert!(ModelName::new(bad).is_err(), "{bad:?}");
        }
        assert!(ModelName::new("ViT-L/14@336px").is_ok());
        for bad in ["", "a{b}", "a:b", "a*", "a@b"] {
            assert!(FarmName::new(bad).is_err(), "{bad:?}");
        }
        assert!(FarmName::new("studio-2").is_ok());
        assert!(serde_json::from_str::<WorkerId>("\"a/b\"").is_err());
        assert!(RequestId::new(RequestId::generate().as_str()).is_ok());
    }
}
