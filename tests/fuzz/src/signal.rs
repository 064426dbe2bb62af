//! Signalling messages, by themselves and in a byte stream.

use darktower_wire::framing::{Decoder, MAX_SIGNAL};
use darktower_wire::signal::{ClientMessage, ServerMessage, TrackDescription};
use prost::Message;

/// Reads `data` as messages and as streams of both directions.
pub fn run(data: &[u8]) {
    come_back::<ClientMessage>(data);
    come_back::<ServerMessage>(data);
    come_back::<TrackDescription>(data);
    read_stream::<ClientMessage>(data, MAX_SIGNAL);
    read_stream::<ServerMessage>(data, MAX_SIGNAL);
}

/// What can be read is read again as the same after it was written.
pub(crate) fn come_back<M: Message + Default + PartialEq + std::fmt::Debug>(data: &[u8]) {
    if let Ok(message) = M::decode(data) {
        let again = M::decode(&message.encode_to_vec()[..]);
        assert_eq!(again.ok(), Some(message), "does not come back");
    }
}

/// However a stream is cut, the same messages come out of it.
pub(crate) fn read_stream<M: Message + Default + PartialEq + std::fmt::Debug>(
    data: &[u8],
    max: usize,
) {
    let pieces = usize::from(data.first().copied().unwrap_or(1) % 16) + 1;
    let read = |size: usize| {
        let (mut decoder, mut messages) = (Decoder::new(max), Vec::<M>::new());
        for piece in data.chunks(size) {
            decoder.push(piece);
            loop {
                match decoder.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, false),
                }
            }
        }
        (messages, true)
    };
    assert_eq!(read(data.len().max(1)), read(pieces), "depends on the cut");
}
