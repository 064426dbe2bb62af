//! What can be set; nothing needs to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use darktower_net::{Certs, Tuning};
use serde::{Deserialize, Serialize};

/// Configuration of a meeting controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address for participants.
    pub listen: SocketAddr,
    /// TCP address for global controllers.
    pub grpc_listen: SocketAddr,
    /// The URL participants reach it by, where that is not `https://<listen>/v1/signal`.
    pub public_url: Option<String>,
    /// The URL global controllers reach it by, where that is not `http://<grpc_listen>`.
    pub grpc_url: Option<String>,
    /// Where it stands.
    pub region: String,
    /// Sessions it takes; more are refused as `overloaded`.
    pub capacity: u32,
    /// Origins whose pages may connect, as `https://meet.example.org`; `:*` in place
    /// of a port stands for any. Clients that are no browsers say none and are not
    /// held to it.
    pub allowed_origins: Vec<String>,
    /// A connection that has not shown a token by then is closed.
    #[serde(with = "humantime_serde")]
    pub authenticate_within: Duration,
    /// A session that has not opened its stream and said something by then is closed.
    #[serde(with = "humantime_serde")]
    pub hello_within: Duration,
    /// A session that takes nothing of what it is told for so long is cut off.
    #[serde(with = "humantime_serde")]
    pub reader_patience: Duration,
    /// How long a seat is held after its participant was last heard.
    #[serde(with = "humantime_serde")]
    pub seat_ttl: Duration,
    /// How long a meeting stays open with nobody in it.
    #[serde(with = "humantime_serde")]
    pub empty_for: Duration,
    /// A meeting's lease runs out so long after its owner fell silent.
    #[serde(with = "humantime_serde")]
    pub lease_ttl: Duration,
    /// Participants of one meeting on one media handler; those beyond go to another of the region, as do those whom the
    /// handler has no room for. 0: as many as it takes.
    pub handler_share: u32,
    /// Tokens remembered so that none is used twice.
    pub replay_capacity: usize,
}

impl Default for Config {
    fn default() -> Self {
        let core = darktower_meeting::meeting::Config::default();
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4433)),
            grpc_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            grpc_url: None,
            region: String::new(),
            capacity: 8000,
            allowed_origins: ["http://localhost:*", "https://localhost:*"]
                .into_iter()
                .chain(["http://127.0.0.1:*", "https://127.0.0.1:*"])
                .map(str::to_owned)
                .collect(),
            authenticate_within: Duration::from_secs(2),
            hello_within: Duration::from_secs(5),
            reader_patience: Duration::from_secs(5),
            seat_ttl: core.seat_ttl,
            empty_for: core.empty_for,
            lease_ttl: Duration::from_secs(3),
            handler_share: 200,
            replay_capacity: 200_000,
        }
    }
}

impl Config {
    pub(crate) fn server(&self, certs: Certs) -> darktower_net::Config {
        let mut server = darktower_net::Config::new(self.listen, certs);
        server.limits.authenticate_within = self.authenticate_within;
        server.tuning = Tuning {
            // The conversation has one stream; nothing else is listened to.
            max_uni_streams: 4,
            max_bi_streams: 4,
            send_window: 1 << 20,
            ..Tuning::default()
        };
        server
    }

    pub(crate) fn meeting(&self) -> darktower_meeting::meeting::Config {
        darktower_meeting::meeting::Config {
            seat_ttl: self.seat_ttl,
            empty_for: self.empty_for,
            ..Default::default()
        }
    }

    /// Whether pages of `origin` may connect.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| {
            if allowed == origin {
                return true;
            }
            let host = allowed.strip_suffix(":*");
            let Some(rest) = host.and_then(|host| origin.strip_prefix(host)) else {
                return false;
            };
            let port = rest.strip_prefix(':');
            rest.is_empty()
                || port.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
        })
    }
}
