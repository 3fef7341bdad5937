//! One attempt to tell by HTTP.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use url::Url;

use super::Told;
use super::sign::Secret;

/// From the connect to the answer's last byte.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of an answer that are read.
const READ: usize = 2000;
/// Characters of an answer that are logged.
const SHOWN: usize = 200;

/// # Errors
/// There is no cryptography.
pub fn client() -> reqwest::Result<Client> {
    // The HTTP client asks the process for its cryptography. Somebody may have chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("vqfarm/", env!("CARGO_PKG_VERSION")))
        // A redirect could lead anywhere, into networks that only this machine reaches, too.
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .build()
}

/// Posts the body, signed with the time of this attempt.
pub async fn post(
    client: &Client,
    url: &Url,
    secret: &Secret,
    id: &str,
    body: &str,
    now: Timestamp,
) -> Told {
    let timestamp = now.as_second();
    let sent = client
        .post(url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", secret.sign(id, timestamp, body.as_bytes()))
        .body(body.to_owned())
        .send()
        .await;
    match sent {
        Ok(response) => judge(response, now).await,
        Err(error) => Told::Failed { reason: plain(error), wait: None },
    }
}

async fn judge(response: Response, now: Timestamp) -> Told {
    let status = response.status();
    if status.is_success() {
        return Told::Yes;
    }
    if status == StatusCode::GONE {
        return Told::Gone;
    }
    let wait = retry_after(response.headers(), now);
    let hint = match status.is_redirection() {
        true => "; redirects are not followed, name the final URL",
        false => "",
    };
    let said = said(response).await;
    Told::Failed { reason: format!("it answered {status}{hint}{said}"), wait }
}

/// The beginning of an answer, fit for a log.
async fn said(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk[..chunk.len().min(READ - bytes.len())]);
        if bytes.len() == READ {
            break;
        }
    }
    let text: String = String::from_utf8_lossy(&bytes).trim().chars().take(SHOWN).collect();
    if text.is_empty() { text } else { format!(": {text:?}") }
}

/// How long the receiver asks to be left alone: seconds, or until a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(until.duration_since(now).try_into().unwrap_or_default())
}

/// The error and its causes without the URL, which may hold secrets.
fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_may_be_asked_for_in_seconds_or_until_a_date() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let asked = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(asked("120"), Some(Duration::from_secs(120)));
        assert_eq!(asked("Tue, 24 Nov 2026 12:01:30 GMT"), Some(Duration::from_secs(90)));
        assert_eq!(asked("Tue, 24 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("soon"), None);
        assert_eq!(asked("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
