//! What every request passes: nobody else's page may make a browser act on the farm, or read it.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Site;
use super::fault::Fault;

/// Nothing comes from elsewhere, nothing is written into pages, no page lies in another one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");

/// Where a request comes from, as browsers say.
pub const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub async fn check(State(site): State<Site>, request: Request, next: Next) -> Response {
    let mut answer = match admit(&site, &request) {
        Ok(()) => next.run(request).await,
        Err(fault) => fault.into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(REFERRER_POLICY, NO_REFERRER);
    answer
}

fn admit(site: &Site, request: &Request) -> Result<(), Fault> {
    let headers = request.headers();
    let host = match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => text(headers, &HOST).and_then(|host| host.parse().ok()),
    };
    let host = host.ok_or_else(|| Fault::bad_request("the request names no host"))?;
    // Without tokens the browser's user is trusted. Another site's name that leads here must not
    // make its pages ours.
    if site.0.grpc.tokens.is_none() && !is_this_machine(&host) {
        let message = format!(
            "without a --tokens file the farm's page is for this machine alone, as \
             http://localhost, not as {host}"
        );
        return Err(Fault::new(StatusCode::MISDIRECTED_REQUEST, message));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    if changes && !is_own(headers, &host) {
        let message = "another site's page asked for this; nothing was done";
        return Err(Fault::new(StatusCode::FORBIDDEN, message));
    }
    Ok(())
}

fn is_this_machine(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|addr| addr.is_loopback())
}

/// Whether a page of this farm asks. Programs that are no browsers say nothing of it, and carry
/// no cookie against their user's will.
fn is_own(headers: &HeaderMap, host: &Authority) -> bool {
    if headers.contains_key(SITE) {
        return text(headers, &SITE) == Some("same-origin");
    }
    match headers.get(ORIGIN) {
        None => true,
        Some(origin) => {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host.as_str()))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are() {
        for host in ["localhost", "LOCALHOST:7080", "127.0.0.1:7080", "127.8.9.1", "[::1]:80"] {
            assert!(is_this_machine(&host.parse().unwrap()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "10.0.0.1:80"] {
            assert!(!is_this_machine(&host.parse().unwrap()), "{host}");
        }
    }

    #[test]
    fn only_own_pages_act() {
        let host: Authority = "farm:7080".parse().unwrap();
        let from = |site: Option<&str>, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.extend(site.map(|site| (SITE, site.parse().unwrap())));
            headers.extend(origin.map(|origin| (ORIGIN, origin.parse().unwrap())));
            is_own(&headers, &host)
        };
        assert!(from(Some("same-origin"), Some("http://farm:7080")));
        assert!(from(None, Some("https://farm:7080")) && from(None, None));
        for site in ["cross-site", "same-site", "none", ""] {
            assert!(!from(Some(site), Some("http://farm:7080")), "{site}");
        }
        for origin in ["http://evil", "http://farm:80", "null", "http://farm:7080.evil"] {
            assert!(!from(None, Some(origin)), "{origin}");
        }
    }
}
