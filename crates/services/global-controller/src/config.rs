//! What can be set.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Settings of a global controller; each has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Plain HTTP for the development page; loopback only, empty for none.
    pub http: Option<SocketAddr>,
    /// HTTP/1.1 and 2 over TLS, and HTTP/3 on the UDP port of the same number; empty for none.
    pub https: Option<SocketAddr>,
    /// Where the keys that sign tokens are kept.
    pub token_keys: PathBuf,
    /// Where this instance stands.
    pub region: String,
    /// TCP address for meeting controllers.
    pub grpc_listen: SocketAddr,
    /// The URL meeting controllers reach it by, where that is not `http://<grpc_listen>`; else empty.
    pub grpc_url: String,
    /// Participants a meeting has room for, unless its creator asks for fewer.
    pub max_participants: u32,
    /// Lookups and token requests a second from one address.
    pub lookups_per_second: u32,
    /// Lookups and token requests at once from one address.
    pub lookup_burst: u32,
    /// Meetings created a second from one address.
    pub creations_per_second: u32,
    /// Meetings created at once from one address.
    pub creation_burst: u32,
    /// How long a request may take in all.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long a meeting controller may take to describe a meeting before the next is asked.
    #[serde(with = "humantime_serde")]
    pub describe_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))),
            https: Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443))),
            token_keys: PathBuf::from("data/token-keys"),
            region: "local".to_owned(),
            grpc_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            grpc_url: String::new(),
            max_participants: 100,
            lookups_per_second: 30,
            lookup_burst: 60,
            creations_per_second: 5,
            creation_burst: 10,
            request_timeout: Duration::from_secs(5),
            describe_timeout: Duration::from_secs(1),
        }
    }
}
