//! TLS for the service and the web page, with the same certificate. Its files are looked at again
//! when they change, so that a renewed certificate needs no restart.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{self, Stream};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::changed::Stamp;
use crate::expiry::expiry;

/// How long a client may take to agree on a key.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Clients that do so at the same time.
const AT_ONCE: usize = 64;
/// How long nothing is accepted after the system refused, as when it has no more files.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the server's certificate is.
#[derive(Clone, Debug)]
pub struct Files {
    /// A chain of certificates, PEM.
    pub cert: PathBuf,
    /// Their private key, PEM.
    pub key: PathBuf,
    /// Certificates of those who vouch for clients, PEM; without it clients need none.
    pub client_ca: Option<PathBuf>,
}

/// What is wrong with one of the files.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {path}: {reason}")]
pub struct TlsError {
    name: &'static str,
    path: String,
    reason: String,
}

/// The server's part of TLS, as its files have it now.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    now: Mutex<(Seen, Served)>,
}

/// What is served.
#[derive(Clone, Debug)]
struct Served {
    config: Arc<ServerConfig>,
    expires: Option<Timestamp>,
}

/// What the files were when they were read.
type Seen = [Option<Stamp>; 3];

impl Tls {
    /// # Errors
    /// A file cannot be read, or has not what it must have.
    pub fn open(files: Files) -> Result<Self, TlsError> {
        let seen = files.seen();
        let served = files.served()?;
        Ok(Self { files, now: Mutex::new((seen, served)) })
    }

    /// Reads the files again when they have changed; keeps what it had when they are of no use, as
    /// when only one of two that belong together has been put in place. Connections that stand go on.
    pub fn refresh(&self) {
        let seen = self.files.seen();
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0 == seen {
            return;
        }
        now.0 = seen;
        match self.files.served() {
            Ok(served) => {
                now.1 = served;
                tracing::info!(cert = %self.files.cert.display(), "certificate read");
            }
            Err(error) => tracing::error!(%error, "the certificate stays as it was"),
        }
    }

    /// When the certificate expires that is served now.
    pub fn expires(&self) -> Option<Timestamp> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1.expires
    }

    fn config(&self) -> Arc<ServerConfig> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1.config.clone()
    }
}

impl Files {
    fn seen(&self) -> Seen {
        let client_ca = self.client_ca.as_deref().and_then(Stamp::of);
        [Stamp::of(&self.cert), Stamp::of(&self.key), client_ca]
    }

    fn served(&self) -> Result<Served, TlsError> {
        let cert = |reason| fail("tls-cert", &self.cert, reason);
        let chain = certificates("tls-cert", &self.cert)?;
        let expires = chain.first().and_then(expiry);
        let key = PrivateKeyDer::from_pem_slice(&read("tls-key", &self.key)?)
            .map_err(|error| fail("tls-key", &self.key, format!("no private key: {error}")))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| cert(error.to_string()))?;
        let config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(path) => {
                let wrong = |reason: String| fail("tls-client-ca", path, reason);
                let mut roots = RootCertStore::empty();
                for root in certificates("tls-client-ca", path)? {
                    roots.add(root).map_err(|error| wrong(error.to_string()))?;
                }
                let clients =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let clients = clients.build().map_err(|error| wrong(error.to_string()))?;
                config.with_client_cert_verifier(clients)
            }
        };
        let mut config =
            config.with_single_cert(chain, key).map_err(|error| cert(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // Each connection shows its certificate anew: one that has expired meanwhile is refused.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Served { config: Arc::new(config), expires })
    }
}

fn certificates(name: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(name, path)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| fail(name, path, format!("no certificates: {error}")))?;
    if found.is_empty() { Err(fail(name, path, "no certificate in it".into())) } else { Ok(found) }
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| fail(name, path, error.to_string()))
}

fn fail(name: &'static str, path: &Path, reason: String) -> TlsError {
    TlsError { name, path: path.display().to_string(), reason }
}

/// The same connections as a stream.
pub fn incoming(listener: Listener) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    stream::unfold(listener, async |mut listener| {
        let (stream, _) = listener.ready.recv().await?;
        Some((Ok(stream), listener))
    })
}

/// Connections on which TLS has been agreed on. A slow client keeps no other one waiting.
pub struct Listener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    addr: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Listener {
    pub fn new(listener: TcpListener, addr: SocketAddr, tls: Arc<Tls>) -> Self {
        let (to, ready) = mpsc::channel(1);
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, tls, to));
        Self { ready, addr, _accepting: accepting }
    }
}

async fn accept(
    listener: TcpListener,
    tls: Arc<Tls>,
    to: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut handshakes = JoinSet::new();
    while let Ok(place) = room.clone().acquire_owned().await {
        while handshakes.try_join_next().is_some() {}
        let (stream, addr) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, to) = (TlsAcceptor::from(tls.config()), to.clone());
        handshakes.spawn(async move {
            let _ = stream.set_nodelay(true);
            // Whoever does not speak TLS, or shows no good certificate, is told so by the end of
            // the connection.
            match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => drop(to.send((stream, addr)).await),
                Ok(Err(error)) => tracing::debug!(%addr, %error, "no TLS was agreed on"),
                Err(_) => tracing::debug!(%addr, "a client took too long to agree on TLS"),
            }
            drop(place);
        });
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // Its task lives as long as this does.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_belong_together_take_the_place_of_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let put = |name: &str, text: String| fs::write(path(name), text).unwrap();
        let first = made();
        put("cert.pem", first.cert.pem());
        put("key.pem", first.signing_key.serialize_pem());
        put("ca.pem", first.cert.pem());
        let (cert, key, client_ca) = (path("cert.pem"), path("key.pem"), Some(path("ca.pem")));
        let tls = Tls::open(Files { cert, key, client_ca }).unwrap();
        let was = tls.config();
        let stays = |what: &str| {
            tls.refresh();
            assert!(Arc::ptr_eq(&was, &tls.config()), "{what}");
        };
        stays("nothing has changed");
        put("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA".into());
        stays("half a certificate");
        let second = made();
        put("cert.pem", second.cert.pem());
        stays("the key is still the old one's");
        fs::remove_file(path("ca.pem")).unwrap();
        put("key.pem", second.signing_key.serialize_pem());
        stays("nobody vouches for clients");
        put("ca.pem", second.cert.pem());
        tls.refresh();
        assert!(!Arc::ptr_eq(&was, &tls.config()), "all three are there");
    }
}
