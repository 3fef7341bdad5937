//! Tells others when jobs end: webhooks, signed as Standard Webhooks has them, and commands.
//!
//! [`Watch`](ends::Watch) finds ends of which somebody is to be told, [`Teller`](telling::Teller)
//! tries until they are. Whom to tell is in the file of `--notify` ([`settings`]); who was told is
//! in storage ([`ledger`]), so that it survives this process and the queue's memory.

mod command;
mod ends;
mod ledger;
mod retry;
mod settings;
mod sign;
mod telling;
mod webhook;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use vqfarm_core::clock::Timestamp;
use vqfarm_core::keys;
use vqfarm_service::shutdown;

use self::ends::Watch;
pub use self::settings::SettingsError;
use self::settings::{Settings, Target};
use self::telling::Teller;
use crate::error::Result;
use crate::farm::{Farm, to_json};

/// How often the file is looked at for changes.
const REFRESH: Duration = Duration::from_secs(2);
/// Pause before a storage that does not answer is asked again.
const STORAGE: Duration = Duration::from_secs(5);

/// What came of an attempt to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    /// It wants to hear nothing any more.
    Gone,
    Failed {
        reason: String,
        /// How long it asks to be left alone.
        wait: Option<Duration>,
    },
}

/// Whom to tell.
pub struct Notifier {
    path: PathBuf,
    settings: Settings,
    client: reqwest::Client,
}

/// Why nobody can be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("notify: no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// Since when a target is told: what ended before is none of its business.
#[derive(Serialize, Deserialize)]
struct Known {
    target: String,
    since: Timestamp,
}

impl Notifier {
    /// # Errors
    /// The file or a secret cannot be read or is not valid.
    pub fn open(path: &Path) -> Result<Self, NotifyError> {
        let settings = Settings::read(path)?;
        Ok(Self { path: path.to_owned(), settings, client: webhook::client()? })
    }

    /// Tells until `stop` turns true. Begins anew when the file or a secret changes: what was under
    /// way goes on by what is stored.
    pub async fn run(mut self, farm: Arc<Farm>, mut stop: watch::Receiver<bool>) {
        loop {
            let names: Vec<&str> = self.settings.targets.iter().map(|t| t.name.as_str()).collect();
            tracing::info!(targets = ?names, "ends of jobs are told");
            let telling = tell(farm.clone(), &self.settings, self.client.clone());
            tokio::select! {
                never = telling => match never {},
                () = stale(&self.settings) => (),
                () = shutdown::requested(&mut stop) => return,
            }
            match Settings::read(&self.path) {
                Ok(settings) => self.settings = settings,
                Err(error) => {
                    tracing::error!(%error, "who is told stays as it was");
                    self.settings.mark_fresh();
                }
            }
        }
    }
}

async fn stale(settings: &Settings) {
    while !settings.is_stale() {
        tokio::time::sleep(REFRESH).await;
    }
}

/// Goes on for ever.
async fn tell(farm: Arc<Farm>, settings: &Settings, client: reqwest::Client) -> Infallible {
    let now = farm.now();
    let teller = Arc::new(Teller::new(farm.clone(), settings.retry, client));
    let mut listeners = Vec::new();
    for target in &settings.targets {
        let since = loop {
            match since(&farm, target, now).await {
                Ok(since) => break since,
                Err(error) => {
                    tracing::warn!(%error, "cannot look up since when ends are told");
                    tokio::time::sleep(STORAGE).await;
                }
            }
        };
        listeners.push((teller.listener(target.clone()), since));
    }
    Watch::new(teller, listeners).run().await
}

/// Since when a target is told: since a coordinator of the farm first had it.
async fn since(farm: &Farm, target: &Target, now: Timestamp) -> Result<Timestamp> {
    let key = keys::target(&target.key);
    let ours = Known { target: target.name.clone(), since: now };
    farm.storage.create(&key, to_json(&ours)?.into()).await?;
    let stored = farm.storage.get(&key).await?.unwrap_or_default();
    let known: Known = serde_json::from_slice(&stored).unwrap_or(ours);
    Ok(known.since)
}
