//! A refusal on its way through a gRPC status and back.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};
use vqfarm_core::job::FieldError;

/// The domain of the reasons, as google.rpc.ErrorInfo wants it.
const DOMAIN: &str = "vqfarm";

/// What a program can act on; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There is no such job, task, worker or file.
    NotFound,
    /// The part of an id fits several jobs.
    Ambiguous,
    /// Fields of a job are wrong.
    BadJob,
    /// An argument of the call is wrong.
    BadRequest,
    /// More than the farm takes.
    TooLarge,
    /// The request id belongs to another job.
    RequestUsed,
    /// The job is over and cannot change.
    Finished,
    /// The job does not have yet what is asked for.
    Unfinished,
    /// The farm is being put back together; try again soon.
    Closed,
    /// The queue's server has no room for new jobs.
    Full,
    /// More than this user may have.
    Quota,
    /// The queue or the storage does not answer.
    Unavailable,
    /// No token, or not one that may do this.
    Unauthenticated,
    Forbidden,
    /// Stored bytes are not what they should be.
    Damaged,
    Internal,
}

impl Reason {
    const ALL: [(Self, &str, Code); 16] = [
        (Self::NotFound, "NOT_FOUND", Code::NotFound),
        (Self::Ambiguous, "AMBIGUOUS", Code::InvalidArgument),
        (Self::BadJob, "BAD_JOB", Code::InvalidArgument),
        (Self::BadRequest, "BAD_REQUEST", Code::InvalidArgument),
        (Self::TooLarge, "TOO_LARGE", Code::OutOfRange),
        (Self::RequestUsed, "REQUEST_USED", Code::AlreadyExists),
        (Self::Finished, "FINISHED", Code::FailedPrecondition),
        (Self::Unfinished, "UNFINISHED", Code::FailedPrecondition),
        (Self::Closed, "CLOSED", Code::Unavailable),
        (Self::Full, "FULL", Code::ResourceExhausted),
        (Self::Quota, "QUOTA", Code::ResourceExhausted),
        (Self::Unavailable, "UNAVAILABLE", Code::Unavailable),
        (Self::Unauthenticated, "UNAUTHENTICATED", Code::Unauthenticated),
        (Self::Forbidden, "FORBIDDEN", Code::PermissionDenied),
        (Self::Damaged, "DAMAGED", Code::DataLoss),
        (Self::Internal, "INTERNAL", Code::Internal),
    ];

    /// The word that travels, as `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    fn entry(self) -> (&'static str, Code) {
        let found = Self::ALL.iter().find(|(reason, _, _)| *reason == self);
        found.map_or(("INTERNAL", Code::Internal), |(_, name, code)| (name, *code))
    }

    pub fn code(self) -> Code {
        self.entry().1
    }
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
    /// What is wrong with a job, field by field.
    pub fields: Vec<FieldError>,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), fields: Vec::new() }
    }

    /// What a status says; none when another program sent it.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        let (reason, _, _) = *Reason::ALL
            .iter()
            .find(|(_, name, _)| info.domain == DOMAIN && *name == info.reason)?;
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations);
        let field =
            |violation: FieldViolation| FieldError::new(violation.field, violation.description);
        let fields = violations.unwrap_or_default().into_iter().map(field).collect();
        Some(Self { reason, message: status.message().to_owned(), fields })
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (name, code) = refusal.reason.entry();
        let mut details = ErrorDetails::with_error_info(name, DOMAIN, []);
        for FieldError { field, message, help, .. } in refusal.fields {
            let help = help.map_or(String::new(), |help| format!("; {help}"));
            details.add_bad_request_violation(field, message + &help);
        }
        Status::with_error_details(code, refusal.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_survives_the_way() {
        let mut refusal = Refusal::new(Reason::BadJob, "the job is not valid");
        refusal.fields.push(FieldError {
            help: Some("ask for less".into()),
            ..FieldError::new("render.size[0]", "too wide")
        });
        let status = Status::from(refusal);
        assert_eq!(status.code(), Code::InvalidArgument);
        let back = Refusal::of(&status).unwrap();
        assert_eq!(back.reason, Reason::BadJob);
        assert_eq!(back.fields, [FieldError::new("render.size[0]", "too wide; ask for less")]);
        for (reason, _, code) in Reason::ALL {
            let status = Status::from(Refusal::new(reason, "x"));
            assert_eq!((status.code(), Refusal::of(&status).unwrap().reason), (code, reason));
        }
        assert_eq!(Refusal::of(&Status::internal("other")), None);
    }

    /// Whoever meets a refusal finds there what it means and what to do.
    #[test]
    fn every_reason_is_in_the_runbook() {
        let runbook = include_str!("../../docs/runbook.md");
        for (_, name, _) in Reason::ALL {
            let row = runbook.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("docs/runbook.md does not tell of {name}"));
            assert_eq!(row.split(" | ").filter(|cell| !cell.trim().is_empty()).count(), 4, "{row}");
        }
        let is_exit = |line: &str| line.ends_with("| 1 |") || line.ends_with("| 2 |");
        let rows = runbook.lines().filter(|line| line.starts_with("| `") && is_exit(line));
        assert_eq!(rows.count(), Reason::ALL.len());
    }
}
