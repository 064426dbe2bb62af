//! What is counted, under the names that dashboards know.

use darktower_wire::Code;
use metrics::{counter, gauge};

pub(crate) fn sizes(sessions: usize, meetings: usize) {
    gauge!("darktower_media_sessions").set(sessions as f64);
    gauge!("darktower_media_meetings").set(meetings as f64);
}

/// Tracks known and bytes cached, as changes.
pub(crate) fn kept(tracks: f64, cached: f64) {
    gauge!("darktower_media_tracks").increment(tracks);
    gauge!("darktower_media_cache_bytes").increment(cached);
}

/// What happens to each frame, counted by its shard and told now and then: telling costs more than forwarding may.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    received: (u64, u64),
    forwarded: (u64, u64),
}

impl Tally {
    pub(crate) fn received(&mut self, bytes: usize) {
        self.received.0 += 1;
        self.received.1 += bytes as u64;
    }

    pub(crate) fn forwarded(&mut self, bytes: usize) {
        self.forwarded.0 += 1;
        self.forwarded.1 += bytes as u64;
    }

    pub(crate) fn tell(&mut self) {
        let Self {
            received,
            forwarded,
        } = std::mem::take(self);
        counter!("darktower_media_frames_received_total").increment(received.0);
        counter!("darktower_media_received_bytes_total").increment(received.1);
        counter!("darktower_media_frames_forwarded_total").increment(forwarded.0);
        counter!("darktower_media_forwarded_bytes_total").increment(forwarded.1);
    }
}

pub(crate) fn group_reset() {
    counter!("darktower_media_groups_reset_total").increment(1);
}

pub(crate) fn key_frame_request() {
    counter!("darktower_media_key_frame_requests_total").increment(1);
}

/// Something was refused: a session, a stream, a frame, a request.
pub(crate) fn refused(what: &'static str, code: Code) {
    counter!("darktower_media_refused_total", "what" => what, "code" => code.name()).increment(1);
}

/// Trunks to other handlers, as a change.
pub(crate) fn trunk(change: f64) {
    gauge!("darktower_media_trunks").increment(change);
}

/// A session ended.
pub(crate) fn session_closed(code: Code) {
    counter!("darktower_media_sessions_closed_total", "code" => code.name()).increment(1);
}
