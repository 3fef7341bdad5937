//! Who looks at the page: the bearer of a token, which a cookie keeps.

use askama::Template;
use axum::extract::{ConnectInfo, Form, FromRequestParts, Query, State};
use axum::http::header::{ACCEPT, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tonic::{Code, Request, Status};
use vqfarm_core::access::{Right, Role};
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::Farm as _;

use super::fault::Fault;
use super::guard::SITE;
use super::{Frame, Site, assets, show};
use crate::grpc::{Grpc, Peer};

/// Somebody whom the farm lets look.
pub struct Visitor {
    site: Site,
    token: Option<String>,
    user: String,
    role: Role,
    peer: Option<Peer>,
}

impl Visitor {
    /// The service, as the command calls it.
    pub fn farm(&self) -> &Grpc {
        &self.site.0.grpc
    }

    /// A call of this visitor's.
    pub fn ask<T>(&self, message: T) -> Request<T> {
        call(self.token.as_deref(), self.peer, message)
    }

    /// Whether the farm knows a name for them.
    pub fn is_named(&self) -> bool {
        !self.user.is_empty()
    }

    pub fn may(&self, right: Right) -> bool {
        self.role.may(right)
    }

    /// Whether they may change a job of this owner.
    pub fn may_change(&self, owner: &str) -> bool {
        self.may(Right::Operate) || (self.may(Right::Submit) && self.user == owner)
    }

    /// What stands around a page of this section.
    pub fn frame(&self, section: &'static str) -> Frame {
        Frame {
            farm: self.farm().farm.name.to_string(),
            user: self.user.clone(),
            role: self.role.word(),
            may_submit: self.may(Right::Submit),
            may_operate: self.may(Right::Operate),
            logged_in: self.token.is_some(),
            section,
            note: "",
            assets: assets::version(),
        }
    }
}

impl FromRequestParts<Site> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let token = kept(parts, &cookie_name(site));
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0);
        match who(site, token.as_deref(), peer).await {
            Ok((user, role)) => Ok(Self { site: site.clone(), token, user, role, peer }),
            Err(status) if status.code() == Code::Unauthenticated && wants_page(parts) => {
                let next = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                if token.is_none() && parts.headers.get(&SITE).is_some_and(|s| s == "cross-site") {
                    return Err(show(&Again { path: next }).into_response());
                }
                Err(Redirect::to(&format!("/login?next={}", encoded(next))).into_response())
            }
            Err(status) => Err(Fault::from(status).into_response()),
        }
    }
}

/// Whoever follows a link on another site comes without the cookie. From this page the way on has
/// it.
#[derive(Template)]
#[template(
    source = r#"<!doctype html><meta http-equiv="refresh" content="0;url={{ path }}"><a href="{{ path }}">Go on</a>"#,
    ext = "html"
)]
struct Again<'a> {
    path: &'a str,
}

/// Whether a person waits for a page, not a page for a part of it.
fn wants_page(parts: &Parts) -> bool {
    let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    parts.method == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

/// Whom the farm takes the bearer of a token for.
async fn who(
    site: &Site,
    token: Option<&str>,
    peer: Option<Peer>,
) -> Result<(String, Role), Status> {
    let asked = call(token, peer, v1::WhoAmIRequest {});
    let answer = site.0.grpc.who_am_i(asked).await?.into_inner();
    Ok((answer.user, answer.role.parse().unwrap_or(Role::Viewer)))
}

fn call<T>(token: Option<&str>, peer: Option<Peer>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    // What is no header is no token: the farm says that it asks for one.
    if let Some(bearer) = token.and_then(|token| format!("Bearer {token}").parse().ok()) {
        request.metadata_mut().insert("authorization", bearer);
    }
    request
}

/// Cookies are a host's, whatever the port: each farm has its own.
fn cookie_name(site: &Site) -> String {
    format!("vqfarm-token-{}", site.0.grpc.farm.name.as_str().replace('@', "-"))
}

/// The token in the request's cookies.
fn kept(parts: &Parts, name: &str) -> Option<String> {
    let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|one| one.split_once('='));
    let found = pairs.find(|(found, _)| found.trim() == name);
    found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// A cookie that scripts cannot read and other sites' pages cannot send. It ends with the browser.
fn set_cookie(site: &Site, value: &str, more: &str) -> String {
    let secure = if site.0.secure { "; Secure" } else { "" };
    let name = cookie_name(site);
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}")
}

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    next: String,
    refused: String,
}

#[derive(Deserialize)]
pub struct LoginQuery {
    #[serde(default)]
    next: String,
}

pub async fn form(Query(query): Query<LoginQuery>) -> Result<Response, Fault> {
    show(&Login { frame: Frame::anonymous(), next: own_path(&query.next), refused: String::new() })
}

#[derive(Deserialize)]
pub struct LoginForm {
    token: String,
    #[serde(default)]
    next: String,
}

pub async fn log_in(
    State(site): State<Site>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Form(form): Form<LoginForm>,
) -> Result<Response, Fault> {
    let (token, next) = (form.token.trim(), own_path(&form.next));
    // In a cookie a token must be one word.
    let plain = token.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let refused = match who(&site, Some(token).filter(|_| plain), Some(peer)).await {
        Ok(_) if token.is_empty() => return Ok(Redirect::to(&next).into_response()),
        Ok(_) => {
            let cookie = [(SET_COOKIE, set_cookie(&site, token, ""))];
            return Ok((cookie, Redirect::to(&next)).into_response());
        }
        Err(status) if status.code() == Code::Unauthenticated && plain && !token.is_empty() => {
            status.message().to_owned()
        }
        Err(status) if status.code() == Code::Unauthenticated => {
            "this is no token; it begins with vqf_".into()
        }
        Err(status) => return Err(status.into()),
    };
    let page = show(&Login { frame: Frame::anonymous(), next, refused })?;
    Ok((StatusCode::UNAUTHORIZED, page).into_response())
}

pub async fn log_out(State(site): State<Site>) -> Response {
    let cookie = [(SET_COOKIE, set_cookie(&site, "", "; Max-Age=0"))];
    (cookie, Redirect::to("/login")).into_response()
}

/// A path on this farm; the first page where it is none.
fn own_path(next: &str) -> String {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains(['\\', '\r', '\n', '\t'])
        && next.is_ascii();
    if own { next.to_owned() } else { "/".into() }
}

/// A text as a value in a query.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b if b.is_ascii_alphanumeric() || b"/-_.".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_away_after_logging_in() {
        assert_eq!(own_path("/jobs/ab?from=200"), "/jobs/ab?from=200");
        for elsewhere in ["", "//evil", "https://evil", "/\\evil", "/a\r\nx", "javascript:x"] {
            assert_eq!(own_path(elsewhere), "/", "{elsewhere}");
        }
        assert_eq!(encoded("/jobs?state=done&x"), "/jobs%3Fstate%3Ddone%26x");
    }
}
