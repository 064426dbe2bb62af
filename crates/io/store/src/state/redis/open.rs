//! From settings to servers: what may be wrong with them is found here.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, InfoDict, IntoConnectionInfo,
    ProtocolVersion, RedisError, TlsCertificates, cmd,
};
use tokio::time::timeout;

use super::link::{CONNECT_WITHIN, Link};
use super::wakes::Waiting;
use super::{RedisOptions, RedisState};
use crate::Unusable;

/// What one server of a cluster may take to answer before another try.
const TRY_WITHIN: Duration = Duration::from_millis(400);

/// Unacknowledged bytes are waited for so long; then the path is dead and a new connection is made.
const DEAD_AFTER: Duration = Duration::from_secs(2);

/// Between two attempts to connect again: jittered, growing to half a second, for ever.
const FIRST_AGAIN: Duration = Duration::from_millis(20);
const LAST_AGAIN: Duration = Duration::from_millis(500);

/// The oldest Redis with sharded channels.
const OLDEST: u32 = 7;

/// What a URL says of the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) is_cluster: bool,
    /// Each as a URL of one server.
    pub(super) urls: Vec<String>,
}

impl Places {
    /// `redis://host`, `rediss://host` (TLS), `redis-cluster://a,b`, `rediss-cluster://a,b`.
    pub(super) fn of(url: &str) -> Result<Self, Unusable> {
        let forms = "write redis://host:6379, rediss://host:6379 with TLS, or \
                     redis-cluster://host:6379,host:6379 (rediss-cluster:// with TLS)";
        let wrong = |why: &str| Unusable::Url(format!("{why}; {forms}"));
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("no scheme"))?;
        let (is_cluster, scheme) = match scheme {
            "redis" | "rediss" => (false, scheme),
            "redis-cluster" => (true, "redis"),
            "rediss-cluster" => (true, "rediss"),
            _ => return Err(wrong("an unknown scheme")),
        };
        if !is_cluster {
            let urls = vec![url.to_owned()];
            return Ok(Self { is_cluster, urls });
        }
        let (who, places) = match rest.rsplit_once('@') {
            Some((who, places)) => (format!("{who}@"), places),
            None => (String::new(), rest),
        };
        let places: Vec<_> = places.trim_end_matches('/').split(',').collect();
        if places.iter().any(|place| place.trim().is_empty()) {
            return Err(wrong("a node without a name"));
        }
        let urls = places
            .iter()
            .map(|place| format!("{scheme}://{who}{}", place.trim()));
        Ok(Self {
            is_cluster,
            urls: urls.collect(),
        })
    }
}

fn connection(url: &str, options: &RedisOptions) -> Result<ConnectionInfo, Unusable> {
    // The error of the library may quote the URL, and that a password.
    let info = url
        .into_connection_info()
        .map_err(|error| Unusable::Url(error.category().to_owned()))?;
    let mut settings = info.redis_settings().clone();
    settings = settings.set_protocol(ProtocolVersion::RESP3);
    if let Some(password) = &options.password {
        settings = settings.set_password(password.0.as_str());
    }
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp()))
}

fn tcp() -> TcpSettings {
    TcpSettings::default()
        .set_nodelay(true)
        .set_user_timeout(DEAD_AFTER)
}

fn certificates(options: &RedisOptions) -> TlsCertificates {
    TlsCertificates {
        client_tls: None,
        root_cert: options.authorities.clone(),
    }
}

fn client(info: ConnectionInfo, options: &RedisOptions) -> Result<Client, Unusable> {
    let is_tls = matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. });
    let client = match is_tls {
        true if options.authorities.is_some() => {
            Client::build_with_tls(info, certificates(options))
        }
        _ => Client::open(info),
    };
    client.map_err(|error| Unusable::Tls(error.to_string()))
}

impl RedisState {
    /// Connects, and looks whether the servers are the ones that are needed.
    pub async fn open(options: &RedisOptions) -> Result<Self, Unusable> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-_.".contains(&letter);
        if options.namespace.is_empty() || !options.namespace.bytes().all(is_plain) {
            let says = "a namespace is of letters, digits, dots and dashes";
            return Err(Unusable::Url(says.to_owned()));
        }
        let places = Places::of(&options.url.0)?;
        let infos: Result<Vec<_>, _> = places
            .urls
            .iter()
            .map(|url| connection(url, options))
            .collect();
        let infos = infos?;
        let fits = any_fits(&infos, places.is_cluster, options).await?;
        let waiting = Waiting::default();
        let heard = waiting.clone();
        let hear = move |push| {
            heard.hear(&push);
            Ok::<(), std::convert::Infallible>(())
        };
        let link = if places.is_cluster {
            let mut builder = ClusterClientBuilder::new(infos)
                .use_protocol(ProtocolVersion::RESP3)
                .tcp_settings(tcp())
                .connection_timeout(TRY_WITHIN)
                .response_timeout(TRY_WITHIN)
                .overall_response_timeout(None)
                .retries(8)
                .min_retry_wait(20)
                .max_retry_wait(100)
                .push_sender(hear);
            if options.authorities.is_some() {
                builder = builder.certs(certificates(options));
            }
            let cluster = builder.build().map_err(|error| unusable(&error))?;
            let connected = timeout(CONNECT_WITHIN, cluster.get_async_connection()).await;
            let connected = connected.map_err(|_| Unusable::Silent)?;
            let connected = connected.map_err(|error| unusable(&error))?;
            Link::to_cluster(connected, Box::new(cluster), waiting.clone())
        } else {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(usize::MAX)
                .set_min_delay(FIRST_AGAIN)
                .set_max_delay(LAST_AGAIN)
                .set_connection_timeout(Some(CONNECT_WITHIN))
                // Each call has its own.
                .set_response_timeout(None)
                .set_push_sender(hear);
            let before = waiting.clone();
            let connect = move || {
                before.end();
                ConnectionManager::new_lazy_with_config(fits.clone(), config.clone())
            };
            Link::to_one(connect).map_err(|error| unusable(&error))?
        };
        Ok(Self::over(link, waiting, &options.namespace))
    }
}

