//! The little of HTTP/3 (RFC 9114) that WebTransport needs: bytes in, facts out.

use bytes::{Buf, Bytes, BytesMut};
use web_transport_proto::{Capsule, CapsuleError, ConnectRequest, ConnectResponse, Frame};
use web_transport_proto::{ConnectError, Settings, SettingsError, StreamUni, VarInt};

/// H3_NO_ERROR and others of RFC 9114 §8.1.
pub(super) const NO_ERROR: u32 = 0x100;
pub(super) const STREAM_CREATION_ERROR: u32 = 0x103;
pub(super) const ID_ERROR: u32 = 0x108;
pub(super) const SETTINGS_ERROR: u32 = 0x109;
pub(super) const REQUEST_REJECTED: u32 = 0x10b;
pub(super) const REQUEST_INCOMPLETE: u32 = 0x10d;
pub(super) const MESSAGE_ERROR: u32 = 0x10e;

/// The most bytes that are kept of one HTTP/3 frame or capsule, or of one request's frames.
const MAX_KEPT: usize = (64 << 10) + 32;
/// A reason for closing longer than this is cut (draft-ietf-webtrans-http3 §6).
const MAX_REASON: usize = 1024;

/// The two numbers in front of a stream: what it is and, where it belongs to a session, to which.
#[derive(Debug, Default)]
pub(super) struct Opening {
    bytes: [u8; 16],
    len: usize,
}

/// What a stream is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The peer's HTTP/3 control stream.
    Control,
    /// QPACK's; without a dynamic table nothing is ever said on them.
    Qpack,
    /// A request: an HTTP/3 frame of this type begins.
    Request,
    /// Carries data of the session of this number.
    Session(u64),
    /// Nothing that is known here.
    Unknown,
}

impl Opening {
    /// Takes one byte; says what the stream is once it is known. Never takes more than two numbers' bytes.
    pub(super) fn push(&mut self, byte: u8, bidirectional: bool) -> Option<Purpose> {
        // Two numbers have at most 16 bytes, and the 16th decides.
        self.bytes[self.len] = byte;
        self.len += 1;
        let mut rest = self.bytes();
        let first = VarInt::decode(&mut rest).ok()?;
        let is_data = match bidirectional {
            true => Frame(first) == Frame::WEBTRANSPORT,
            false => StreamUni(first) == StreamUni::WEBTRANSPORT,
        };
        if is_data {
            return Some(Purpose::Session(VarInt::decode(&mut rest).ok()?.into()));
        }
        Some(match bidirectional {
            true => Purpose::Request,
            false if StreamUni(first) == StreamUni::CONTROL => Purpose::Control,
            false
                if [StreamUni::QPACK_ENCODER, StreamUni::QPACK_DECODER]
                    .contains(&StreamUni(first)) =>
            {
                Purpose::Qpack
            }
            false => Purpose::Unknown,
        })
    }

    /// What was taken.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The front of our streams and datagrams of a session.
#[derive(Debug, Default)]
pub(super) struct Fronts {
    pub(super) uni: Bytes,
    pub(super) bi: Bytes,
    /// Session number by four (RFC 9297 §2.1).
    pub(super) datagram: Bytes,
}

impl Fronts {
    pub(super) fn of(session: u64) -> Self {
        let number = |n: u64| VarInt::from_u64(n).unwrap_or(VarInt::MAX);
        let (mut uni, mut bi, mut datagram) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        StreamUni::WEBTRANSPORT.encode(&mut uni);
        number(session).encode(&mut uni);
        Frame::WEBTRANSPORT.encode(&mut bi);
        number(session).encode(&mut bi);
        number(session / 4).encode(&mut datagram);
        Self {
            uni: uni.freeze(),
            bi: bi.freeze(),
            datagram: datagram.freeze(),
        }
    }
}

/// Our SETTINGS, with the type of the control stream in front.
pub(super) fn settings() -> Bytes {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut out = BytesMut::new();
    settings.encode(&mut out);
    out.freeze()
}

/// Reads the peer's SETTINGS from the front of its control stream; `None` until all of it is there.
pub(super) fn read_settings(stream: &[u8]) -> Option<Result<(), &'static str>> {
    match Settings::decode(&mut &stream[..]) {
        Ok(settings) if settings.supports_webtransport() > 0 => Some(Ok(())),
        Ok(_) => Some(Err("the peer does not speak WebTransport")),
        Err(SettingsError::UnexpectedEnd) if stream.len() < MAX_KEPT => None,
        Err(_) => Some(Err("malformed SETTINGS")),
    }
}

