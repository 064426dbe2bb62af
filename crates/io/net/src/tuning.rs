//! How a connection behaves, in our own words, and the translation for the QUIC implementation.

use std::sync::Arc;
use std::time::Duration;

use quinn::VarInt;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};

use crate::error::BindError;
use crate::patient::PatientConfig;

/// The control, encoder and decoder streams of HTTP/3 (RFC 9114 §6.2), which count against the peer's limit.
const HTTP3_UNI_STREAMS: u32 = 3;

/// Congestion control algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Congestion {
    /// Model of the path's bandwidth: on a path with 1 % random loss about four times as fast as the others.
    #[default]
    Bbr,
    /// Loss-based (RFC 9438).
    Cubic,
    /// Loss-based (RFC 9002 §7).
    NewReno,
}

/// Behaviour of one QUIC connection. The defaults suit media with strangers: everything is bounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Congestion control algorithm.
    pub congestion: Congestion,
    /// Bytes that may be in flight before the first acknowledgement. A joining answer of 30 kB arrives a round trip
    /// sooner with 64 kB than with the 14 kB of RFC 9002 §7.2.
    pub initial_window: u64,
    /// Assumed round-trip time before the first sample: a lost first packet is repeated after three of these.
    pub initial_rtt: Duration,
    /// A connection on which nothing is heard for this long is dead. At least [`Tuning::keep_alive`] times two. Participants
    /// keep a silent one for 9.5 s while they open another beside it; whoever is gone for 12 s is noticed, though a ping
    /// of our own makes it last for as long as [`Tuning::keep_alive`] more (RFC 9000 §10.1).
    pub idle_timeout: Duration,
    /// A ping after this much silence.
    pub keep_alive: Duration,
    /// Unidirectional streams the peer may have open at a time.
    pub max_uni_streams: u32,
    /// Bidirectional streams the peer may have open at a time.
    pub max_bi_streams: u32,
    /// Unread bytes the peer may send on one stream.
    pub stream_window: u32,
    /// Unread bytes the peer may send on all streams of the connection.
    pub receive_window: u32,
    /// Unacknowledged bytes we keep.
    pub send_window: u64,
    /// Unread datagram bytes we keep; older ones are dropped first.
    pub datagram_receive_buffer: usize,
    /// Unsent datagram bytes we keep; older ones are dropped first.
    pub datagram_send_buffer: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            congestion: Congestion::default(),
            initial_window: 64 << 10,
            initial_rtt: Duration::from_millis(100),
            idle_timeout: Duration::from_millis(9_750),
            keep_alive: Duration::from_secs(2),
            max_uni_streams: 1024,
            max_bi_streams: 64,
            stream_window: 1 << 20,
            receive_window: 8 << 20,
            send_window: 8 << 20,
            datagram_receive_buffer: 256 << 10,
            datagram_send_buffer: 256 << 10,
        }
    }
}

impl Tuning {
    pub(crate) fn transport(&self) -> Result<quinn::TransportConfig, BindError> {
        if self.idle_timeout < self.keep_alive * 2 {
            return Err(BindError::Config(
                "idle_timeout must be at least twice keep_alive",
            ));
        }
        let idle = self
            .idle_timeout
            .try_into()
            .map_err(|_| BindError::Config("idle_timeout is too long"))?;
        let mut t = quinn::TransportConfig::default();
        t.max_concurrent_uni_streams(self.max_uni_streams.saturating_add(HTTP3_UNI_STREAMS).into())
            // One more for CONNECT itself.
            .max_concurrent_bidi_streams(self.max_bi_streams.saturating_add(1).into())
            .stream_receive_window(VarInt::from_u32(self.stream_window))
            .receive_window(VarInt::from_u32(self.receive_window))
            .send_window(self.send_window)
            .initial_rtt(self.initial_rtt)
            .max_idle_timeout(Some(idle))
            .keep_alive_interval(Some(self.keep_alive))
            .datagram_receive_buffer_size(Some(self.datagram_receive_buffer))
            .datagram_send_buffer_size(self.datagram_send_buffer)
            .mtu_discovery_config(Some(quinn::MtuDiscoveryConfig::default()))
            .enable_segmentation_offload(true);
        t.congestion_controller_factory(Arc::new(PatientConfig(self.controllers())));
        Ok(t)
    }

    fn controllers(&self) -> Arc<dyn ControllerFactory + Send + Sync> {
        let window = self.initial_window;
        match self.congestion {
            Congestion::Bbr => {
                let mut c = BbrConfig::default();
                c.initial_window(window);
                Arc::new(c)
            }
            Congestion::Cubic => {
                let mut c = CubicConfig::default();
                c.initial_window(window);
                Arc::new(c)
            }
            Congestion::NewReno => {
                let mut c = NewRenoConfig::default();
                c.initial_window(window);
                Arc::new(c)
            }
        }
    }

    pub(crate) fn server(
        &self,
        tls: rustls::ServerConfig,
    ) -> Result<quinn::ServerConfig, BindError> {
        let tls = QuicServerConfig::try_from(tls).map_err(|e| BindError::Tls(e.to_string()))?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(Arc::new(self.transport()?));
        Ok(config)
    }

    pub(crate) fn client(
        &self,
        tls: rustls::ClientConfig,
    ) -> Result<quinn::ClientConfig, BindError> {
        let tls = QuicClientConfig::try_from(tls).map_err(|e| BindError::Tls(e.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::new(self.transport()?));
        Ok(config)
    }
}
