//! How fast this worker makes pictures, stored for those who ask what a job will take.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vqfarm_core::keys;
use vqfarm_core::speed::{Speed, Workload};
use vqfarm_storage::JobStore;

/// Fewer iterations say more of the beginning and the end of a picture than of themselves.
const ENOUGH: u32 = 10;
/// The same speed is stored no more often than this.
const AGAIN: Duration = Duration::from_secs(300);

type Kind = (Workload, [u32; 2]);

/// What lanes measured, by kind of picture.
pub struct Speeds {
    /// A farm's root, or the folder of this machine's models; nothing is stored without one.
    store: Option<JobStore>,
    measured: Mutex<HashMap<Kind, Measured>>,
}

struct Measured {
    device: &'static str,
    /// Iterations times pictures, and what they took.
    iterations: f64,
    took: Duration,
    /// When it was last stored.
    stored: Option<Instant>,
    changed: bool,
}

/// Pictures that were made together.
pub struct Made {
    pub kind: Kind,
    pub pictures: usize,
    /// Of each picture.
    pub iterations: u32,
    pub took: Duration,
    pub is_cuda: bool,
}

impl Speeds {
    pub fn new(store: Option<JobStore>) -> Self {
        Self { store, measured: Mutex::default() }
    }

    /// Takes note of pictures that a device has made.
    pub fn note(&self, made: Made) {
        if made.iterations < ENOUGH {
            return;
        }
        let device = if made.is_cuda { "cuda" } else { "cpu" };
        let mut measured = self.lock();
        let all = measured.entry(made.kind).or_insert(Measured {
            device,
            iterations: 0.0,
            took: Duration::ZERO,
            stored: None,
            changed: false,
        });
        all.iterations += made.pictures as f64 * f64::from(made.iterations);
        all.took += made.took;
        all.changed = true;
    }

    /// Stores what is new and was not stored lately. Nothing depends on it, so what cannot be
    /// stored is not.
    pub async fn store(&self) {
        self.store_if(|stored| stored.is_none_or(|then| then.elapsed() >= AGAIN)).await;
    }

    /// Stores all that is new, before the worker leaves.
    pub async fn store_all(&self) {
        self.store_if(|_| true).await;
    }

    async fn store_if(&self, due: impl Fn(Option<Instant>) -> bool) {
        let Some(store) = &self.store else { return };
        for (key, speed) in self.due(due) {
            let stored = match serde_json::to_vec(&speed) {
                Ok(json) => store.replace(&key, json.into()).await.map_err(|e| e.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = stored {
                tracing::debug!(key, error, "a measured speed was not stored");
            }
        }
    }

    fn due(&self, due: impl Fn(Option<Instant>) -> bool) -> Vec<(String, Speed)> {
        let mut measured = self.lock();
        let due =
            measured.iter_mut().filter(|(_, measured)| measured.changed && due(measured.stored));
        let speed = |((workload, size), measured): (&Kind, &mut Measured)| {
            (measured.stored, measured.changed) = (Some(Instant::now()), false);
            let seconds = measured.took.as_secs_f64() / measured.iterations;
            let speed = Speed { seconds, device: measured.device.to_owned() };
            (keys::speed(&workload.folder(), *size), speed)
        };
        due.map(speed).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Kind, Measured>> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vqfarm_core::render::RenderSettings;

    use super::*;

    #[tokio::test]
    async fn what_was_measured_is_stored_once_in_a_while() {
        let store = JobStore::memory();
        let speeds = Speeds::new(Some(store.clone()));
        let workload = Workload::of(&RenderSettings::default(), &BTreeMap::new());
        let key = keys::speed(&workload.folder(), [64, 32]);
        let note = |iterations, seconds| {
            speeds.note(Made {
                kind: (workload.clone(), [64, 32]),
                pictures: 4,
                iterations,
                took: Duration::from_secs(seconds),
                is_cuda: false,
            });
        };
        note(9, 1);
        speeds.store().await;
        assert_eq!(store.get(&key).await.unwrap(), None, "too few iterations");
        note(50, 100);
        speeds.store().await;
        let stored = store.get(&key).await.unwrap().unwrap();
        let speed: Speed = serde_json::from_slice(&stored).unwrap();
        assert_eq!(speed, Speed { seconds: 0.5, device: "cpu".into() });
        note(50, 10);
        speeds.store().await;
        assert_eq!(store.get(&key).await.unwrap().unwrap(), stored, "so soon");
        speeds.store_all().await;
        let stored = store.get(&key).await.unwrap().unwrap();
        let speed: Speed = serde_json::from_slice(&stored).unwrap();
        assert_eq!(speed.seconds, 110.0 / 400.0);
    }
}
