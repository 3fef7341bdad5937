//! A coordinator: from its settings to a running server.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;
use vqfarm_core::clock::SystemClock;
use vqfarm_proto::v1;
use vqfarm_proto::v1::farm_server::FarmServer;
use vqfarm_queue::{ConnectError, Event, MemoryQueue, Policy, Queue, QueueError, RedisQueue};
use vqfarm_service::shutdown;
use vqfarm_service::telemetry::ServerCalls;
use vqfarm_storage::{Storage, StorageOptions, StoreError};

use crate::audit_log::AuditLog;
use crate::farm::Farm;
use crate::grpc::Grpc;
use crate::notify::{Notifier, NotifyError};
use crate::options::{Options, QueueKind, WebListen};
use crate::pace::Pace;
use crate::quotas::Quotas;
use crate::recent::Recent;
use crate::tend;
use crate::tls::{self, Tls, TlsError};
use crate::tokens::{Tokens, TokensError};
use crate::web;

/// How long calls may go on after the signal to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Why a coordinator does not start, or has ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A setting; nothing was started.
    #[error("{name}: {reason}")]
    Setting { name: &'static str, reason: String },
    #[error("{name}: cannot listen on {addr}: {source}{}", remedy(.name, .source))]
    Listen { name: &'static str, addr: SocketAddr, source: io::Error },
    #[error("redis: {0}")]
    Connect(#[from] ConnectError),
    #[error("redis: {0}")]
    Queue(#[from] QueueError),
    #[error("storage: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    Notify(#[from] NotifyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("web: {0}")]
    Web(io::Error),
    #[error("grpc: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("grpc: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// What helps where an address cannot be had.
fn remedy(name: &str, source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::AddrInUse if name == "web-listen" => {
            "; give another --web-listen, or `off`".into()
        }
        io::ErrorKind::AddrInUse => format!("; give another --{name}"),
        _ => String::new(),
    }
}

/// A coordinator that listens and has not begun to answer.
pub struct Service {
    farm: Arc<Farm>,
    grpc: Socket,
    web: Option<Socket>,
    tls: Option<Arc<Tls>>,
    tokens: Option<Arc<Tokens>>,
    audit_log: Option<Arc<AuditLog>>,
    notify: Option<Notifier>,
}

/// An address that is listened to.
struct Socket {
    listener: TcpListener,
    addr: SocketAddr,
}

impl Socket {
    async fn bind(name: &'static str, addr: SocketAddr) -> Result<Self, ServiceError> {
        let fail = |source| ServiceError::Listen { name, addr, source };
        let listener = TcpListener::bind(addr).await.map_err(fail)?;
        let addr = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, addr })
    }
}

impl Service {
    /// Connects to queue and storage, checks both, and binds the address.
    ///
    /// # Errors
    /// A setting makes no sense, something cannot be reached, or the store ignores create-only
    /// writes.
    pub async fn start(options: &Options) -> Result<Self, ServiceError> {
        let tls = tls_files(options)?.map(Tls::open).transpose()?.map(Arc::new);
        let tokens = options.tokens.as_deref().map(Tokens::open).transpose()?.map(Arc::new);
        let notify = options.notify.as_deref().map(Notifier::open).transpose()?;
        let audit_log = options.audit_log.as_deref().map(open_audit_log).transpose()?;
        let web_listen = match options.web_listen {
            WebListen::Off => None,
            WebListen::At(addr) => Some(addr),
        };
        if tokens.is_none() {
            only_this_machine("listen", options.listen)?;
            web_listen.map_or(Ok(()), |addr| only_this_machine("web-listen", addr))?;
        }
        let Some(url) = &options.storage else {
            let reason = "give --storage, VQFARM_STORAGE or the key `storage`: s3://bucket/prefix \
                          or file:///folder";
            return Err(ServiceError::Setting { name: "storage", reason: reason.into() });
        };
        let endpoint = options.s3_endpoint.clone();
        let storage =
            Storage::open(url, &StorageOptions { endpoint, ..StorageOptions::default() })?;
        storage.probe().await?;
        let queue = queue(options).await?;
        let health = queue.health().await?;
        tracing::info!(server = health.server, version = health.version,
            persistence = ?health.persistence, storage = storage.url(), farm = %options.farm,
            "queue and storage answer");
        let farm = Arc::new(Farm {
            name: options.farm.clone(),
            queue,
            storage,
            limits: options.limits(),
            clock: Arc::new(SystemClock),
            ahead: AtomicI64::new(0),
            lease: options.lease,
            pace: Pace::default(),
            recent: Recent::default(),
            quotas: Quotas::default(),
        });
        farm.set_clock(health.now);
        let grpc = Socket::bind("listen", options.listen).await?;
        let web = match web_listen {
            Some(addr) => Some(Socket::bind("web-listen", addr).await?),
            None => None,
        };
        Ok(Self { farm, grpc, web, tls, tokens, audit_log, notify })
    }

    /// Where it listens: the port is known even when 0 was asked for.
    pub fn addr(&self) -> SocketAddr {
        self.grpc.addr
    }

    /// Where the web page is, if there is one.
    pub fn web_addr(&self) -> Option<SocketAddr> {
        self.web.as_ref().map(|web| web.addr)
    }

    pub fn farm(&self) -> Arc<Farm> {
        self.farm.clone()
    }

    /// Answers until `stop` turns true, then lets calls finish for some seconds.
    ///
    /// # Errors
    /// The server cannot go on.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), ServiceError> {
        let Self { farm, grpc: Socket { listener, addr }, web, tls, tokens, audit_log, notify } =
            self;
        let (health, health_service) = tonic_health::server::health_reporter();
        health.set_not_serving::<FarmServer<Grpc>>().await;
        let (ready, mut readiness) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let closed = Arc::new(Notify::new());
        tasks.spawn(tend::reap(farm.clone(), closed.clone(), stop.clone()));
        tasks.spawn(tend::keep(farm.clone(), closed, ready, stop.clone()));
        tasks.spawn(listen_to_events(farm.clone(), stop.clone()));
        if let Some(notify) = notify {
            tasks.spawn(notify.run(farm.clone(), stop.clone()));
        }
        tasks.spawn(refresh(tokens.clone(), tls.clone(), stop.clone()));
        if let Some(log) = audit_log.clone() {
            tasks.spawn(tell_refusals(log, stop.clone()));
        }
        let audited = audit_log.clone();
        tasks.spawn(async move {
            while readiness.changed().await.is_ok() {
                let ready = *readiness.borrow_and_update();
                if ready {
                    health.set_serving::<FarmServer<Grpc>>().await;
                } else {
                    health.set_not_serving::<FarmServer<Grpc>>().await;
                }
            }
        });
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let limit = farm.limits.message;
        let grpc = Grpc { farm, tokens, audit_log, tls: tls.clone(), stop: stop.clone() };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let page = match web {
            Some(Socket { listener, addr }) => {
                tracing::info!(addr = format!("{scheme}://{addr}"), "web page");
                Some(web::serve(grpc.clone(), listener, addr, tls.clone(), stop.clone()))
            }
            None => None,
        };
        let grpc = FarmServer::new(grpc).max_decoding_message_size(limit);
        let router = Server::builder()
            .layer(ServerCalls)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .concurrency_limit_per_connection(64)
            .add_service(health_service)
            .add_service(reflection)
            .add_service(grpc);
        tracing::info!(addr = format!("{scheme}://{addr}"), "listening");
        let mut stopping = stop.clone();
        let stopped = async move { shutdown::requested(&mut stopping).await };
        let serving = async {
            match tls {
                Some(tls) => {
                    let incoming = tls::incoming(tls::Listener::new(listener, addr, tls));
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
                None => {
                    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                    router.serve_with_incoming_shutdown(incoming, stopped).await
                }
            }
        };
        let serving = async { bounded(serving, stop.clone()).await.map_err(ServiceError::from) };
        let showing = async {
            match page {
                Some(page) => bounded(page, stop.clone()).await.map_err(ServiceError::Web),
                None => Ok(()),
            }
        };
        let served = tokio::try_join!(serving, showing);
        tasks.shutdown().await;
        if let Some(log) = audited {
            log.tell_refusals(Timestamp::MAX);
        }
        tracing::info!("stopped");
        served.map(drop)
    }
}

/// Waits for the server's end, and after the signal to stop not for ever.
async fn bounded<E>(
    serving: impl Future<Output = Result<(), E>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), E> {
    let overdue = async {
        shutdown::requested(&mut stop).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => served,
        () = overdue => {
            tracing::warn!("calls were cut off");
            Ok(())
        }
    }
}

async fn queue(options: &Options) -> Result<Arc<dyn Queue>, ServiceError> {
    let policy = Policy { lease: options.lease, attempts: options.attempts, ..Policy::default() };
    match options.queue {
        QueueKind::Memory => {
            tracing::warn!("the queue is kept in memory: it ends with this process");
            let seed = Uuid::now_v7().as_u64_pair().1;
            Ok(Arc::new(MemoryQueue::new(policy, Arc::new(SystemClock), seed)))
        }
        QueueKind::Redis => {
            Ok(Arc::new(RedisQueue::connect(&options.redis, &options.farm, policy).await?))
        }
    }
}

/// Without tokens nobody else may reach the farm.
fn only_this_machine(name: &'static str, addr: SocketAddr) -> Result<(), ServiceError> {
    if addr.ip().is_loopback() {
        return Ok(());
    }
    let reason = format!(
        "{addr} can be reached from other machines, which takes a --tokens file; make one with \
         `vqfarm-coordinator token create`, or listen on 127.0.0.1"
    );
    Err(ServiceError::Setting { name, reason })
}

/// The files of the server's certificate, when they are given.
fn tls_files(options: &Options) -> Result<Option<tls::Files>, ServiceError> {
    match (options.tls_cert.clone(), options.tls_key.clone()) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            Ok(Some(tls::Files { cert, key, client_ca: options.tls_client_ca.clone() }))
        }
        (cert, _) => {
            let (name, missing) = match cert {
                Some(_) => ("tls-cert", "tls-key"),
                None => ("tls-key", "tls-cert"),
            };
            let reason = format!("it asks for --{missing} too");
            Err(ServiceError::Setting { name, reason })
        }
    }
}

