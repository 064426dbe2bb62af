//! A node as JSON, for people who look into Redis too.

use darktower_wire::ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::{Error, Node, Service};

/// What is written. A newer program's further fields are passed over.
#[derive(Serialize, Deserialize)]
struct Record {
    id: NodeId,
    service: String,
    #[serde(default)]
    region: String,
    grpc_url: String,
    #[serde(default)]
    public_url: String,
    #[serde(default)]
    certificate_sha256: Vec<String>,
    #[serde(default)]
    capacity: u32,
    #[serde(default)]
    load: u32,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    version: String,
    #[serde(default)]
    jwks: String,
}

const SERVICES: [Service; 3] = [Service::Global, Service::Meeting, Service::Media];

pub(super) fn write(node: Node) -> Result<Vec<u8>, Error> {
    let record = Record {
        id: node.id,
        service: node.service.as_str().to_owned(),
        region: node.region,
        grpc_url: node.grpc_url,
        public_url: node.public_url,
        certificate_sha256: node.certificate_sha256.iter().map(hex).collect(),
        capacity: node.capacity,
        load: node.load,
        draining: node.draining,
        version: node.version,
        jwks: node.jwks,
    };
    serde_json::to_vec(&record).map_err(|error| Error::Corrupt(error.to_string()))
}

pub(super) fn read(bytes: &[u8]) -> Result<Node, Error> {
    let unreadable = |what: String| Error::Corrupt(format!("a node's record: {what}"));
    let record: Record =
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    let service = SERVICES
        .into_iter()
        .find(|service| service.as_str() == record.service)
        .ok_or_else(|| unreadable("a service that is unknown here".to_owned()))?;
    let hashes = record.certificate_sha256.iter().map(|text| unhex(text));
    let hashes: Option<Vec<_>> = hashes.collect();
    Ok(Node {
        id: record.id,
        service,
        region: record.region,
        grpc_url: record.grpc_url,
        public_url: record.public_url,
        certificate_sha256: hashes.ok_or_else(|| unreadable("a fingerprint".to_owned()))?,
        capacity: record.capacity,
        load: record.load,
        draining: record.draining,
        version: record.version,
        jwks: record.jwks,
    })
}

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|letter| letter.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_writes_is_read_as_far_as_it_is_known() {
        let id = "0a".repeat(16);
        let newer = format!(
            r#"{{"id":"{id}","service":"media","grpc_url":"http://127.0.0.1:1","version":"99.0.0","mood":"fine"}}"#
        );
        let node = read(newer.as_bytes()).unwrap();
        assert_eq!((node.id, node.service), (NodeId([10; 16]), Service::Media));
        assert_eq!(node.version, "99.0.0");
        assert_eq!(read(&write(node.clone()).unwrap()).unwrap(), node);
    }

    #[test]
    fn nonsense_is_refused() {
        let of = |service: &str, more: &str| {
            let id = "0a".repeat(16);
            let text = format!(r#"{{"id":"{id}","service":"{service}","grpc_url":""{more}}}"#);
            read(text.as_bytes())
        };
        assert!(of("media", "").is_ok());
        for refused in [
            of("kitchen", ""),
            of("media", r#","load":99999999999"#),
            of("media", r#","load":-1"#),
            of("media", r#","certificate_sha256":["é"]"#),
            of(
                "media",
                &format!(r#","certificate_sha256":["{}"]"#, "+1".repeat(32)),
            ),
            read(b"\xff"),
        ] {
            assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
        }
    }
}