/// The first of the servers that is there and is what is needed; else what is wrong with the last.
async fn any_fits(
    infos: &[ConnectionInfo],
    is_cluster: bool,
    options: &RedisOptions,
) -> Result<Client, Unusable> {
    let mut last = Unusable::Url("no server is named".to_owned());
    for info in infos {
        let client = client(info.clone(), options)?;
        match fits(&client, is_cluster).await {
            Ok(()) => return Ok(client),
            // The next one may be there, but will be no other kind of server.
            Err(error @ (Unusable::Unreachable(_) | Unusable::Silent)) => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

async fn fits(client: &Client, is_cluster: bool) -> Result<(), Unusable> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(CONNECT_WITHIN));
    let ask = async {
        let mut server = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        cmd("INFO").query_async::<InfoDict>(&mut server).await
    };
    let info = timeout(2 * CONNECT_WITHIN, ask)
        .await
        .map_err(|_| Unusable::Silent)?
        .map_err(|error| unusable(&error))?;
    let version: String = info.get("redis_version").unwrap_or_default();
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < OLDEST) {
        let says = format!("Redis {OLDEST} or newer is needed, it is {version}");
        return Err(Unusable::Unfit(says));
    }
    let policy: String = info.get("maxmemory_policy").unwrap_or_default();
    if info.get::<u64>("maxmemory").is_some_and(|most| most > 0) && policy != "noeviction" {
        tracing::warn!(
            policy,
            "Redis may evict what meetings are recovered from: set maxmemory-policy noeviction"
        );
    }
    let serves_cluster = info.get::<u8>("cluster_enabled") == Some(1);
    let role: String = info.get("role").unwrap_or_default();
    let unfit = match (is_cluster, serves_cluster) {
        (false, true) => "it is a node of a cluster: write redis-cluster://",
        (true, false) => "it is no node of a cluster: write redis://",
        (false, false) if role != "master" => "it is a replica: name its master",
        _ => return Ok(()),
    };
    Err(Unusable::Unfit(unfit.to_owned()))
}

fn unusable(error: &RedisError) -> Unusable {
    let says = error.to_string();
    let code = error.code().unwrap_or_default();
    let is_io = error.kind() == ErrorKind::Io;
    if error.kind() == ErrorKind::AuthenticationFailed
        || ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code)
        || says.contains("NOAUTH")
        || says.contains("WRONGPASS")
    {
        Unusable::Password(says)
    } else if is_io && tls_failed(error) {
        Unusable::Tls(says)
    } else if is_io && error.is_timeout() {
        Unusable::Silent
    } else if is_io {
        Unusable::Unreachable(says)
    } else {
        Unusable::Unfit(says)
    }
}

/// Whether TLS gave up: it reports so as invalid data.
fn tls_failed(error: &RedisError) -> bool {
    type Shared = Arc<dyn Error + Send + Sync>;
    let shared = error.source().and_then(<dyn Error>::downcast_ref::<Shared>);
    shared
        .and_then(|shared| shared.downcast_ref::<std::io::Error>())
        .is_some_and(|error| error.kind() == std::io::ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_one_server_or_a_cluster() {
        let of = |url: &str| Places::of(url).unwrap();
        assert_eq!(of("rediss://h:1/2").urls, ["rediss://h:1/2"]);
        let cluster = of("redis-cluster://me:secret@a:1, b,[::1]:3/");
        assert!(cluster.is_cluster);
        assert_eq!(
            cluster.urls,
            [
                "redis://me:secret@a:1",
                "redis://me:secret@b",
                "redis://me:secret@[::1]:3"
            ]
        );
        assert_eq!(of("rediss-cluster://a").urls, ["rediss://a"]);
        for wrong in [
            "",
            "redis",
            "http://a",
            "redis-cluster://",
            "redis-cluster://a,,b",
        ] {
            assert!(
                matches!(Places::of(wrong), Err(Unusable::Url(_))),
                "{wrong}"
            );
        }
    }
}
