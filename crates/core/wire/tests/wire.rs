//! Properties of every decoder: what is encoded comes back, and no bytes at
//! all make it panic or claim more than there is.

use bytes::Bytes;
use darktower_wire::code::Code;
use darktower_wire::datagram::{self, Datagram, MAX_BUNDLE};
use darktower_wire::framing::{self, Decoder};
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId, TrackId};
use darktower_wire::media::{
    AudioLevel, Frame, GroupDecoder, Header, MAX_FRAME, MAX_HEADER, STREAM_GROUP, put_entry_length,
};
use darktower_wire::mls::{self, Committer};
use darktower_wire::signal::{ClientMessage, ServerMessage};
use darktower_wire::varint::{self, DecodeError, Reader};
use proptest::prelude::*;
use prost::Message;

fn any_header() -> impl Strategy<Value = Header> {
    let times = (0..=varint::MAX, 0..=varint::MAX, 0..=varint::MAX);
    let level = proptest::option::of((0u8..128, any::<bool>()));
    (any::<u32>(), 0u8..16, 0u8..8, times, any::<bool>(), level).prop_map(
        |(track, layer, temporal, (group, frame, capture_us), key, level)| Header {
            track: TrackId(track),
            layer,
            temporal,
            group,
            frame,
            key,
            capture_us,
            level: level.map(|(minus_dbov, voice)| AudioLevel { minus_dbov, voice }),
        },
    )
}

fn group_stream(frames: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut stream = vec![STREAM_GROUP];
    for (header, payload) in frames {
        let mut frame = Vec::new();
        header.encode(&mut frame);
        frame.extend_from_slice(payload);
        put_entry_length(&mut stream, frame.len());
        stream.extend_from_slice(&frame);
    }
    stream
}

