//! A connection to a coordinator: TLS, token; and what its refusals mean to a user.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_proto::{Refusal, RefusalReason as Reason};
use vqfarm_service::telemetry::Calls;

use super::token::Manner;
pub use super::way::ConnectArgs;
use super::way::{Origin, Setting, Way, check_address};
use crate::failure::Failure;

/// A connected coordinator.
pub type Farm = FarmClient<Calls<InterceptedService<Channel, Bearer>>>;

/// The largest answer, in bytes: a page of jobs, a task's log.
const MOST: usize = 64 << 20;

/// Puts the token on every call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

impl ConnectArgs {
    /// Connects.
    ///
    /// # Errors
    /// The address, a file or a profile is of no use, or nobody answers there.
    pub async fn connect(&self) -> Result<Farm, Failure> {
        self.connect_in(Manner::Talking).await
    }

    /// As [`Self::connect`], where nobody is asked and nothing is said.
    pub async fn connect_silently(&self) -> Result<Farm, Failure> {
        self.connect_in(Manner::Silent).await
    }

    async fn connect_in(&self, manner: Manner) -> Result<Farm, Failure> {
        let way = self.way()?;
        let endpoint = endpoint(way)?;
        let bearer = Bearer(self.header_of(way, manner).await?);
        let channel = endpoint.connect().await.map_err(|error| unreachable(way, &error))?;
        let calls = Calls::client(InterceptedService::new(channel, bearer));
        Ok(FarmClient::new(calls).max_decoding_message_size(MOST))
    }

    async fn header_of(
        &self,
        way: &Way,
        manner: Manner,
    ) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        if let Some(header) = self.header.get() {
            return Ok(header.clone());
        }
        let header = match &way.token {
            Some(token) => Some(token.header(manner).await?),
            None => None,
        };
        Ok(self.header.get_or_init(|| header).clone())
    }

    /// What a refused call means to a user.
    pub fn explain(&self, status: Status) -> Failure {
        let addr = self.way().map_or(String::new(), |way| way.addr.value.clone());
        if let Some(refusal) = Refusal::of(&status) {
            let fields: Vec<String> = refusal.fields.iter().map(ToString::to_string).collect();
            let message = match fields.as_slice() {
                [] => refusal.message,
                fields => fields.join("\n"),
            };
            let users = matches!(
                refusal.reason,
                Reason::BadJob
                    | Reason::BadRequest
                    | Reason::Ambiguous
                    | Reason::TooLarge
                    | Reason::RequestUsed
            );
            return if users { Failure::Usage(message) } else { Failure::Other(anyhow!(message)) };
        }
        let reason = match std::error::Error::source(&status) {
            Some(source) => describe(source),
            None => status.message().to_owned(),
        };
        let garbled = ["http2", "h2", "frame", "closed", "protocol", "reset"];
        match status.code() {
            Code::OutOfRange => Failure::Usage(format!(
                "the message is larger than the farm takes ({}); most-message-mib of the \
                 coordinator says how much",
                status.message()
            )),
            // A TLS server hangs up on plain text, or answers with an alert.
            _ if addr.starts_with("http://")
                && garbled.iter().any(|word| reason.contains(word))
                && status.code() != Code::NotFound =>
            {
                Failure::Other(anyhow!(
                    "{} hung up ({reason}); if it serves TLS, write https://",
                    addr
                ))
            }
            Code::Unimplemented => Failure::Other(anyhow!(
                "the coordinator at {} does not know this call; is it of version {}?",
                addr,
                env!("CARGO_PKG_VERSION")
            )),
            _ => {
                // A server that takes no certificate says so only after its own greeting.
                let hint = about_certificate(&reason).or_else(|| self.hung_up(&reason));
                let hint = hint.unwrap_or_default();
                Failure::Other(anyhow!("{addr}: {reason}{hint}"))
            }
        }
    }

    /// What may help where a TLS server closed the connection: the alert that says why can come too
    /// late to be read.
    fn hung_up(&self, reason: &str) -> Option<&'static str> {
        let way = self.way().ok().filter(|way| way.addr.value.starts_with("https://"))?;
        let closed = ["connection closed", "reset", "broken pipe"];
        closed.iter().any(|word| reason.to_lowercase().contains(word)).then_some(match way.cert {
            None => "; where the farm asks for a certificate of yours, give --cert and --key",
            Some(_) => {
                "; perhaps the farm does not take your certificate of --cert: it has expired, or \
                 nobody vouches for it there"
            }
        })
    }
}

