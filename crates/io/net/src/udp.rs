//! UDP sockets and the QUIC endpoint on them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::EndpointConfig;
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::BindError;

/// Kernel buffer asked for in each direction: 20 ms at 1.6 Gbit/s. The system may grant less.
const BUFFER: usize = 4 << 20;

/// An endpoint on `addr`; `[::]` takes IPv4 too. With a `reset_key` shared across restarts, peers of a process that
/// died learn it from the first packet they send to its successor (stateless reset, RFC 9000 §10.3).
pub(crate) fn endpoint(
    addr: SocketAddr,
    server: Option<quinn::ServerConfig>,
    reset_key: Option<&[u8; 32]>,
) -> Result<quinn::Endpoint, BindError> {
    socket(addr, false)
        .and_then(|socket| {
            let config = endpoint_config(reset_key);
            quinn::Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime))
        })
        .map_err(|source| BindError::Address { addr, source })
}

/// A socket on `addr`; a `shared` one lets others of this user listen there too, and the kernel spreads the peers.
pub(crate) fn socket(addr: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    for result in [
        socket.set_recv_buffer_size(BUFFER),
        socket.set_send_buffer_size(BUFFER),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, "kernel refused a larger UDP buffer");
        }
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn endpoint_config(reset_key: Option<&[u8; 32]>) -> EndpointConfig {
    let Some(secret) = reset_key else {
        return EndpointConfig::default();
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    // Packets with connection ids of another generator are dropped without a reset: derive it from the key too.
    let mut ids = [0; 8];
    ids.copy_from_slice(&hmac::sign(&key, b"connection ids").as_ref()[..8]);
    let ids = u64::from_le_bytes(ids);
    let mut config = EndpointConfig::new(Arc::new(key));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}
