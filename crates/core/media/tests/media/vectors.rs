//! `proto/vectors/media-frames.json`: headers and streams as bytes.

use darktower_wire::ids::TrackId;
use darktower_wire::media::{AudioLevel, GroupDecoder, Header};

const VECTORS: &str = include_str!("../../../../../proto/vectors/media-frames.json");

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|one| one.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

fn header(value: &serde_json::Value) -> Header {
    let number = |name: &str| value[name].as_u64().unwrap_or_default();
    Header {
        track: TrackId(number("track") as u32),
        layer: number("layer") as u8,
        temporal: number("temporal") as u8,
        group: number("group"),
        frame: number("number"),
        key: value["key"].as_bool().unwrap_or_default(),
        capture_us: number("capture"),
        level: value["level"].as_object().map(|level| AudioLevel {
            minus_dbov: level["minus_dbov"].as_u64().unwrap_or_default() as u8,
            voice: level["voice"].as_bool().unwrap_or_default(),
        }),
    }
}

#[test]
fn bytes_are_as_written_down() {
    let vectors: serde_json::Value =
        serde_json::from_str(VECTORS).unwrap_or_else(|error| panic!("{error}"));
    let headers = vectors["headers"].as_array().cloned().unwrap_or_default();
    assert!(!headers.is_empty());
    for vector in &headers {
        let bytes = unhex(vector["bytes"].as_str().unwrap_or_default());
        let expected = header(vector);
        let mut encoded = Vec::new();
        expected.encode(&mut encoded);
        assert_eq!(encoded, bytes, "{vector}");
        assert_eq!(
            Header::decode(&bytes),
            Ok((expected, bytes.len())),
            "{vector}"
        );
    }
    for vector in vectors["malformed"].as_array().into_iter().flatten() {
        let bytes = unhex(vector["bytes"].as_str().unwrap_or_default());
        assert!(Header::decode(&bytes).is_err(), "{vector}");
    }
    for vector in vectors["streams"].as_array().into_iter().flatten() {
        let mut decoder = GroupDecoder::default();
        decoder.push(&unhex(vector["bytes"].as_str().unwrap_or_default()));
        let mut payloads = Vec::new();
        let ended = loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => payloads.push(frame.payload().to_vec()),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let expected = vector["payloads"].as_array().cloned().unwrap_or_default();
        let expected: Vec<_> = expected
            .iter()
            .map(|one| unhex(one.as_str().unwrap_or_default()))
            .collect();
        assert_eq!(payloads, expected, "{vector}");
        assert_eq!(Some(ended), vector["well_formed"].as_bool(), "{vector}");
    }
}
