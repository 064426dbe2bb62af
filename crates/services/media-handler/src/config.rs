//! What can be set; nothing needs to be.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use darktower_media::forwarder;
use darktower_net::{Certs, Tuning};
use serde::{Deserialize, Serialize};

/// Configuration of a media handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// UDP address for participants.
    pub listen: SocketAddr,
    /// TCP address for meeting controllers.
    pub grpc_listen: SocketAddr,
    /// The URL participants reach it by, where that is not `https://<listen>/v1/media`.
    pub public_url: Option<String>,
    /// The URL meeting controllers reach it by, where that is not `http://<grpc_listen>`.
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
    /// A session that has not said Hello on its control stream by then is closed.
    #[serde(with = "humantime_serde")]
    pub hello_within: Duration,
    /// How long a ticket may be ahead of the controller's word of it.
    #[serde(with = "humantime_serde")]
    pub ticket_patience: Duration,
    /// A stream must bring each frame whole within this; a finished group must have
    /// been delivered within this.
    #[serde(with = "humantime_serde")]
    pub stream_patience: Duration,
    /// A subscriber that takes nothing for so long is cut off.
    #[serde(with = "humantime_serde")]
    pub reader_patience: Duration,
    /// A meeting without sessions of which no controller has spoken for so long is
    /// forgotten.
    #[serde(with = "humantime_serde")]
    pub forget_after: Duration,
    /// Tokens remembered so that none is used twice.
    pub replay_capacity: usize,
    /// Threads that forward; 0: one for each core.
    pub shards: usize,
    /// What one participant may send, in bytes a second. One who sends more is made to wait.
    pub publish_bytes_per_second: u64,
    /// One who sends more for so long is closed.
    #[serde(with = "humantime_serde")]
    pub rate_patience: Duration,
    /// Microphones of a meeting that are forwarded at once, those of the loudest who talk.
    pub loudest: NonZeroU8,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 4434)),
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
            ticket_patience: Duration::from_secs(2),
            stream_patience: Duration::from_secs(5),
            reader_patience: Duration::from_secs(5),
            forget_after: Duration::from_secs(600),
            replay_capacity: 200_000,
            shards: 0,
            // 40 Mbit/s: a camera in three layers and a screen in full resolution.
            publish_bytes_per_second: 5_000_000,
            rate_patience: Duration::from_secs(10),
            // Three can still be told apart by ear.
            loudest: const { NonZeroU8::new(3).expect("it is three") },
        }
    }
}

impl Config {
    pub(crate) fn server(&self, certs: Certs) -> darktower_net::Config {
        let mut server = darktower_net::Config::new(self.listen, certs);
        server.limits.authenticate_within = self.authenticate_within;
        server.tuning = Tuning {
            // A participant has one stream for each layer of each track, and for a
            // moment the group before it.
            max_uni_streams: 256,
            max_bi_streams: 4,
            // What QUIC keeps for a subscriber cannot be taken back as cheaply as what
            // waits in the egress: 1 MiB is 80 Mbit/s at a round trip of 100 ms.
            send_window: 1 << 20,
            ..Tuning::default()
        };
        server
    }

    /// How each meeting is forwarded.
    pub(crate) fn forwarding(&self) -> forwarder::Config {
        let mut config = forwarder::Config::default();
        config.speakers.loudest = usize::from(self.loudest.get());
        config
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> usize {
        match self.shards {
            // A system that does not say how many cores it has gets one.
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        }
    }

    /// Whether pages of `origin` may connect.
    pub(crate) fn allows(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| {
            if allowed == origin {
                return true;
            }
            let Some(rest) = allowed
                .strip_suffix(":*")
                .and_then(|host| origin.strip_prefix(host))
            else {
                return false;
            };
            let port = rest.strip_prefix(':');
            rest.is_empty()
                || port.is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_port_may_be_any_but_a_host_may_not() {
        let config = Config::default();
        for allowed in [
            "http://localhost:8080",
            "https://localhost",
            "https://127.0.0.1:8443",
        ] {
            assert!(config.allows(allowed), "{allowed}");
        }
        for refused in [
            "http://localhost.example.org",
            "http://localhost:80.example.org",
            "http://localhost:",
            "https://example.org",
            "null",
            "",
        ] {
            assert!(!config.allows(refused), "{refused}");
        }
    }
}
