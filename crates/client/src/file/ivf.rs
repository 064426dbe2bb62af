//! IVF: a header of 32 bytes, then frames with size and time.

use std::time::Duration;

use bytes::Bytes;

use super::codec::{FrameFacts, vp8, vp9};
use super::{Clip, ClipChunk, ClipError, Fields, Format};

type ReadFacts = fn(&[u8]) -> Option<FrameFacts>;

pub(super) fn read(file: Bytes) -> Result<Clip, ClipError> {
    let mut fields = Fields::new(&file);
    fields.take(4, "signature")?;
    fields.number(2, "version")?;
    let header = fields.number(2, "header length")? as usize;
    let fourcc = fields.take(4, "codec")?;
    let width = fields.number(2, "width")? as u32;
    let height = fields.number(2, "height")? as u32;
    let rate = fields.number(4, "time base")?;
    let scale = fields.number(4, "time base")?;
    let malformed = |at, what| ClipError::Malformed { at, what };
    if rate == 0 || scale == 0 {
        return Err(malformed(16, "time base"));
    }
    if header < 32 {
        return Err(malformed(6, "header length"));
    }
    fields.at = 0;
    fields.take(header, "header")?;

    let (codec, facts): (_, ReadFacts) = match &fourcc[..] {
        b"VP80" => ("vp8", vp8),
        // Profile 0, level 3.1, 8 bits: what the tools make for pictures of this size.
        b"VP90" => ("vp09.00.31.08", vp9),
        other => {
            let name = String::from_utf8_lossy(other).into_owned();
            return Err(ClipError::UnknownCodec(name));
        }
    };
    let time = |pts: u64| {
        let nanos = u128::from(pts) * u128::from(scale) * 1_000_000_000 / u128::from(rate);
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    };
    let mut chunks = Vec::<ClipChunk>::new();
    let mut begin = None;
    while !fields.is_empty() {
        let at = fields.at;
        let size = fields.number(4, "frame size")? as usize;
        let pts = fields.number(8, "frame time")?;
        let bytes = fields.take(size, "frame")?;
        let begin = *begin.get_or_insert(pts);
        let since = pts.checked_sub(begin).and_then(time);
        let since = since.ok_or(malformed(at, "frame time"))?;
        let key = facts(&bytes).ok_or(malformed(at, "frame header"))?.key;
        if chunks.last().is_some_and(|last| since <= last.at) {
            return Err(malformed(at, "frame time"));
        }
        chunks.push(ClipChunk {
            bytes,
            key,
            at: since,
        });
    }
    // The last frame is shown as long as the others on average.
    let last = chunks.last().map_or(Duration::ZERO, |it| it.at);
    let between = u32::try_from(chunks.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let each = match between {
        0 => time(1).unwrap_or_default(),
        _ => last / between,
    };
    Ok(Clip {
        codec: codec.to_owned(),
        format: Format::Video { width, height },
        length: last.saturating_add(each),
        chunks,
    })
}
