//! Where the server is: one address, sentinels or a cluster's nodes.

use std::time::Duration;

use ::redis::cluster::ClusterClientBuilder;
use ::redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use ::redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use ::redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisError, TlsMode};
use ::redis::{ClientTlsConfig, TlsCertificates};
use tokio::sync::Mutex;

use super::{ConnectError, RedisOptions};

/// How connections to the server that holds the farm are made.
pub(super) enum Source {
    Single(Client),
    /// Asks the sentinels for the present master at each connection.
    Sentinel(Mutex<::redis::sentinel::SentinelClient>),
    Cluster {
        client: ::redis::cluster::ClusterClient,
        nodes: Vec<Client>,
    },
}

impl Source {
    /// Reads `redis://`, `rediss://`, `unix://`, and `redis+sentinel://host,host/master`,
    /// `redis+cluster://host,host` and both with `rediss`.
    pub fn parse(url: &str, options: &RedisOptions) -> Result<Self, ConnectError> {
        let bad = |why: &str| ConnectError::Address { url: redacted(url), why: why.to_owned() };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let wrong = |error: RedisError| bad(&error.to_string());
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" => {
                let client = client(url, options).map_err(wrong)?;
                Ok(Self::Single(client))
            }
            "redis+sentinel" | "rediss+sentinel" => {
                let (hosts, path) =
                    rest.split_once('/').ok_or_else(|| bad("the master's name is missing"))?;
                let (master, db) = path.split_once('/').unwrap_or((path, "0"));
                if master.is_empty() {
                    return Err(bad("the master's name is missing"));
                }
                let nodes = nodes(scheme, hosts, db, options).map_err(wrong)?;
                sentinel(&nodes, master, options).map_err(wrong)
            }
            "redis+cluster" | "rediss+cluster" => {
                let hosts = rest.trim_end_matches('/');
                let nodes = nodes(scheme, hosts, "0", options).map_err(wrong)?;
                cluster(nodes, options).map_err(wrong)
            }
            _ => {
                Err(bad("known schemes are redis, rediss, unix, redis+sentinel, rediss+sentinel, \
                 redis+cluster and rediss+cluster"))
            }
        }
    }
}

/// The address without its password, for messages.
pub(super) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}"),
        None => url.to_owned(),
    }
}

fn certificates(options: &RedisOptions) -> Option<TlsCertificates> {
    let identity = options.identity.as_ref();
    if options.ca.is_none() && identity.is_none() {
        return None;
    }
    Some(TlsCertificates {
        client_tls: identity.map(|identity| ClientTlsConfig {
            client_cert: identity.certificate.clone(),
            client_key: identity.key.clone(),
        }),
        root_cert: options.ca.clone(),
    })
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

/// Small messages go at once, and a peer that vanished is noticed.
fn tcp() -> TcpSettings {
    let alive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    TcpSettings::default().set_nodelay(true).set_keepalive(alive)
}

fn client(url: &str, options: &RedisOptions) -> Result<Client, RedisError> {
    let info = url.into_connection_info()?.set_tcp_settings(tcp());
    match certificates(options) {
        Some(certificates) if is_tls(&info) => Client::build_with_tls(info, certificates),
        _ => Client::open(info),
    }
}

/// One client for each of `user:password@host:port,host:port`.
fn nodes(
    scheme: &str,
    hosts: &str,
    db: &str,
    options: &RedisOptions,
) -> Result<Vec<Client>, RedisError> {
    let scheme = scheme.split('+').next().unwrap_or(scheme);
    let (account, hosts) = match hosts.rsplit_once('@') {
        Some((account, hosts)) => (format!("{account}@"), hosts),
        None => (String::new(), hosts),
    };
    let url = |host: &str| format!("{scheme}://{account}{host}/{db}");
    hosts.split(',').map(|host| client(&url(host.trim()), options)).collect()
}

fn sentinel(nodes: &[Client], master: &str, options: &RedisOptions) -> Result<Source, RedisError> {
    let infos: Vec<&ConnectionInfo> = nodes.iter().map(Client::get_connection_info).collect();
    let addresses = infos.iter().map(|info| info.addr().clone());
    let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    if let Some(first) = infos.first() {
        let account = first.redis_settings();
        builder = builder.set_client_to_redis_db(account.db());
        if let Some(user) = account.username() {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = account.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        if is_tls(first) {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
            if let Some(certificates) = certificates(options) {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
        }
    }
    if let Some(account) = &options.sentinel {
        if let Some(user) = &account.user {
            builder = builder.set_client_to_sentinel_username(user);
        }
        builder = builder.set_client_to_sentinel_password(&account.password);
    }
    Ok(Source::Sentinel(Mutex::new(builder.build()?)))
}

fn cluster(nodes: Vec<Client>, options: &RedisOptions) -> Result<Source, RedisError> {
    let infos: Vec<ConnectionInfo> =
        nodes.iter().map(|node| node.get_connection_info().clone()).collect();
    let tls = infos.iter().any(is_tls);
    let mut builder = ClusterClientBuilder::new(infos)
        .tcp_settings(tcp())
        .connection_timeout(options.connect)
        .response_timeout(options.answer);
    if let Some(certificates) = certificates(options).filter(|_| tls) {
        builder = builder.certs(certificates);
    }
    Ok(Source::Cluster { client: builder.build()?, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let read = |url| Source::parse(url, &RedisOptions::default());
        assert!(matches!(read("redis://ann:secret@host:7000/2"), Ok(Source::Single(_))));
        assert!(matches!(read("rediss://host"), Ok(Source::Single(_))));
        assert!(matches!(read("unix:///run/redis.sock"), Ok(Source::Single(_))));
        assert!(matches!(read("redis+sentinel://a:1,b:2/farm"), Ok(Source::Sentinel(_))));
        let Ok(Source::Cluster { nodes, .. }) = read("redis+cluster://ann:secret@a:1,b") else {
            panic!("a cluster")
        };
        let info = nodes[1].get_connection_info();
        assert_eq!(info.addr().to_string(), "b:6379");
        assert_eq!(info.redis_settings().password(), Some("secret"));
    }

    #[test]
    fn bad_addresses_say_why_and_not_the_password() {
        for bad in [
            "host:6379",
            "http://ann:secret@host",
            "redis+sentinel://ann:secret@a:1",
            "redis://ann:secret@host:x",
        ] {
            let error = Source::parse(bad, &RedisOptions::default()).err().expect("refused");
            let text = error.to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }
}
