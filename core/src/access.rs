//! Who may do what on a farm: tokens, of which only hashes are kept, in a file of TOML.
//!
//! ```toml
//! [[token]]
//! sha256 = "…"                        # as `vqfarm token create` writes it
//! user = "ada"
//! role = "submitter"                  # viewer, worker, submitter or operator
//! expires = "2027-01-01T00:00:00Z"    # never when left out
//!
//! [quota]                             # of each user; operators have none
//! open_jobs = 50                      # what is left out is not limited
//! waiting_tasks = 1000000
//! submits_a_minute = 30
//! highest_priority = 10
//! upload_mib_an_hour = 4096
//!
//! [quota_of.ada]                      # of one user, in place of the above
//! open_jobs = 200
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::id::{UserName, WorkerId};

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything, fetches results.
    Viewer,
    /// A machine with workers: looks, and drains those that bear its name.
    Worker,
    /// Looks, submits, changes jobs of its own.
    Submitter,
    /// Changes any job and any worker.
    Operator,
}

/// What a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    Look,
    /// Draining a worker of one's own.
    Drain,
    /// Submitting, and changing jobs of one's own.
    Submit,
    /// Everything else.
    Operate,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Worker, Self::Submitter, Self::Operator];

    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Worker => "worker",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
        }
    }

    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Look => true,
            Right::Drain => matches!(self, Self::Worker | Self::Operator),
            Right::Submit => matches!(self, Self::Submitter | Self::Operator),
            Right::Operate => self == Self::Operator,
        }
    }
}

impl Right {
    /// The least role that has it.
    pub fn role(self) -> Role {
        match self {
            Self::Look => Role::Viewer,
            Self::Drain => Role::Worker,
            Self::Submit => Role::Submitter,
            Self::Operate => Role::Operator,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.word() == word);
        found.ok_or_else(|| {
            format!("{word:?} is no role; there are {}", Self::ALL.map(Self::word).join(", "))
        })
    }
}

/// How secrets begin, and of how many random bytes the rest is.
const PREFIX: &str = "vqf_";
const RANDOM: usize = 32;
/// Letters of a hash by which people know a token.
const ID: usize = 8;

/// What people call the token that a secret opens, or opened before it was revoked. None of what is no
/// such secret: of a password that was typed in its place nothing is told.
pub fn id_of(secret: &str) -> Option<String> {
    let rest = secret.trim().strip_prefix(PREFIX)?;
    let made_here = rest.len() == 2 * RANDOM && rest.bytes().all(|b| b.is_ascii_hexdigit());
    made_here.then(|| hash(secret)[..ID].to_owned())
}

/// A token as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The secret's SHA-256, in hexadecimal digits.
    pub sha256: String,
    pub user: UserName,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Token {
    /// A token from 32 random bytes, and the secret that opens it.
    pub fn create(
        random: &[u8; RANDOM],
        user: UserName,
        role: Role,
        expires: Option<Timestamp>,
    ) -> (String, Self) {
        let secret = format!("{PREFIX}{}", hex(random));
        let token = Self { sha256: hash(&secret), user, role, expires };
        (secret, token)
    }

    /// What people call it: the beginning of its hash.
    pub fn id(&self) -> &str {
        self.sha256.get(..ID).unwrap_or(&self.sha256)
    }

    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether a worker bears this token's name: `node7` itself, or `node7-1`.
    pub fn names(&self, worker: &WorkerId) -> bool {
        let rest = worker.as_str().strip_prefix(self.user.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.', '_', '@']))
    }
}

/// What a user may have of a farm; what is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Jobs that are not over.
    pub open_jobs: Option<u64>,
    /// Tasks of those that are not done.
    pub waiting_tasks: Option<u64>,
    pub submits_a_minute: Option<u64>,
    pub highest_priority: Option<i32>,
    /// Pictures, sounds and weights.
    pub upload_mib_an_hour: Option<u64>,
}

/// All that a file of tokens says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    #[serde(default, rename = "token")]
    pub tokens: Vec<Token>,
    #[serde(default)]
    quota: Quota,
    #[serde(default)]
    quota_of: BTreeMap<UserName, Quota>,
}

impl Access {
    /// # Errors
    /// It is no TOML, a field is unknown or wrong; the message has its place.
    pub fn parse(text: &str) -> Result<Self, String> {
        let access: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (number, token) in access.tokens.iter().enumerate() {
            let is_hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
            if token.sha256.len() != 64 || !token.sha256.bytes().all(is_hex) {
                let (number, user) = (number + 1, &token.user);
                return Err(format!(
                    "token {number} (of {user}): sha256 must be 64 lower-case hexadecimal digits"
                ));
            }
        }
        Ok(access)
    }

