//! The file that says who may do what, [`vqfarm_core::access`], read again when it changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use vqfarm_core::access::{Access, Quota, id_of};
pub use vqfarm_core::access::{Role, Token};
use vqfarm_core::id::UserName;
use vqfarm_proto::RefusalReason as Reason;

use crate::changed::Stamp;
use crate::error::Error;

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("this farm asks for a token: give --token-file or VQFARM_TOKEN")]
    NoToken,
    /// A guessed one, or one that was revoked; what people called it, if it was ever one.
    #[error("the farm does not know this token")]
    Unknown(Option<String>),
    #[error("the token of {} expired{}", .0.user, .0.expires.map_or_else(String::new, |at| format!(" at {at}")))]
    Expired(Token),
}

impl From<Stranger> for Error {
    fn from(stranger: Stranger) -> Self {
        Self::refused(Reason::Unauthenticated, stranger.to_string())
    }
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
    seen: RwLock<Option<Stamp>>,
    access: watch::Sender<Arc<Access>>,
}

impl Tokens {
    /// # Errors
    /// The file cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<Self, TokensError> {
        let seen = RwLock::new(Stamp::of(path));
        let access = watch::Sender::new(Arc::new(read(path)?));
        Ok(Self { path: path.to_owned(), seen, access })
    }

    /// Reads the file again when it has changed; keeps what it had when it cannot be read.
    pub fn refresh(&self) {
        let now = Stamp::of(&self.path);
        if *self.seen.read().unwrap_or_else(PoisonError::into_inner) == now {
            return;
        }
        *self.seen.write().unwrap_or_else(PoisonError::into_inner) = now;
        match read(&self.path) {
            Ok(access) => {
                let tokens = access.tokens.len();
                tracing::info!(path = %self.path.display(), tokens, "tokens read");
                self.access.send_replace(Arc::new(access));
            }
            Err(error) => tracing::error!(%error, "the tokens stay as they were"),
        }
    }

    /// The token that a call carries. A token that was revoked is none from that moment on.
    ///
    /// # Errors
    /// None, an unknown or an expired one.
    pub fn find(&self, call: &MetadataMap, now: Timestamp) -> Result<Token, Stranger> {
        let header = call.get("authorization").and_then(|value| value.to_str().ok());
        let Some(secret) = header.and_then(|header| header.strip_prefix("Bearer ")) else {
            return Err(Stranger::NoToken);
        };
        self.refresh();
        let access = self.access.borrow().clone();
        let Some(token) = access.find(secret) else {
            return Err(Stranger::Unknown(id_of(secret)));
        };
        match token.is_over(now) {
            true => Err(Stranger::Expired(token.clone())),
            false => Ok(token.clone()),
        }
    }

    pub fn quota(&self, user: &UserName) -> Quota {
        self.access.borrow().quota(user)
    }

    /// Returns when a token lets nobody in any more: it is revoked, has expired, or has another
    /// role.
    pub async fn ended(&self, token: &Token) {
        let mut access = self.access.subscribe();
        let over = async {
            match token.expires {
                Some(at) => {
                    let left = at.duration_since(Timestamp::now());
                    tokio::time::sleep(left.try_into().unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            let _ = access.wait_for(|access| !access.tokens.contains(token)).await;
        };
        tokio::select! {
            () = revoked => (),
            () = over => (),
        }
    }
}

/// A new secret, and its lines for the file of tokens.
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
    let (secret, token) = Token::create(&random, user, role, expires);
    // Four plain fields: this is always TOML.
    let lines = toml::to_string(&token).unwrap_or_default();
    Ok((secret, format!("[[token]]\n{lines}")))
}

fn read(path: &Path) -> Result<Access, TokensError> {
    let fail = |reason: String| TokensError { path: path.display().to_string(), reason };
    let text = fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    Access::parse(&text).map_err(fail)
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
    fn tokens_are_known_until_they_expire() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let (viewer, first) = create(user("ada"), Role::Viewer, Some(later)).unwrap();
        let (operator, second) = create(user("bob"), Role::Operator, None).unwrap();
        fs::write(&path, format!("{first}\n{second}")).unwrap();
        assert!(!first.contains(&viewer));
        let tokens = Tokens::open(&path).unwrap();

        assert_eq!(tokens.find(&call(&viewer), now).unwrap().user, user("ada"));
        assert_eq!(tokens.find(&call(&operator), now).unwrap().role, Role::Operator);
        let refusal = |call: &MetadataMap, at| tokens.find(call, at).unwrap_err().to_string();
        assert!(refusal(&call(&viewer), later).contains("expired at 2026-11-25"));
        assert!(refusal(&call("vqf_0"), now).contains("does not know this token"));
        assert!(refusal(&MetadataMap::new(), now).contains("--token-file"));
    }

    #[test]
    fn a_revoked_token_is_unknown_at_the_next_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.toml");
        let (secret, lines) = create(user("ada"), Role::Viewer, None).unwrap();
        fs::write(&path, &lines).unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert!(tokens.find(&call(&secret), Timestamp::UNIX_EPOCH).is_ok());
        fs::write(&path, "").unwrap();
        assert!(tokens.find(&call(&secret), Timestamp::UNIX_EPOCH).is_err());
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
        assert!(tokens.find(&call(&secret), Timestamp::UNIX_EPOCH).is_ok());
    }
}