/// Reads a request from the front of its stream: itself and its length in bytes; `None` until all of it is there.
pub(super) fn read_request(stream: &[u8]) -> Option<Result<(ConnectRequest, usize), ConnectError>> {
    let mut rest = stream;
    match ConnectRequest::decode(&mut rest) {
        Ok(request) => Some(Ok((request, stream.len() - rest.len()))),
        Err(ConnectError::UnexpectedEnd) if stream.len() < MAX_KEPT => None,
        Err(error) => Some(Err(error)),
    }
}

/// Reads the answer to a request: nothing or a refusing status, and its length in bytes.
pub(super) fn read_response(stream: &[u8]) -> Option<Result<(Option<u16>, usize), ConnectError>> {
    let mut rest = stream;
    match ConnectResponse::decode(&mut rest) {
        Ok(response) if response.status == http::StatusCode::OK => {
            Some(Ok((None, stream.len() - rest.len())))
        }
        Ok(response) => Some(Ok((Some(response.status.as_u16()), stream.len()))),
        Err(ConnectError::WrongStatus(Some(status)) | ConnectError::ErrorStatus(status)) => {
            Some(Ok((Some(status.as_u16()), stream.len())))
        }
        Err(ConnectError::UnexpectedEnd) if stream.len() < MAX_KEPT => None,
        Err(error) => Some(Err(error)),
    }
}

