//! One connection to the server, made again when it breaks, with a time limit on every call.

use std::time::Duration;

use ::redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::RedisOptions;
use super::address::Source;
use crate::QueueError;

/// The first pause before a call is made again; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Link {
    source: Source,
    options: RedisOptions,
    current: Mutex<Current>,
}

/// The connection in use, and how many there have been.
struct Current {
    connection: Option<Connection>,
    number: u64,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Self::Single(connection) => connection.req_packed_command(command).await,
            Self::Cluster(connection) => connection.req_packed_command(command).await,
        };
        answer?.extract_error()
    }
}

impl Link {
    pub fn new(source: Source, options: RedisOptions) -> Self {
        let current = Mutex::new(Current { connection: None, number: 0 });
        Self { source, options, current }
    }

    /// Sends a command that may be sent twice, until it is answered or time is up.
    pub async fn ask(&self, command: &Cmd) -> Result<Value, QueueError> {
        self.ask_for(command, self.options.call).await
    }

    pub async fn ask_for(&self, command: &Cmd, limit: Duration) -> Result<Value, QueueError> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.ask_once(command, deadline).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let jitter = pause.mul_f64(0.5 + rand::random::<f64>());
            if !is_passing(&error) || Instant::now() + jitter >= deadline {
                return Err(refusal(&error));
            }
            tracing::debug!(%error, "asking the queue's server again");
            sleep(jitter).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn ask_once(&self, command: &Cmd, deadline: Instant) -> Result<Value, RedisError> {
        let late = |_| RedisError::from((ErrorKind::Io, "no answer in time"));
        let (mut connection, number) =
            timeout_at(deadline, self.connection()).await.map_err(late)??;
        let answered = (Instant::now() + self.options.answer).min(deadline);
        let answer = timeout_at(answered, connection.ask(command)).await;
        let answer = answer.map_err(late).and_then(|answer| answer);
        if let Err(error) = &answer
            && is_broken(error)
        {
            let mut current = self.current.lock().await;
            if current.number == number {
                current.connection = None;
            }
        }
        answer
    }

    async fn connection(&self) -> Result<(Connection, u64), RedisError> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((connection.clone(), current.number));
        }
        let connection = self.connect().await?;
        current.connection = Some(connection.clone());
        current.number += 1;
        Ok((connection, current.number))
    }

    async fn connect(&self) -> Result<Connection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect))
            .set_response_timeout(Some(self.options.answer));
        Ok(match &self.source {
            Source::Single(client) => Connection::Single(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            ),
            Source::Sentinel(client) => Connection::Single(
                client.lock().await.get_async_connection_with_config(&config).await?,
            ),
            Source::Cluster { client, .. } => {
                Connection::Cluster(client.get_async_connection().await?)
            }
        })
    }

    /// A connection that listens. In a cluster every node passes on what is published.
    pub async fn listen(&self) -> Result<PubSub, RedisError> {
        let connected = async {
            match &self.source {
                Source::Single(client) => client.get_async_pubsub().await,
                Source::Sentinel(client) => {
                    let client = client.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await
                }
                Source::Cluster { nodes, .. } => {
                    let mut last = RedisError::from((ErrorKind::Io, "the cluster has no nodes"));
                    for node in nodes {
                        match node.get_async_pubsub().await {
                            Ok(listener) => return Ok(listener),
                            Err(error) => last = error,
                        }
                    }
                    Err(last)
                }
            }
        };
        let deadline = Instant::now() + self.options.connect;
        let late = |_| RedisError::from((ErrorKind::Io, "no connection in time"));
        timeout_at(deadline, connected).await.map_err(late)?
    }
}

/// Whether the connection is of no use any more.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Parse
                | ErrorKind::ClusterConnectionNotFound
                // The master has become a replica: the sentinels know the new one.
                | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
}

/// Whether asking again may help.
fn is_passing(error: &RedisError) -> bool {
    is_broken(error)
        || matches!(
            error.kind(),
            ErrorKind::MasterNameNotFoundBySentinel
                | ErrorKind::NoValidReplicasFoundBySentinel
                | ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                        | ServerErrorKind::TryAgain
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                )
        )
        || error.code() == Some("BUSY")
}

/// What a server's error means for the queue.
fn refusal(error: &RedisError) -> QueueError {
    let text = error.to_string();
    // In older servers an error inside a script names its code in the text only.
    let says = |code: &str| error.code() == Some(code) || text.contains(&format!("{code} "));
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::NoScript) => QueueError::Unavailable(text),
        ErrorKind::AuthenticationFailed => QueueError::Denied(text),
        _ if says("OOM") => QueueError::Full(text),
        _ if says("NOPERM") || says("WRONGPASS") || says("NOAUTH") => QueueError::Denied(text),
        _ if says("WRONGTYPE") => QueueError::Corrupt(text),
        ErrorKind::Server(ServerErrorKind::ResponseError) if text.contains("script") => {
            QueueError::Corrupt(text)
        }
        _ => QueueError::Unavailable(text),
    }
}

/// Whether the server does not know a script.
pub(super) fn is_unknown_script(error: &QueueError) -> bool {
    matches!(error, QueueError::Unavailable(text) if text.contains("NOSCRIPT") || text.contains("NoScript"))
}
