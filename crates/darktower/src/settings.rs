//! Every setting, its default, and what it means. `darktower.example.toml`
//! says the same and is held equal by a test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The settings of a process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) node: Node,
    pub(crate) certificate: Certificate,
    pub(crate) database: Database,
    pub(crate) state: State,
    pub(crate) cluster: Cluster,
    pub(crate) telemetry: darktower_telemetry::Config,
    pub(crate) global: darktower_global_controller::Config,
    pub(crate) meeting: darktower_meeting_controller::Config,
    pub(crate) media: darktower_media_handler::Config,
}

/// The process itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Node {
    /// Where keys, certificates and the database are kept.
    pub(crate) data_dir: PathBuf,
    /// How long meetings may take to move away when the process stops.
    #[serde(with = "humantime_serde")]
    pub(crate) stop_within: Duration,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("data"),
            stop_within: Duration::from_secs(5),
        }
    }
}

/// The certificate all listeners show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Certificate {
    /// PEM file of the chain; empty: a self-signed certificate is made and
    /// rotated, and pages learn its hash.
    pub(crate) chain_file: PathBuf,
    /// PEM file of its private key.
    pub(crate) key_file: PathBuf,
    /// Names and addresses, besides localhost, of the self-signed one.
    pub(crate) names: Vec<String>,
}

/// What must still be there tomorrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Database {
    /// `sqlite`: a file in the data directory; `sqlite:<file>`: that file;
    /// `postgres://user@host:port/database`.
    pub(crate) url: String,
    /// A replica of a PostgreSQL that is asked first what is only read; empty:
    /// none.
    pub(crate) replica_url: String,
    /// A file with the password, where the URLs do not hold it.
    pub(crate) password_file: PathBuf,
    /// Whether a pooler gives out connections for one transaction each.
    pub(crate) pooler: bool,
    /// Connections to each PostgreSQL at most.
    pub(crate) connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: "sqlite".to_owned(),
            replica_url: String::new(),
            password_file: PathBuf::new(),
            pooler: false,
            connections: 10,
        }
    }
}

/// How services know one another. With nothing set they do not, and gRPC stays
/// on loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cluster {
    /// Certificates by an authority in the data directory, which all processes
    /// then share.
    pub(crate) development: bool,
    /// PEM file of the certificate that this process shows; it bears the name
    /// `node.darktower.internal`.
    pub(crate) chain_file: PathBuf,
    /// PEM file of its private key.
    pub(crate) key_file: PathBuf,
    /// PEM file of the authority whose certificates are believed.
    pub(crate) authority_file: PathBuf,
}

/// The live state: who serves what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct State {
    /// `memory`; `grpc://host:port` of the process that holds it; or Redis:
    /// `redis://host:port`, `redis-cluster://host:port,host:port`, with TLS
    /// `rediss://` and `rediss-cluster://`.
    pub(crate) url: String,
    /// What all keys in Redis begin with.
    pub(crate) namespace: String,
    /// A file with Redis's password, where the URL does not hold it.
    pub(crate) password_file: PathBuf,
    /// PEM file of the authorities trusted for Redis; empty: the system's.
    pub(crate) authorities_file: PathBuf,
    /// Where a global controller with `memory` offers it to the others.
    pub(crate) listen: SocketAddr,
}

impl Default for State {
    fn default() -> Self {
        Self {
            url: "memory".to_owned(),
            namespace: "darktower".to_owned(),
            password_file: PathBuf::new(),
            authorities_file: PathBuf::new(),
            listen: SocketAddr::from(([127, 0, 0, 1], 7000)),
        }
    }
}
