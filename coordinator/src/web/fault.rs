//! A page that cannot be shown, and why.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse, Response};
use tonic::{Code, Status};
use vqfarm_proto::{Refusal, RefusalReason};

use super::Frame;

/// Becomes a page that says what is wrong.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    message: String,
}

#[derive(Template)]
#[template(path = "fault.html")]
struct FaultPage {
    frame: Frame,
    title: &'static str,
    message: String,
}

impl Fault {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<Status> for Fault {
    /// The service's refusal in HTTP's terms.
    fn from(refusal: Status) -> Self {
        let reason = Refusal::of(&refusal).map(|refusal| refusal.reason);
        let status = match refusal.code() {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::OutOfRange => StatusCode::PAYLOAD_TOO_LARGE,
            Code::AlreadyExists | Code::FailedPrecondition => StatusCode::CONFLICT,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::ResourceExhausted if reason == Some(RefusalReason::Quota) => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Code::Unavailable | Code::ResourceExhausted => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, refusal.message())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let Self { status, message } = self;
        let title = match status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::UNAUTHORIZED => "Not logged in",
            StatusCode::FORBIDDEN => "Not allowed",
            StatusCode::CONFLICT => "Not possible now",
            StatusCode::TOO_MANY_REQUESTS => "Too much",
            StatusCode::SERVICE_UNAVAILABLE => "Not available",
            StatusCode::INTERNAL_SERVER_ERROR => "Something is broken",
            _ => "Not understood",
        };
        let page = FaultPage { frame: Frame::anonymous(), title, message };
        let html = page.render().unwrap_or_else(|_| title.into());
        (status, [(CACHE_CONTROL, "no-store")], Html(html)).into_response()
    }
}
