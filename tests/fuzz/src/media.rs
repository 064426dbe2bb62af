//! Frame headers and group streams.

use bytes::Bytes;
use darktower_wire::datagram::{self, BUNDLE, Datagram};
use darktower_wire::media::{Frame, GroupDecoder, Header, MAX_FRAME, MAX_HEADER, STREAM_GROUP};
use darktower_wire::varint::DecodeError;

/// Reads `data` as a header, as a datagram and as a group stream.
pub fn run(data: &[u8]) {
    if let Ok((header, len)) = Header::decode(data) {
        assert!(len <= MAX_HEADER.min(data.len()), "longer than it can be");
        let mut shortest = Vec::new();
        header.encode(&mut shortest);
        assert!(shortest.len() <= len, "the shortest form is longer");
        assert_eq!(
            Header::decode(&shortest),
            Ok((header, shortest.len())),
            "does not come back"
        );
        let frame = Frame::parse(Bytes::copy_from_slice(data)).map(|frame| frame.payload_at);
        assert_eq!(frame, Ok(len));
    }
    datagram(data);
    datagram(&[&[BUNDLE], data].concat());
    group(data);
    group(&[&[STREAM_GROUP], data].concat());
}

/// However a stream is cut, the same frames come out of it, all of one group, and nothing is kept beyond its bound.
fn group(data: &[u8]) {
    let pieces = usize::from(data.last().copied().unwrap_or(1) % 16) + 1;
    let whole = read(data, data.len().max(1));
    assert_eq!(whole, read(data, pieces), "depends on the cut");
    let (frames, _) = whole;
    let mut heads = frames.iter().map(|frame| {
        let Header {
            track,
            layer,
            group,
            ..
        } = frame.header;
        (track, layer, group)
    });
    if let Some(first) = heads.next() {
        assert!(heads.all(|head| head == first), "a stray frame");
    }
}

fn read(data: &[u8], size: usize) -> (Vec<Frame>, Option<DecodeError>) {
    let (mut decoder, mut frames) = (GroupDecoder::default(), Vec::new());
    for piece in data.chunks(size) {
        decoder.push(piece);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(decoder.pending() <= MAX_FRAME + 8 + size, "keeps too much");
    }
    (frames, None)
}

/// What is read of a bundle makes a bundle of the same frames.
fn datagram(data: &[u8]) {
    if let Ok(Datagram::Bundle(frames)) = Datagram::parse(Bytes::copy_from_slice(data)) {
        let parts: Vec<_> = frames.iter().map(|frame| frame.bytes.clone()).collect();
        let again = Datagram::parse(datagram::bundle(&parts));
        assert_eq!(again, Ok(Datagram::Bundle(frames)), "does not come back");
    }
}
