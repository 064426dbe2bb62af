//! What the endpoints of one port, or of one client, have in common.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use darktower_media::path;
use quinn_proto::{ClientConfig, EndpointConfig, ServerConfig};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::endpoint::{Door, Endpoint};
use super::ids::ShardIds;
use super::path::Paths;
use crate::admission::Admission;
use crate::client::ServerTrust;
use crate::error::BindError;
use crate::server::Config;
use crate::tls;
use crate::tuning::Tuning;

/// A server whose port may be served by several endpoints: they know one another's connection ids, answer for the
/// same stateless resets and share the bounds of what strangers may cost.
pub struct Serving {
    config: ServerConfig,
    endpoint: Secrets,
    tuning: Tuning,
    limits: crate::server::Limits,
    admission: Arc<Mutex<Admission>>,
    paths: Option<(Instant, path::Config)>,
}

impl Serving {
    /// A server that shows what `config` says. Its address is for whoever binds the sockets.
    pub fn new(config: &Config) -> Result<Self, BindError> {
        let tls = tls::server(&config.certs, &[tls::H3])?;
        let mut server = config.tuning.server(tls)?;
        server
            .max_incoming(config.limits.handshakes)
            .incoming_buffer_size(config.limits.incoming_buffer)
            .incoming_buffer_size_total(config.limits.incoming_buffer_total);
        Ok(Self {
            config: server,
            endpoint: Secrets::new(config.reset_key)?,
            tuning: config.tuning.clone(),
            limits: config.limits,
            admission: Arc::new(Mutex::new(Admission::new(config.limits))),
            paths: None,
        })
    }

    /// Puts a path of our own under every connection, in place of the tuning's congestion control. Its time is since
    /// `origin`.
    pub fn with_paths(mut self, origin: Instant, config: path::Config) -> Self {
        self.paths = Some((origin, config));
        self
    }

    /// The endpoint of one shard.
    pub fn endpoint(&self, shard: u8) -> Result<Endpoint, BindError> {
        let mut server = self.config.clone();
        let mut transport = self.tuning.transport()?;
        let paths = self.paths.map(|(origin, config)| {
            let paths = Paths::new(origin, config);
            transport.congestion_controller_factory(paths.clone());
            paths
        });
        server.transport_config(Arc::new(transport));
        let door = Door {
            limits: self.limits,
            admission: self.admission.clone(),
        };
        let config = self.endpoint.config(shard);
        Ok(Endpoint::new(config, Some((server, door)), None, paths))
    }
}

/// A client.
pub struct Calling {
    config: ClientConfig,
}

impl Calling {
    /// A client that trusts `trust`.
    pub fn new(trust: ServerTrust, tuning: &Tuning) -> Result<Self, BindError> {
        let config = tuning.client(tls::client(trust)?)?;
        Ok(Self { config })
    }

    /// The endpoint of one socket. Any number of connections share it.
    pub fn endpoint(&self) -> Result<Endpoint, BindError> {
        let config = Secrets::new(None)?.config(0);
        let client = Some(self.config.clone());
        Ok(Endpoint::new(config, None, client, None))
    }
}

/// What makes connection ids and stateless resets recognisable to siblings and successors.
struct Secrets {
    reset: Arc<hmac::Key>,
    ids: Arc<hmac::Key>,
}

impl Secrets {
    /// From a secret, or from randomness.
    fn new(secret: Option<[u8; 32]>) -> Result<Self, BindError> {
        let secret = match secret {
            Some(secret) => secret,
            None => {
                let mut secret = [0; 32];
                let filled = SystemRandom::new().fill(&mut secret);
                filled.map_err(|_| BindError::Config("the system has no randomness"))?;
                secret
            }
        };
        let reset = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        let ids = hmac::sign(&reset, b"connection ids");
        let ids = hmac::Key::new(hmac::HMAC_SHA256, ids.as_ref());
        Ok(Self {
            reset: Arc::new(reset),
            ids: Arc::new(ids),
        })
    }

    fn config(&self, shard: u8) -> EndpointConfig {
        let reset: Arc<dyn quinn_proto::crypto::HmacKey> = self.reset.clone();
        let mut config = EndpointConfig::new(reset);
        let ids = self.ids.clone();
        config.cid_generator(move || Box::new(ShardIds::new(shard, ids.clone())));
        config
    }
}
