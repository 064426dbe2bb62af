//! A browser sends CONNECT only once it has the server's SETTINGS: they must come with the server's first flight,
//! before the handshake is over, or every join costs a round trip more.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::{Dir, EndpointConfig, Event};

use crate::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_leave_before_the_handshake_is_over() {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    config.limits.authenticate_within = Duration::from_millis(500);
    config.limits.per_address = 1;
    let server = Server::bind(config).unwrap();
    let addr = server.local_addr();
    let client = client(&certs);
    let got = tokio::task::spawn_blocking(move || first_flight(&certs, addr));
    let got = soon("first flight", got).await.unwrap();
    // The control stream's type 0x00, then a SETTINGS frame, type 0x04 (RFC 9114 §6.2.1, §7.2.4).
    assert_eq!(got[..2], [0x00, 0x04]);
    // The handshake was never finished: that costs the server its deadline, no more.
    soon("forgotten", connect_when_freed(&server, &client)).await;
}

/// Sends the client's first packets and no other; returns what came on the server's first stream.
fn first_flight(certs: &Certs, addr: SocketAddr) -> Vec<u8> {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let config = Arc::new(EndpointConfig::default());
    let mut endpoint = quinn_proto::Endpoint::new(config, None, true, None);
    let (handle, mut conn) = endpoint
        .connect(
            Instant::now(),
            crate::bounds::raw_config(certs),
            addr,
            "localhost",
        )
        .unwrap();
    let mut buffer = Vec::new();
    while let Some(transmit) = conn.poll_transmit(Instant::now(), 1, &mut buffer) {
        socket.send_to(&buffer[..transmit.size], addr).unwrap();
        buffer.clear();
    }
    loop {
        let mut datagram = [0; 2048];
        let size = socket.recv(&mut datagram).unwrap();
        let event = endpoint.handle(
            Instant::now(),
            addr,
            None,
            None,
            datagram[..size].into(),
            &mut buffer,
        );
        if let Some(quinn_proto::DatagramEvent::ConnectionEvent(to, event)) = event {
            assert_eq!(to, handle);
            conn.handle_event(event);
        }
        while let Some(event) = conn.poll() {
            if let Event::ConnectionLost { reason } = event {
                panic!("{reason}");
            }
        }
        if let Some(stream) = conn.streams().accept(Dir::Uni) {
            let mut recv = conn.recv_stream(stream);
            let mut chunks = recv.read(true).unwrap();
            if let Ok(Some(chunk)) = chunks.next(usize::MAX) {
                return chunk.bytes.to_vec();
            }
        }
    }
}
