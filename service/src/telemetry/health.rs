//! Whether spans are delivered: said once when it begins to fail.

use std::sync::{Arc, Mutex, PoisonError};

use super::exporter::Endpoint;

/// Clones tell of the same.
#[derive(Clone, Debug, Default)]
pub struct Health {
    problem: Arc<Mutex<Option<String>>>,
    /// It may have a user and a password in it.
    address: String,
}

impl Health {
    pub fn of(endpoint: &Endpoint) -> Self {
        Self { address: endpoint.address().to_owned(), ..Self::default() }
    }

    /// Why the last spans were not delivered, if they were not.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn failed(&self, why: &str) {
        let why = why.replace(self.address.as_str(), "the endpoint");
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if problem.is_none() {
            tracing::warn!(error = why, "traces are not delivered; they are dropped meanwhile");
        }
        *problem = Some(why);
    }

    pub fn delivered(&self) {
        let problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner).take();
        if problem.is_some() {
            tracing::info!("traces are delivered again");
        }
    }
}