/// A close capsule in its DATA frame (RFC 9297 §3.2).
pub(super) fn close(code: u32, reason: &str) -> Bytes {
    let mut end = reason.len().min(MAX_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let capsule = Capsule::CloseWebTransportSession {
        code,
        reason: reason[..end].to_owned(),
    };
    let mut body = BytesMut::new();
    capsule.encode(&mut body);
    let mut out = BytesMut::new();
    Frame::DATA.encode(&mut out);
    VarInt::from_u32(body.len() as u32).encode(&mut out);
    out.extend_from_slice(&body);
    out.freeze()
}

/// Cuts the rest of a CONNECT stream into capsules.
#[derive(Debug, Default)]
pub(super) struct Capsules {
    raw: BytesMut,
    /// Of a DATA frame that is not whole yet, bytes to come; of any other, bytes to pass over.
    data: u64,
    pass: u64,
    body: BytesMut,
}

impl Capsules {
    /// Takes bytes; says code and reason where the peer closes the session, or what is wrong.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<(u32, String)>, &'static str> {
        self.raw.extend_from_slice(bytes);
        loop {
            let passed = self.raw.len().min(self.pass as usize);
            self.raw.advance(passed);
            self.pass -= passed as u64;
            let taken = self.raw.len().min(self.data as usize);
            self.body.extend_from_slice(&self.raw.split_to(taken));
            self.data -= taken as u64;
            if let Some(closed) = self.capsule()? {
                return Ok(Some(closed));
            }
            let mut rest = &self.raw[..];
            let (Ok(kind), Ok(len)) = (Frame::decode(&mut rest), VarInt::decode(&mut rest)) else {
                return Ok(None);
            };
            let front = self.raw.len() - rest.len();
            self.raw.advance(front);
            match kind == Frame::DATA {
                true => self.data = len.into(),
                false => self.pass = len.into(),
            }
        }
    }

    fn capsule(&mut self) -> Result<Option<(u32, String)>, &'static str> {
        loop {
            let mut rest = &self.body[..];
            match Capsule::decode(&mut rest) {
                Ok(Capsule::CloseWebTransportSession { code, reason }) => {
                    return Ok(Some((code, reason)));
                }
                // Of another kind: to be ignored (RFC 9297 §3.2).
                Ok(_) => {
                    let len = self.body.len() - rest.len();
                    self.body.advance(len);
                }
                Err(CapsuleError::UnexpectedEnd | CapsuleError::VarInt(_))
                    if self.body.len() < MAX_KEPT =>
                {
                    return Ok(None);
                }
                Err(_) => return Err("malformed capsule"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(bytes: &[u8], bidirectional: bool) -> Option<(Purpose, usize)> {
        let mut opening = Opening::default();
        for (n, byte) in bytes.iter().enumerate() {
            if let Some(purpose) = opening.push(*byte, bidirectional) {
                return Some((purpose, n + 1));
            }
        }
        None
    }

    #[test]
    fn a_streams_front_is_read_byte_by_byte() {
        let long = [0xc0, 0, 0, 0, 0, 0, 0, 0x54, 0xc0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(
            opening(&long, false),
            Some((Purpose::Session(256), 16)),
            "numbers in more bytes than needed"
        );
        let fronts = Fronts::of(4);
        assert_eq!(
            opening(&fronts.uni, false),
            Some((Purpose::Session(4), fronts.uni.len()))
        );
        assert_eq!(
            opening(&fronts.bi, true),
            Some((Purpose::Session(4), fronts.bi.len()))
        );
        assert_eq!(&fronts.datagram[..], [1]);
        assert_eq!(opening(&[0], false), Some((Purpose::Control, 1)));
        assert_eq!(opening(&[3], false), Some((Purpose::Qpack, 1)));
        assert_eq!(opening(&[1], true), Some((Purpose::Request, 1)));
        assert_eq!(opening(&[0x21], false), Some((Purpose::Unknown, 1)));
        assert_eq!(opening(&[0x40, 0x54], false), None, "no session yet");
    }

    #[test]
    fn a_close_is_found_wherever_it_is_cut() {
        let mut stream = Vec::new();
        // A frame of a reserved type, and a capsule of another kind in two DATA frames.
        stream.extend_from_slice(&[0x21, 3, 1, 2, 3]);
        stream.extend_from_slice(&[0, 2, 0x17, 2, 0, 2, 7, 7]);
        stream.extend_from_slice(&close(77, "bye"));
        for step in [1, 2, 3, stream.len()] {
            let mut capsules = Capsules::default();
            let found = stream
                .chunks(step)
                .find_map(|part| capsules.push(part).expect("well-formed"));
            assert_eq!(found, Some((77, "bye".to_owned())), "in pieces of {step}");
        }
    }

    #[test]
    fn what_never_ends_is_not_kept_for_ever() {
        let mut capsules = Capsules::default();
        // A DATA frame, and in it a capsule longer than any may be.
        let begun = [
            0, 0xbf, 0xff, 0xff, 0xff, 0x80, 1, 0, 0, 0xbf, 0xff, 0xff, 0xff,
        ];
        assert_eq!(capsules.push(&begun), Err("malformed capsule"));
        // One that may be so long, and is then passed over.
        let mut capsules = Capsules::default();
        let begun = [
            0, 0xbf, 0xff, 0xff, 0xff, 0x80, 1, 0, 0, 0x80, 0, 0xff, 0xff,
        ];
        assert_eq!(capsules.push(&begun), Ok(None));
        for _ in 0..1000 {
            assert_eq!(capsules.push(&[1; 1024]), Ok(None));
            assert!(capsules.body.len() <= MAX_KEPT);
        }
        // Passing over a frame keeps nothing.
        let mut capsules = Capsules::default();
        assert_eq!(capsules.push(&[0x21, 0xbf, 0xff, 0xff, 0xff]), Ok(None));
        for _ in 0..1000 {
            assert_eq!(capsules.push(&[1; 1024]), Ok(None));
        }
        assert!(capsules.raw.len() + capsules.body.len() < 2048);
        assert!(read_settings(&[0]).is_none());
        let endless = [&[0, 4, 0xbf, 0xff, 0xff, 0xff][..], &[1; MAX_KEPT]].concat();
        assert!(matches!(read_settings(&endless), Some(Err(_))));
        let endless = [&[0x21, 0x80, 0, 0xff, 0xff][..], &[1; MAX_KEPT]].concat();
        assert!(matches!(read_request(&endless), Some(Err(_))));
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "ü".repeat(1000);
        let mut capsules = Capsules::default();
        let (code, kept) = capsules
            .push(&close(1, &reason))
            .expect("well-formed")
            .expect("a close");
        assert_eq!((code, kept.len()), (1, 1024));
    }
}
