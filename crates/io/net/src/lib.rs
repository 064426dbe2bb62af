//! QUIC, WebTransport and HTTP endpoints, certificates, framing and drain.
