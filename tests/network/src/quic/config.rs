//! How the two ends of a connection behave.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use darktower_net::wt::Paths;
use quinn_proto::congestion::CubicConfig;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, ServerConfig, TransportConfig, VarInt,
};
use rustls::pki_types::PrivateKeyDer;

/// As in `darktower-net`: both ends of a media session.
const INITIAL_WINDOW: u64 = 64 << 10;
const INITIAL_RTT: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(6);
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A browser acknowledges about every tenth packet, or after a quarter of the
/// round trip; the server's acknowledgements are not so rare.
const BROWSER_ACK_AFTER: u32 = 9;
const BROWSER_ACK_DELAY: Duration = Duration::from_millis(25);

/// What decides how much an end may have in flight.
#[derive(Clone)]
pub(crate) enum Congestion {
    /// What Chromium uses for WebTransport: loss makes it slow.
    Cubic,
    /// The handler's.
    Own(Arc<Paths>),
}

/// One identity and everything that does not differ between connections.
#[derive(Clone)]
pub(crate) struct Configs {
    server: Arc<QuicServerConfig>,
    client: Arc<QuicClientConfig>,
}

impl Configs {
    /// With a certificate made for the occasion. Ed25519, because its signatures
    /// all have one length: sizes on the wire do not depend on chance.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
        let made = rcgen::CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls13 = &[&rustls::version::TLS13];
        let secret = PrivateKeyDer::try_from(key.serialize_der());
        let secret = secret.map_err(anyhow::Error::msg).context("private key")?;
        let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(tls13)?
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], secret)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.der().clone())?;
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(tls13)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self {
            server: Arc::new(QuicServerConfig::try_from(server)?),
            client: Arc::new(QuicClientConfig::try_from(client)?),
        })
    }

    pub(crate) fn server(&self, congestion: &Congestion) -> Arc<ServerConfig> {
        let mut transport = transport(congestion);
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(VarInt::from_u32(BROWSER_ACK_AFTER))
            .max_ack_delay(Some(BROWSER_ACK_DELAY));
        transport.ack_frequency_config(Some(acks));
        let mut config = ServerConfig::with_crypto(self.server.clone());
        config.transport_config(Arc::new(transport));
        Arc::new(config)
    }

    pub(crate) fn client(&self, congestion: &Congestion, send_window: u64) -> ClientConfig {
        let mut transport = transport(congestion);
        transport.send_window(send_window);
        let mut config = ClientConfig::new(self.client.clone());
        config.transport_config(Arc::new(transport));
        config
    }

    pub(crate) fn endpoint(seed: u64) -> Arc<EndpointConfig> {
        let mut config = EndpointConfig::default();
        let mut bytes = [0x6d; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        // Greasing would let a bit of chance into packets.
        config.grease_quic_bit(false).rng_seed(Some(bytes));
        Arc::new(config)
    }
}

/// The server's name in its certificate.
pub(crate) const NAME: &str = "handler.test";
const ALPN: &[u8] = b"darktower-network";

fn transport(congestion: &Congestion) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(1024))
        .max_concurrent_bidi_streams(VarInt::from_u32(4))
        .stream_receive_window(VarInt::from_u32(1 << 20))
        .receive_window(VarInt::from_u32(8 << 20))
        .initial_rtt(INITIAL_RTT)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE.as_millis() as u32).into()))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .datagram_receive_buffer_size(Some(256 << 10))
        .datagram_send_buffer_size(256 << 10)
        .mtu_discovery_config(None)
        .allow_spin(false);
    match congestion {
        Congestion::Cubic => {
            let mut cubic = CubicConfig::default();
            cubic.initial_window(INITIAL_WINDOW);
            config.congestion_controller_factory(Arc::new(cubic));
        }
        Congestion::Own(paths) => {
            config.congestion_controller_factory(paths.clone());
        }
    }
    config
}