fn open_audit_log(path: &Path) -> Result<Arc<AuditLog>, ServiceError> {
    let open = AuditLog::open(path).map(Arc::new);
    open.map_err(|error| {
        let reason = format!("{}: {error}", path.display());
        ServiceError::Setting { name: "audit-log", reason }
    })
}

/// Remembers what happened lately, keeps count of what is committed and of how long jobs wait
/// for their first lease.
async fn listen_to_events(farm: Arc<Farm>, mut stop: watch::Receiver<bool>) {
    let mut heard = farm.queue.events();
    let mut waiting = std::collections::HashMap::new();
    loop {
        let event = tokio::select! {
            event = heard.recv() => event,
            () = shutdown::requested(&mut stop) => return,
        };
        use tokio::sync::broadcast::error::RecvError;
        if let Ok(event) = &event {
            farm.recent.hear(event);
        }
        match event {
            Ok(Event::Committed(task)) => {
                let frames = farm.frames_made(task).await;
                farm.pace.committed(farm.now(), frames);
                metrics::counter!("vqfarm_tasks_committed_total").increment(1);
            }
            Ok(Event::Failed { .. }) => {
                metrics::counter!("vqfarm_attempts_failed_total").increment(1);
            }
            Ok(Event::Submitted(job)) => {
                waiting.insert(job, std::time::Instant::now());
            }
            Ok(Event::Leased { tasks, .. }) => {
                metrics::counter!("vqfarm_tasks_leased_total").increment(tasks.len() as u64);
                if let Some(since) = tasks.first().and_then(|task| waiting.remove(&task.job)) {
                    metrics::histogram!("vqfarm_first_lease_seconds")
                        .record(since.elapsed().as_secs_f64());
                }
            }
            Ok(Event::Job { job, state }) if state.is_final() => {
                waiting.remove(&job);
            }
            Ok(_) => (),
            Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "missed events"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells in the audit log of calls that were refused over and over.
async fn tell_refusals(log: Arc<AuditLog>, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => log.tell_refusals(Timestamp::now()),
            () = shutdown::requested(&mut stop) => return,
        }
    }
}

/// Takes note of changed tokens and certificates.
async fn refresh(
    tokens: Option<Arc<Tokens>>,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = shutdown::requested(&mut stop) => return,
        }
        if let Some(tokens) = &tokens {
            tokens.refresh();
        }
        if let Some(tls) = &tls {
            tls.refresh();
        }
    }
}