    /// The token that a secret opens.
    pub fn find(&self, secret: &str) -> Option<&Token> {
        let hash = hash(secret);
        self.tokens.iter().find(|token| token.sha256 == hash)
    }

    pub fn quota(&self, user: &UserName) -> Quota {
        self.quota_of.get(user).copied().unwrap_or(self.quota)
    }
}

/// When something ends that is said as a time, as 2027-01-01T00:00:00Z, or as what is left until
/// then, as 90d or 12h.
///
/// # Errors
/// It is neither, or has passed.
pub fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || format!("{text:?} is no time; write it as in 90d, 12h or 2027-01-01T00:00:00Z");
    let at = match text.parse::<Timestamp>() {
        Ok(at) => at,
        Err(_) => {
            let left: Span = text.parse().map_err(|_| wrong())?;
            let at = now.to_zoned(TimeZone::UTC).checked_add(left).map_err(|_| wrong())?;
            at.timestamp().round(jiff::Unit::Second).map_err(|_| wrong())?
        }
    };
    if at > now { Ok(at) } else { Err(format!("{text:?} has passed")) }
}

fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret.trim()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[test]
    fn a_secret_opens_its_token_and_is_not_in_it() {
        let (secret, token) = Token::create(&[7; 32], user("ada"), Role::Viewer, None);
        assert!(secret.starts_with("vqf_0707"));
        assert_eq!(id_of(&secret).as_deref(), Some(token.id()));
        for other in ["", "vqf_", "hunter2", "vqf_guessed", &secret[..67], &secret.to_uppercase()] {
            assert_eq!(id_of(other), None, "{other}");
        }
        let text = format!("[[token]]\n{}", toml::to_string(&token).unwrap());
        assert!(!text.contains(&secret) && text.contains(token.id()));
        let access = Access::parse(&text).unwrap();
        assert_eq!(access.find(&format!("{secret}\n")), Some(&token));
        assert_eq!(access.find("vqf_08"), None);
    }

    #[test]
    fn each_role_has_its_rights_and_no_others() {
        let rights = [Right::Look, Right::Drain, Right::Submit, Right::Operate];
        for (role, may) in [
            (Role::Viewer, [true, false, false, false]),
            (Role::Worker, [true, true, false, false]),
            (Role::Submitter, [true, false, true, false]),
            (Role::Operator, [true, true, true, true]),
        ] {
            assert_eq!(rights.map(|right| role.may(right)), may, "{role}");
            assert_eq!(role.word().parse::<Role>().unwrap(), role);
        }
        assert!(rights.iter().all(|right| right.role().may(*right)));
    }

    #[test]
    fn a_machine_names_its_own_workers_only() {
        let (_, token) = Token::create(&[0; 32], user("node7"), Role::Worker, None);
        let names = |id: &str| token.names(&WorkerId::new(id).unwrap());
        assert!(names("node7") && names("node7-2") && names("node7.gpu1"));
        assert!(!names("node70") && !names("node70-1") && !names("node") && !names("x-node7"));
    }

    #[test]
    fn quotas_of_one_user_stand_in_place_of_those_of_all() {
        let text = "[quota]\nopen_jobs = 2\n[quota_of.ada]\nsubmits_a_minute = 5\n";
        let access = Access::parse(text).unwrap();
        assert_eq!(access.quota(&user("bob")).open_jobs, Some(2));
        let ada = Quota { submits_a_minute: Some(5), ..Quota::default() };
        assert_eq!(access.quota(&user("ada")), ada);
        let refused = Access::parse("[quota]\nopen_job = 2").unwrap_err();
        assert!(refused.contains("open_job") && refused.contains("open_jobs"), "{refused}");
    }

    #[test]
    fn a_token_ends_at_a_time_or_after_one() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for (text, at) in [
            ("90d", "2027-02-22T12:00:00Z"),
            ("12h", "2026-11-25T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(expiry(text, now), Ok(at.parse().unwrap()), "{text}");
        }
        for wrong in ["", "soon", "90", "-1d", "0s", "2020-01-01T00:00:00Z", "99999999y"] {
            assert!(expiry(wrong, now).is_err(), "{wrong}");
        }
    }
}
