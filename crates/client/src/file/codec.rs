//! What is read from the front of an encoded chunk without decoding it.

use std::time::Duration;

/// Facts of a VP8 or VP9 frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFacts {
    /// Decodable on its own.
    pub key: bool,
    /// Width and height in pixels, where the frame says them.
    pub size: Option<(u32, u32)>,
}

/// The front of a VP8 frame (RFC 6386 §9.1); `None` for what no VP8 frame begins with.
pub fn vp8(chunk: &[u8]) -> Option<FrameFacts> {
    let [a, b, c] = *chunk.first_chunk::<3>()?;
    let tag = u32::from_le_bytes([a, b, c, 0]);
    let (key, version, first_part) = (tag & 1 == 0, tag >> 1 & 7, (tag >> 5) as usize);
    if version > 3 || first_part > chunk.len() {
        return None;
    }
    if !key {
        return Some(FrameFacts { key, size: None });
    }
    let [0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *chunk.get(3..10)? else {
        return None;
    };
    // The upper two bits of each say how to scale.
    let size = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    Some(FrameFacts {
        key,
        size: Some((size(w0, w1), size(h0, h1))),
    })
}

/// The front of a VP9 frame's uncompressed header (VP9 bitstream specification §6.2), profiles 0 to 3; `None` for what
/// no VP9 frame begins with.
pub fn vp9(chunk: &[u8]) -> Option<FrameFacts> {
    let mut bits = Bits { chunk, at: 0 };
    if bits.take(2)? != 2 {
        return None;
    }
    let (low, high) = (bits.take(1)?, bits.take(1)?);
    let profile = high << 1 | low;
    if profile == 3 && bits.take(1)? != 0 {
        return None;
    }
    if bits.take(1)? == 1 {
        // show_existing_frame: shows a picture that is known already.
        return Some(FrameFacts {
            key: false,
            size: None,
        });
    }
    let key = bits.take(1)? == 0;
    let (_shown, _error_resilient) = (bits.take(1)?, bits.take(1)?);
    if !key {
        return Some(FrameFacts { key, size: None });
    }
    if bits.take(24)? != 0x49_83_42 {
        return None;
    }
    const RGB: u32 = 7;
    if profile >= 2 {
        bits.take(1)?;
    }
    let (space, has_subsampling) = (bits.take(3)?, profile % 2 == 1);
    match (space, has_subsampling) {
        (RGB, true) => bits.take(1)?,
        (RGB, false) => return None,
        (_, true) => bits.take(4)?,
        (_, false) => bits.take(1)?,
    };
    let (width, height) = (bits.take(16)? + 1, bits.take(16)? + 1);
    Some(FrameFacts {
        key,
        size: Some((width, height)),
    })
}

/// How long an Opus packet sounds (RFC 6716 §3.1, §3.2); `None` for what no decoder accepts.
pub fn opus_duration(packet: &[u8]) -> Option<Duration> {
    let toc = *packet.first()?;
    let config = toc >> 3;
    let frame_us = match config {
        0..=11 => [10_000, 20_000, 40_000, 60_000][usize::from(config & 3)],
        12..=15 => [10_000, 20_000][usize::from(config & 1)],
        _ => [2_500, 5_000, 10_000, 20_000][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(*packet.get(1)? & 0x3f),
    };
    // [R5]: at most 120 ms.
    let us = frame_us * frames;
    (1..=120_000)
        .contains(&us)
        .then(|| Duration::from_micros(us))
}

/// Whether `chunk` can be one of this codec (a WebCodecs string), and is a key frame.
pub fn check(codec: &str, chunk: &[u8]) -> Option<bool> {
    if codec.starts_with("vp8") {
        vp8(chunk).map(|it| it.key)
    } else if codec.starts_with("vp09") {
        vp9(chunk).map(|it| it.key)
    } else if codec == "opus" {
        opus_duration(chunk).map(|_| true)
    } else {
        None
    }
}

/// Bits from the most significant on.
struct Bits<'a> {
    chunk: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.chunk.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}
