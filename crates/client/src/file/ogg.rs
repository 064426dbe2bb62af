//! Ogg (RFC 3533) with one Opus stream (RFC 7845).

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::codec::opus_duration;
use super::{Clip, ClipChunk, ClipError, Fields, Format};

/// Opus counts in this rate whatever it was made from.
const SAMPLE_RATE: u32 = 48_000;

pub(super) fn read(file: Bytes) -> Result<Clip, ClipError> {
    let malformed = |at, what| ClipError::Malformed { at, what };
    let mut packets = packets(&file)?.into_iter();
    let (_, head) = packets.next().ok_or(ClipError::Nothing)?;
    if !head.starts_with(b"OpusHead") {
        let name = String::from_utf8_lossy(&head[..head.len().min(8)]).into_owned();
        return Err(ClipError::UnknownCodec(name));
    }
    let channels = *head.get(9).ok_or(malformed(0, "OpusHead"))?;
    match packets.next() {
        Some((_, tags)) if tags.starts_with(b"OpusTags") => {}
        _ => return Err(malformed(0, "OpusTags")),
    }
    let (mut chunks, mut length) = (Vec::new(), Duration::ZERO);
    for (at, bytes) in packets {
        let sounds = opus_duration(&bytes).ok_or(malformed(at, "Opus packet"))?;
        chunks.push(ClipChunk {
            bytes,
            key: true,
            at: length,
        });
        length += sounds;
    }
    Ok(Clip {
        codec: "opus".to_owned(),
        format: Format::Audio {
            sample_rate: SAMPLE_RATE,
            channels: u32::from(channels),
        },
        chunks,
        length,
    })
}

/// The packets of the first logical stream, each with the place of the page it begins on.
fn packets(file: &Bytes) -> Result<Vec<(usize, Bytes)>, ClipError> {
    const CONTINUED: u64 = 1;
    let mut fields = Fields::new(file);
    let (mut packets, mut serial) = (Vec::new(), None);
    let mut unfinished: Option<(usize, BytesMut)> = None;
    while !fields.is_empty() {
        let at = fields.at;
        let malformed = |what| ClipError::Malformed { at, what };
        if fields.take(4, "page")? != b"OggS".as_slice() || fields.number(1, "version")? != 0 {
            return Err(malformed("page"));
        }
        let flags = fields.number(1, "flags")?;
        fields.number(8, "position")?;
        let page_serial = fields.number(4, "serial")?;
        fields.take(8, "sequence and checksum")?;
        let segments = fields.number(1, "segments")? as usize;
        let lacing = fields.take(segments, "lacing")?;
        let len = lacing.iter().map(|it| usize::from(*it)).sum();
        let mut body = fields.take(len, "page body")?;
        if page_serial != *serial.get_or_insert(page_serial) {
            continue;
        }
        if (flags & CONTINUED != 0) != unfinished.is_some() {
            return Err(malformed("continuation"));
        }
        for segment in lacing {
            let (_, packet) = unfinished.get_or_insert_with(|| (at, BytesMut::new()));
            packet.extend_from_slice(&body.split_to(usize::from(segment)));
            if segment < 255
                && let Some((at, packet)) = unfinished.take()
            {
                packets.push((at, packet.freeze()));
            }
        }
    }
    Ok(packets)
}
