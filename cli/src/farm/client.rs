//! The way to a coordinator: address, TLS, token; and what its refusals mean to a user.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};
use vqfarm_proto::v1::farm_client::FarmClient;
use vqfarm_proto::{Refusal, RefusalReason as Reason};

use crate::failure::Failure;

/// Where a coordinator listens unless it is told otherwise.
const DEFAULT: &str = "http://127.0.0.1:7070";

/// Which coordinator, and who asks.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectArgs {
    /// Address of the farm's coordinator
    #[arg(long, value_name = "URL", env = "VQFARM_ADDR", default_value = DEFAULT)]
    addr: String,

    /// Certificate, PEM, that vouches for an https:// coordinator of your own
    #[arg(long, value_name = "FILE", env = "VQFARM_CA")]
    ca: Option<PathBuf>,

    /// File with your token, where the farm asks for one; VQFARM_TOKEN may hold the token itself
    #[arg(long, value_name = "FILE", env = "VQFARM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

/// A connected coordinator.
pub type Farm = FarmClient<InterceptedService<Channel, Bearer>>;

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
    /// Whether nobody said which coordinator.
    pub fn is_default(&self) -> bool {
        self.addr == DEFAULT
    }

    /// Connects.
    ///
    /// # Errors
    /// The address or a file is of no use, or nobody answers there.
    pub async fn connect(&self) -> Result<Farm, Failure> {
        let endpoint = self.endpoint()?;
        let bearer = self.bearer()?;
        let channel = endpoint.connect().await.map_err(|error| self.unreachable(&error))?;
        Ok(FarmClient::with_interceptor(channel, bearer).max_decoding_message_size(MOST))
    }

    fn endpoint(&self) -> Result<Endpoint, Failure> {
        let usage = |reason: String| Failure::Usage(format!("--addr {}: {reason}", self.addr));
        let address = match self.addr.split_once("://") {
            Some(("http" | "https", _)) => self.addr.clone(),
            Some((scheme, _)) => {
                return Err(usage(format!("`{scheme}` is neither http nor https")));
            }
            None => format!("http://{}", self.addr),
        };
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
            if self.ca.is_some() {
                return Err(usage("--ca is for an address that begins with https://".into()));
            }
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new().with_webpki_roots();
        if let Some(path) = &self.ca {
            let pem = fs::read(path)
                .map_err(|error| Failure::Usage(format!("--ca {}: {error}", path.display())))?;
            tls = tls.ca_certificate(Certificate::from_pem(pem));
        }
        endpoint.tls_config(tls).map_err(|error| usage(describe(&error)))
    }

    fn bearer(&self) -> Result<Bearer, Failure> {
        let (token, from) = match &self.token_file {
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Failure::Usage(format!("--token-file {}: {error}", path.display()))
                })?;
                (text, format!("--token-file {}", path.display()))
            }
            None => match std::env::var("VQFARM_TOKEN") {
                Ok(token) if !token.trim().is_empty() => (token, "VQFARM_TOKEN".into()),
                _ => return Ok(Bearer(None)),
            },
        };
        let header = format!("Bearer {}", token.trim()).parse();
        let mut header: MetadataValue<Ascii> =
            header.map_err(|_| Failure::Usage(format!("{from}: this is not a token")))?;
        header.set_sensitive(true);
        Ok(Bearer(Some(header)))
    }

    fn unreachable(&self, error: &tonic::transport::Error) -> Failure {
        let reason = describe(error);
        let hint = match self.addr.starts_with("https://") {
            true if reason.contains("InvalidContentType") => {
                "; the coordinator seems not to speak TLS: try http://"
            }
            true if reason.contains("UnknownIssuer") || reason.contains("certificate") => {
                "; give the certificate that vouches for it with --ca"
            }
            _ => "; is it running? --addr or VQFARM_ADDR says where",
        };
        Failure::Other(anyhow!("no coordinator answers at {}: {reason}{hint}", self.addr))
    }

    /// What a refused call means to a user.
    pub fn explain(&self, status: Status) -> Failure {
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
            _ if self.addr.starts_with("http://")
                && garbled.iter().any(|word| reason.contains(word))
                && status.code() != Code::NotFound =>
            {
                Failure::Other(anyhow!(
                    "{} hung up ({reason}); if it serves TLS, write https://",
                    self.addr
                ))
            }
            Code::Unimplemented => Failure::Other(anyhow!(
                "the coordinator at {} does not know this call; is it of version {}?",
                self.addr,
                env!("CARGO_PKG_VERSION")
            )),
            _ => Failure::Other(anyhow!("{}: {reason}", self.addr)),
        }
    }
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
