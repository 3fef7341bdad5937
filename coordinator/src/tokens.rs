//! Who may do what: bearer tokens, of which only hashes are kept in a file.
//!
//! ```toml
//! [[token]]
//! sha256 = "…"                        # as `vqfarm-coordinator token` prints it
//! user = "ada"
//! role = "submitter"                  # viewer, submitter or operator
//! expires = "2027-01-01T00:00:00Z"    # never when left out
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};
use std::time::SystemTime;

use clap::ValueEnum;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tonic::metadata::MetadataMap;
use vqfarm_core::id::UserName;
use vqfarm_proto::RefusalReason as Reason;

use crate::error::{Error, Result};

/// What a token lets its bearer do; each may what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything, fetch results.
    Viewer,
    /// Submit jobs and push models.
    Submitter,
    /// Change any job and any worker.
    Operator,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub sha256: String,
    pub user: UserName,
    pub role: Role,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Token>,
}

/// Why there are no tokens.
#[derive(Debug, thiserror::Error)]
#[error("tokens: {path}: {reason}")]
pub struct TokensError {
    path: String,
    reason: String,
}

/// The tokens of a file. A farm without one lets everybody do everything.
#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    read: RwLock<(Option<SystemTime>, Vec<Token>)>,
}

impl Tokens {
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let read = RwLock::new((changed(path), read(path)?));
        Ok(Self { path: path.to_owned(), read })
    }

    /// Reads the file again when it has changed; keeps what it had when it cannot be read.
    pub fn refresh(&self) {
        let now = changed(&self.path);
        if self.read.read().unwrap_or_else(PoisonError::into_inner).0 == now {
            return;
        }
        match read(&self.path) {
            Ok(tokens) => {
                tracing::info!(path = %self.path.display(), tokens = tokens.len(), "tokens read");
                *self.read.write().unwrap_or_else(PoisonError::into_inner) = (now, tokens);
            }
            Err(error) => tracing::error!(%error, "the tokens stay as they were"),
        }
    }

    /// The token that a call carries.
    ///
    /// # Errors
    /// None, an unknown or an expired one.
    pub fn find(&self, call: &MetadataMap, now: Timestamp) -> Result<Token> {
        let refuse = |reason, message: String| Err(Error::refused(reason, message));
        let header = call.get("authorization").and_then(|value| value.to_str().ok());
        let Some(secret) = header.and_then(|header| header.strip_prefix("Bearer ")) else {
            let message = "this farm asks for a token: give --token-file or VQFARM_TOKEN";
            return refuse(Reason::Unauthenticated, message.into());
        };
        let hash = hash(secret);
        let read = self.read.read().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = read.1.iter().find(|token| token.sha256 == hash) else {
            return refuse(Reason::Unauthenticated, "the farm does not know this token".into());
        };
        if let Some(expires) = token.expires.filter(|expires| *expires <= now) {
            let message = format!("the token of {} expired at {expires}", token.user);
            return refuse(Reason::Unauthenticated, message);
        }
        Ok(token.clone())
    }

    /// Whose token a call carries.
    ///
    /// # Errors
    /// As [`Tokens::find`], and a token whose role does not reach.
    pub fn admit(&self, call: &MetadataMap, needed: Role, now: Timestamp) -> Result<UserName> {
        let Token { user, role, .. } = self.find(call, now)?;
        if role < needed {
            let (role, needed) = (role.word(), needed.word());
            let message = format!("{user} is a {role} here; this takes the role of {needed}");
            return Err(Error::refused(Reason::Forbidden, message));
        }
        Ok(user)
    }
}

/// A new secret, and its line for the file of tokens.
///
/// # Errors
/// The system has no randomness.
pub fn create(
    user: UserName,
    role: Role,
    expires: Option<Timestamp>,
) -> Result<(String, String), getrandom::Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let secret = format!("vqf_{}", hex(&random));
    let token = vec![Token { sha256: hash(&secret), user, role, expires }];
    // Four plain fields: this is always TOML.
    let line = toml::to_string(&File { token }).unwrap_or_default();
    Ok((secret, line))
}

fn read(path: &Path) -> Result<Vec<Token>, TokensError> {
    let fail = |reason: String| TokensError { path: path.display().to_string(), reason };
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| fail(error.to_string()))?;
    for (number, token) in file.token.iter().enumerate() {
        let good = token.sha256.len() == 64
            && token.sha256.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if !good {
            let which = format!("token {} (of {})", number + 1, token.user);
            return Err(fail(format!("{which}: sha256 must be 64 lower-case hexadecimal digits")));
        }
    }
    Ok(file.token)
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|meta| meta.modified()).ok()
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

    fn call(secret: &str) -> MetadataMap {
        let mut call = MetadataMap::new();
        call.insert("authorization", format!("Bearer {secret}").parse().unwrap());
        call
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[test]
    fn tokens_open_what_their_role_allows_until_they_expire() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let (viewer, first) = create(user("ada"), Role::Viewer, Some(later)).unwrap();
        let (operator, second) = create(user("bob"), Role::Operator, None).unwrap();
        fs::write(&path, format!("{first}\n{second}")).unwrap();
        assert!(!first.contains(&viewer));
        let tokens = Tokens::open(&path).unwrap();

        assert_eq!(tokens.admit(&call(&viewer), Role::Viewer, now).unwrap(), user("ada"));
        assert_eq!(tokens.admit(&call(&operator), Role::Submitter, now).unwrap(), user("bob"));
        let refusal = |secret: &str, role, at| {
            let call = if secret.is_empty() { MetadataMap::new() } else { call(secret) };
            tokens.admit(&call, role, at).unwrap_err().to_string()
        };
        assert!(refusal(&viewer, Role::Submitter, now).contains("ada is a viewer here"));
        assert!(refusal(&viewer, Role::Viewer, later).contains("expired at 2026-11-25"));
        assert!(refusal("vqf_0", Role::Viewer, now).contains("does not know this token"));
        assert!(refusal("", Role::Viewer, now).contains("--token-file"));
    }

    #[test]
    fn a_bad_file_is_refused_at_start_and_ignored_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        fs::write(&path, "[[token]]\nsha256 = \"x\"\nuser = \"ada\"\nrole = \"viewer\"").unwrap();
        let refused = Tokens::open(&path).unwrap_err().to_string();
        assert!(refused.contains("token 1 (of ada): sha256"), "{refused}");
        fs::write(&path, "[[token]]\nuser = \"ada\"\nrole = \"god\"").unwrap();
        assert!(Tokens::open(&path).unwrap_err().to_string().contains("god"));
        let (secret, line) = create(user("ada"), Role::Viewer, None).unwrap();
        fs::write(&path, line).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        tokens.refresh();
        assert!(tokens.admit(&call(&secret), Role::Viewer, Timestamp::UNIX_EPOCH).is_ok());
    }
}
