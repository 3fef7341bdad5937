//! Everything that can go wrong behind a call, and the one place where it becomes a refusal.

use tonic::Status;
use vqfarm_core::file::JobError;
use vqfarm_core::id::NameError;
use vqfarm_core::job::FieldError;
use vqfarm_proto::{Refusal, RefusalReason as Reason};
use vqfarm_queue::QueueError;
use vqfarm_storage::{CheckError, StoreError};

use crate::status::word;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Check(#[from] CheckError),
    #[error("{0}")]
    BadJob(JobError),
    #[error(transparent)]
    BadName(#[from] NameError),
    /// What lies in storage was not written by a program like this one.
    #[error("`{key}` cannot be read: {reason}")]
    Unreadable { key: String, reason: String },
    #[error("{}", .0.message)]
    Refused(Refusal),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn refused(reason: Reason, message: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(reason, message))
    }

    /// Fields of a job that only the farm can judge.
    pub fn fields(fields: Vec<FieldError>) -> Self {
        let message = match fields.as_slice() {
            [one] => one.to_string(),
            several => format!("{} fields of the job are wrong", several.len()),
        };
        Self::Refused(Refusal { fields, ..Refusal::new(Reason::BadJob, message) })
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reason = match &error {
            // In the words of those who ask.
            Error::Queue(QueueError::Finished { job, state, action }) => {
                let (job, state) = (job.short(), word(*state));
                let message = format!("job {job} is {state}; {action} changes nothing any more");
                return Self::new(Reason::Finished, message);
            }
            Error::Queue(error) => reason_of(error),
            Error::Store(error) | Error::Check(CheckError::Store(error)) => store_reason(error),
            Error::BadName(_) => Reason::BadRequest,
            Error::Unreadable { .. } => Reason::Damaged,
            Error::BadJob(error) => {
                let field = |problem: &vqfarm_core::file::Problem| FieldError {
                    field: problem.field.clone(),
                    message: problem.message.clone(),
                    help: problem.help.clone(),
                    at: None,
                };
                let fields = error.problems.iter().map(field).collect();
                return Self { fields, ..Self::new(Reason::BadJob, "the job is not valid") };
            }
            Error::Refused(refusal) => return refusal.clone(),
            _ => Reason::Internal,
        };
        Self::new(reason, message)
    }
}

fn reason_of(error: &QueueError) -> Reason {
    match error {
        QueueError::NoSuchJob(_) | QueueError::NoSuchTask(_) | QueueError::NoSuchWorker(_) => {
            Reason::NotFound
        }
        QueueError::JobExists(_) => Reason::RequestUsed,
        QueueError::Finished { .. }
        | QueueError::NotOver { .. }
        | QueueError::Stale(_)
        | QueueError::OutOfOrder(_) => Reason::Finished,
        QueueError::Invalid(_) => Reason::BadJob,
        QueueError::Closed => Reason::Closed,
        QueueError::Full(_) => Reason::Full,
        QueueError::Unavailable(_) => Reason::Unavailable,
        QueueError::Denied(_) | QueueError::Corrupt(_) | QueueError::Incompatible(_) => {
            Reason::Internal
        }
    }
}

fn store_reason(error: &StoreError) -> Reason {
    match error {
        StoreError::Damaged { .. } | StoreError::TooLarge { .. } => Reason::Damaged,
        StoreError::Missing(_) => Reason::NotFound,
        error if error.is_transient() => Reason::Unavailable,
        _ => Reason::Internal,
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let refusal = Refusal::from(error);
        if matches!(refusal.reason, Reason::Internal | Reason::Damaged | Reason::Unavailable) {
            tracing::warn!(reason = ?refusal.reason, error = refusal.message, "a call failed");
        }
        refusal.into()
    }
}