fn read_all(stream: &[u8], chunk: usize) -> Result<Vec<Frame>, DecodeError> {
    let mut decoder = GroupDecoder::default();
    let mut frames = Vec::new();
    for bytes in stream.chunks(chunk.max(1)) {
        decoder.push(bytes);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn varints_come_back(value in 0..=varint::MAX) {
        let mut bytes = Vec::new();
        varint::put(&mut bytes, value);
        prop_assert_eq!(bytes.len(), varint::size(value));
        prop_assert_eq!(Reader::new(&bytes).varint("value"), Ok(value));
    }

    #[test]
    fn headers_come_back(header in any_header(), payload in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        prop_assert!(bytes.len() <= MAX_HEADER);
        let len = bytes.len();
        bytes.extend_from_slice(&payload);
        prop_assert_eq!(Header::decode(&bytes), Ok((header, len)));
        let frame = Frame::parse(Bytes::from(bytes)).expect("decoded above");
        prop_assert_eq!(frame.payload(), &payload[..]);
    }

    #[test]
    fn a_cut_header_is_an_error(header in any_header(), cut in 0usize..MAX_HEADER) {
        let mut bytes = Vec::new();
        header.encode(&mut bytes);
        if cut < bytes.len() {
            let cut = matches!(Header::decode(&bytes[..cut]), Err(DecodeError::Truncated { .. }));
            prop_assert!(cut);
        }
    }

    #[test]
    fn groups_come_back_however_they_are_cut(
        header in any_header(),
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
        chunk in 1usize..64,
    ) {
        let frames: Vec<_> = payloads
            .into_iter()
            .enumerate()
            .map(|(at, payload)| (Header { frame: at as u64, key: at == 0, ..header }, payload))
            .collect();
        let read = read_all(&group_stream(&frames), chunk).expect("well formed");
        prop_assert_eq!(read.len(), frames.len());
        for (read, (header, payload)) in read.iter().zip(&frames) {
            prop_assert_eq!(&read.header, header);
            prop_assert_eq!(read.payload(), &payload[..]);
        }
    }

    #[test]
    fn the_header_of_half_a_frame_is_known_once_it_is_there(
        header in any_header(),
        payload in proptest::collection::vec(any::<u8>(), 1..300),
        cut in 0usize..400,
    ) {
        let stream = group_stream(&[(header, payload.clone())]);
        let cut = cut.min(stream.len() - 1);
        let mut decoder = GroupDecoder::default();
        decoder.push(&stream[..cut]);
        prop_assert_eq!(decoder.next_frame(), Ok(None));
        let header_ends = stream.len() - payload.len();
        prop_assert_eq!(decoder.partial(), (cut >= header_ends).then_some(header));
        decoder.push(&stream[cut..]);
        prop_assert!(matches!(decoder.next_frame(), Ok(Some(_))));
        prop_assert_eq!(decoder.partial(), None);
    }

    #[test]
    fn bundles_come_back(header in any_header(), sizes in proptest::collection::vec(0usize..300, 1..=MAX_BUNDLE)) {
        let frames: Vec<_> = sizes.iter().map(|size| {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            bytes.resize(bytes.len() + size, 7);
            Bytes::from(bytes)
        }).collect();
        let read = Datagram::parse(datagram::bundle(&frames)).expect("well formed");
        let read: Vec<_> = read.into_frames().map(|frame| frame.bytes).collect();
        prop_assert_eq!(read, frames);
    }

    #[test]
    fn a_frame_of_another_track_ends_the_group(header in any_header(), other in any::<u32>()) {
        prop_assume!(header.track.0 != other);
        let stray = Header { track: TrackId(other), ..header };
        let stream = group_stream(&[(header, vec![1]), (stray, vec![2])]);
        let refused = matches!(read_all(&stream, 7), Err(DecodeError::Invalid { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), chunk in 1usize..64) {
        let _ = Header::decode(&bytes);
        let _ = Datagram::parse(Bytes::copy_from_slice(&bytes));
        let _ = read_all(&bytes, chunk);
        let mut typed = bytes.clone();
        typed.insert(0, STREAM_GROUP);
        let _ = read_all(&typed, chunk);
        let _ = mls::commit_frame(&bytes);
        let _ = mls::group_info_frame(&bytes);
        let _ = ClientMessage::decode(&bytes[..]);
        let _ = ServerMessage::decode(&bytes[..]);
        let mut decoder = Decoder::new(framing::MAX_SIGNAL);
        decoder.push(&bytes);
        while let Ok(Some(_)) = decoder.next_message::<ClientMessage>() {}
    }

    #[test]
    fn meeting_codes_come_back(letters in proptest::array::uniform10(0u8..26)) {
        let code = MeetingCode::from_letters(letters);
        let text = code.to_string();
        prop_assert_eq!(text.parse(), Ok(code));
        prop_assert_eq!(text.replace('-', "").to_uppercase().parse(), Ok(code));
    }

    #[test]
    fn ids_come_back(bytes in any::<[u8; 16]>()) {
        let id = ParticipantId(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&MeetingId(bytes)).expect("serializable");
        prop_assert_eq!(serde_json::from_str::<MeetingId>(&json).ok(), Some(MeetingId(bytes)));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in ".{0,40}") {
        let _ = text.parse::<MeetingCode>();
        let _ = text.parse::<MeetingId>();
    }
}

#[test]
fn a_length_that_lies_is_refused_before_anything_is_allocated() {
    let mut stream = vec![STREAM_GROUP];
    varint::put(&mut stream, MAX_FRAME as u64 + 1);
    assert_eq!(
        read_all(&stream, 64),
        Err(DecodeError::TooLarge {
            what: "frame",
            len: MAX_FRAME as u64 + 1,
            max: MAX_FRAME as u64
        })
    );
    let mut decoder = Decoder::new(100);
    let mut bytes = Vec::new();
    varint::put(&mut bytes, 101);
    decoder.push(&bytes);
    assert!(matches!(
        decoder.next_bytes(),
        Err(DecodeError::TooLarge { len: 101, .. })
    ));
}

#[test]
fn a_newer_version_or_reserved_bit_is_refused() {
    let mut bytes = Vec::new();
    Header::default().encode(&mut bytes);
    for bit in [0x08, 0x40, 0x80] {
        let mut other = bytes.clone();
        other[0] |= bit;
        assert_eq!(
            Header::decode(&other),
            Err(DecodeError::Invalid {
                what: "frame flags",
                at: 0
            })
        );
    }
}

#[test]
fn messages_are_cut_out_of_a_byte_stream() {
    let message = ClientMessage {
        request: 7,
        ..Default::default()
    };
    let bytes = [framing::encode(&message), framing::encode(&message)].concat();
    let mut decoder = Decoder::new(framing::MAX_SIGNAL);
    let mut seen = 0;
    for byte in bytes {
        decoder.push(&[byte]);
        while let Some(read) = decoder
            .next_message::<ClientMessage>()
            .expect("well formed")
        {
            assert_eq!(read, message);
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn unknown_fields_of_a_newer_peer_are_tolerated() {
    let mut bytes = ClientMessage {
        request: 9,
        ..Default::default()
    }
    .encode_to_vec();
    bytes.extend_from_slice(&[0xfa, 0x3f, 0x02, b'h', b'i']); // field 1023, 2 bytes
    assert_eq!(
        ClientMessage::decode(&bytes[..])
            .expect("tolerated")
            .request,
        9
    );
}

#[test]
fn the_frame_of_a_commit_is_read() {
    let mut message = vec![0, 1, 0, 1, 3];
    message.extend_from_slice(b"grp");
    message.extend_from_slice(&5u64.to_be_bytes());
    let member = [&message[..], &[1, 0, 0, 0, 9]].concat();
    let frame = mls::commit_frame(&member).expect("well formed");
    assert_eq!(
        (frame.group, frame.epoch, frame.committer),
        (&b"grp"[..], 5, Committer::Member(9))
    );
    let newcomer = [&message[..], &[4]].concat();
    let frame = mls::commit_frame(&newcomer).expect("well formed");
    assert_eq!(frame.committer, Committer::Newcomer);
    let external = [&message[..], &[2, 0, 0, 0, 0]].concat();
    assert!(mls::commit_frame(&external).is_err());
}

#[test]
fn every_code_is_found_by_its_number_and_named_once() {
    let mut names = std::collections::BTreeSet::new();
    for code in Code::ALL {
        assert_eq!(Code::from_number(code.number()), Some(*code));
        assert!(names.insert(code.name()), "{code} twice");
        assert!((200..600).contains(&code.http_status()));
        assert!((0..=16).contains(&code.grpc_status()));
    }
    assert_eq!(Code::from_number(999), None);
}
