//! The end of a session.

use std::time::{Duration, Instant};

use quinn_proto::{Connection, ConnectionError, VarInt};

use crate::error::{CloseReason, ClosedBy};

/// How long the peer gets to read why we closed: three round trips, at least this. Closing the connection at once
/// makes a third of the browsers read "Connection lost".
const LINGER_LEAST: Duration = Duration::from_millis(100);

/// Until when a session that we closed may take its leave.
pub(super) fn linger(now: Instant, conn: &Connection) -> Instant {
    now + (conn.rtt() * 3).max(LINGER_LEAST)
}

/// A WebTransport code as an HTTP/3 one.
pub(super) fn code(code: u32) -> VarInt {
    VarInt::from_u64(web_transport_proto::error_to_http3(code)).unwrap_or(VarInt::MAX)
}

/// Our words for why the connection ended.
pub(super) fn reason(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let code = web_transport_proto::error_from_http3(close.error_code.into_inner());
            CloseReason {
                code: code.unwrap_or_default(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
                by: ClosedBy::Peer,
            }
        }
        other => CloseReason {
            code: 0,
            reason: other.to_string(),
            by: ClosedBy::Lost,
        },
    }
}