fn endpoint(way: &Way) -> Result<Endpoint, Failure> {
    let addr = &way.addr.value;
    let named = way.addr.named("coordinator", addr);
    let usage = |reason: String| Failure::Usage(format!("{named}: {reason}"));
    check_address(addr).map_err(usage)?;
    let address = if addr.contains("://") { addr.clone() } else { format!("http://{addr}") };
    let secure = address.starts_with("https://");
    let endpoint = Endpoint::from_shared(address).map_err(|error| usage(describe(&error)))?;
    let endpoint = endpoint
        .user_agent(concat!("vqfarm/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| usage(describe(&error)))?
        .connect_timeout(Duration::from_secs(10))
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .tcp_nodelay(true);
    if !secure {
        if way.ca.is_some() {
            return Err(usage("--ca is for an address that begins with https://".into()));
        }
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new().with_webpki_roots();
    if let Some(ca) = &way.ca {
        tls = tls.ca_certificate(Certificate::from_pem(read(ca, "ca")?));
    }
    match (&way.cert, &way.key) {
        (None, None) => (),
        (Some(cert), Some(key)) => {
            tls = tls.identity(Identity::from_pem(read(cert, "cert")?, read(key, "key")?));
        }
        (Some(_), None) => return Err(usage("--cert takes --key, too".into())),
        (None, Some(_)) => return Err(usage("--key takes --cert, too".into())),
    }
    endpoint.tls_config(tls).map_err(|error| usage(describe(&error)))
}

fn read(file: &Setting<PathBuf>, field: &str) -> Result<Vec<u8>, Failure> {
    fs::read(&file.value).map_err(|error| {
        Failure::Usage(format!("{}: {error}", file.named(field, file.value.display())))
    })
}

/// What helps where the farm refused the certificate that it was shown, or was shown none.
fn about_certificate(reason: &str) -> Option<&'static str> {
    let alert = |names: &[&str]| names.iter().any(|name| reason.contains(name));
    if alert(&["CertificateRequired"]) {
        return Some("; this farm asks for a certificate of yours: give --cert and --key");
    }
    alert(&[
        "CertificateExpired",
        "UnknownCA",
        "BadCertificate",
        "CertificateUnknown",
        "DecryptError",
    ])
    .then_some(
        "; the farm does not take your certificate of --cert: it has expired, or nobody \
                    vouches for it there",
    )
}

fn unreachable(way: &Way, error: &tonic::transport::Error) -> Failure {
    let Setting { value: addr, from } = &way.addr;
    let reason = describe(error);
    let received = reason.contains("received fatal alert");
    let refused = about_certificate(&reason).filter(|_| received);
    let hint = match addr.starts_with("https://") {
        true if refused.is_some() => refused.unwrap_or_default(),
        true if reason.contains("InvalidContentType") => {
            "; the coordinator seems not to speak TLS: try http://"
        }
        true if reason.contains("UnknownIssuer") || reason.contains("certificate") => {
            "; give the certificate that vouches for it with --ca"
        }
        _ => "; is it running? --addr, VQFARM_ADDR or a profile says where",
    };
    let by = match from {
        Origin::Profile(name) => format!(" (profile {name})"),
        _ => String::new(),
    };
    Failure::Other(anyhow!("no coordinator answers at {addr}{by}: {reason}{hint}"))
}

/// Whether the same call may be answered in a moment: the coordinator is away, or the farm is
/// being put back together.
pub fn is_passing(status: &Status) -> bool {
    match Refusal::of(status) {
        Some(refusal) => matches!(refusal.reason, Reason::Closed | Reason::Unavailable),
        // The connection broke, which tonic has several words for.
        None => match status.code() {
            Code::Unavailable => true,
            Code::Unknown | Code::Internal | Code::Cancelled => {
                std::error::Error::source(status).is_some()
                    || status.message().contains("h2")
                    || status.message().contains("transport")
            }
            _ => false,
        },
    }
}

/// An error with its causes, each once.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
