//! Varints, frame headers, group streams and datagrams.

use crate::datagram::{self, BUNDLE, Datagram};
use crate::ids::TrackId;
use crate::media::{AudioLevel, GroupDecoder, Header};
use crate::varint::{self, Reader};

use super::case::{Case, same, same_bytes};

pub(super) fn varint(case: Case<'_>) -> Result<(), String> {
    let (value, bytes) = (case.number("value")?, case.bytes("bytes")?);
    let mut out = Vec::new();
    varint::put(&mut out, value);
    same_bytes("bytes", &out, &bytes)?;
    same("size", varint::size(value), bytes.len())?;
    varint_not_shortest(case)
}

/// Read by every receiver, written by none.
pub(super) fn varint_not_shortest(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    let mut reader = Reader::new(&bytes);
    let read = reader.varint("value").map_err(|error| error.to_string())?;
    same("value", read, case.number("value")?)?;
    same("length", reader.position(), bytes.len())
}

/// The fields of a header as a case writes them.
fn header_of(case: Case<'_>) -> Result<Header, String> {
    let level = match case.0.get("level") {
        None => None,
        Some(level) => Some(AudioLevel {
            minus_dbov: Case(level).small("minus_dbov")?,
            voice: Case(level).flag("voice")?,
        }),
    };
    Ok(Header {
        track: TrackId(case.small("track")?),
        layer: case.small("layer")?,
        temporal: case.small("temporal")?,
        group: case.number("group")?,
        frame: case.number("frame")?,
        key: case.flag("key")?,
        capture_us: case.number("capture_us")?,
        level,
    })
}

pub(super) fn header(case: Case<'_>) -> Result<(), String> {
    let (wanted, bytes) = (header_of(case)?, case.bytes("bytes")?);
    let mut out = Vec::new();
    wanted.encode(&mut out);
    same_bytes("bytes", &out, &bytes)?;
    // Whatever follows is payload.
    let frame = [&bytes[..], b"\xff\xff"].concat();
    let read = Header::decode(&frame).map_err(|error| error.to_string())?;
    same("header", read, (wanted, bytes.len()))
}

pub(super) fn header_refused(case: Case<'_>) -> Result<(), String> {
    match Header::decode(&case.bytes("bytes")?) {
        Ok(read) => Err(format!("read as {read:?}")),
        Err(error) => case.refused(error),
    }
}

/// A stream, whole and byte by byte: its frames, then what is left unfinished or why it is refused.
pub(super) fn group(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    for chunk in [bytes.len().max(1), 1] {
        read_group(case, &bytes, chunk)
            .map_err(|error| format!("in pieces of {chunk}: {error}"))?;
    }
    Ok(())
}

fn read_group(case: Case<'_>, bytes: &[u8], chunk: usize) -> Result<(), String> {
    let mut wanted = case.list("frames")?.iter();
    let mut decoder = GroupDecoder::default();
    for piece in bytes.chunks(chunk) {
        decoder.push(piece);
        loop {
            let frame = match decoder.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    same("frames left", wanted.len(), 0)?;
                    return case.refused(error);
                }
            };
            let wanted = Case(wanted.next().ok_or("more frames than there should be")?);
            same("header", frame.header, header_of(wanted)?)?;
            same_bytes("payload", frame.payload(), &wanted.bytes("payload")?)?;
        }
    }
    same("frames left", wanted.len(), 0)?;
    if case.0.get("error").is_some() {
        return Err("was not refused".into());
    }
    same("unfinished", decoder.pending(), case.small("unfinished")?)
}

/// A datagram: its frames, or how much of it is padding, or why it is refused. A bundle of them comes out as it was.
pub(super) fn datagram(case: Case<'_>) -> Result<(), String> {
    let bytes = bytes::Bytes::from(case.bytes("bytes")?);
    let wanted = case.list("frames")?;
    let read = match Datagram::parse(bytes.clone()) {
        Ok(read) => read,
        Err(error) => return case.refused(error),
    };
    if case.0.get("error").is_some() {
        return Err("was not refused".into());
    }
    if let Datagram::Padding(len) = read {
        return same("padding", len, case.small("padding")?);
    }
    let frames: Vec<_> = read.into_frames().collect();
    same("frames", frames.len(), wanted.len())?;
    for (frame, wanted) in frames.iter().zip(wanted) {
        let wanted = Case(wanted);
        same("header", frame.header, header_of(wanted)?)?;
        same_bytes("payload", frame.payload(), &wanted.bytes("payload")?)?;
    }
    if bytes.first() == Some(&BUNDLE) {
        let parts: Vec<_> = frames.into_iter().map(|frame| frame.bytes).collect();
        same_bytes("bundle", &datagram::bundle(&parts), &bytes)?;
        same("size", datagram::bundle_size(&parts), bytes.len())?;
    }
    Ok(())
}
