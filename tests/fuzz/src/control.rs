//! Messages on the control stream of a media session.

use darktower_wire::framing::MAX_MEDIA_CONTROL;
use darktower_wire::media_control::{ClientControl, ServerControl};

use crate::signal::{come_back, read_stream};

/// Reads `data` as messages and as streams of both directions.
pub fn run(data: &[u8]) {
    come_back::<ClientControl>(data);
    come_back::<ServerControl>(data);
    read_stream::<ClientControl>(data, MAX_MEDIA_CONTROL);
    read_stream::<ServerControl>(data, MAX_MEDIA_CONTROL);
}
