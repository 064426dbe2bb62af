//! Between the store's types and the messages.

use std::time::Duration;

use darktower_store::{Error, Lease, Node, Service, Topic};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParseError};
use tonic::Status;

use crate::{grpc, rpc};

pub(super) fn service_to_rpc(service: Option<Service>) -> rpc::Service {
    match service {
        None => rpc::Service::Unspecified,
        Some(Service::Global) => rpc::Service::Global,
        Some(Service::Meeting) => rpc::Service::Meeting,
        Some(Service::Media) => rpc::Service::Media,
    }
}

pub(super) fn service_of_rpc(service: rpc::Service) -> Option<Service> {
    match service {
        rpc::Service::Unspecified => None,
        rpc::Service::Global => Some(Service::Global),
        rpc::Service::Meeting => Some(Service::Meeting),
        rpc::Service::Media => Some(Service::Media),
    }
}

pub(super) fn node_to_rpc(node: Node) -> rpc::Node {
    rpc::Node {
        id: node.id.to_vec().into(),
        service: service_to_rpc(Some(node.service)).into(),
        region: node.region,
        grpc_url: node.grpc_url,
        public_url: node.public_url,
        certificate_sha256: node
            .certificate_sha256
            .iter()
            .map(|hash| hash.to_vec().into())
            .collect(),
        capacity: node.capacity,
        load: node.load,
        draining: node.draining,
        version: node.version,
        jwks: node.jwks,
    }
}

pub(super) fn node_of_rpc(node: rpc::Node) -> Result<Node, ParseError> {
    let service = service_of_rpc(node.service()).ok_or(ParseError("service"))?;
    let hash = |hash: &bytes::Bytes| hash[..].try_into().map_err(|_| ParseError("fingerprint"));
    Ok(Node {
        id: NodeId::from_slice(&node.id)?,
        service,
        certificate_sha256: node
            .certificate_sha256
            .iter()
            .map(hash)
            .collect::<Result<_, _>>()?,
        region: node.region,
        grpc_url: node.grpc_url,
        public_url: node.public_url,
        capacity: node.capacity,
        load: node.load,
        draining: node.draining,
        version: node.version,
        jwks: node.jwks,
    })
}

pub(super) fn lease_to_rpc(lease: Lease) -> rpc::Lease {
    rpc::Lease {
        owner: lease
            .owner
            .map(|owner| owner.to_vec().into())
            .unwrap_or_default(),
        fence: lease.fence.0,
        remaining_ms: millis(lease.remaining),
        written: lease.written,
    }
}

pub(super) fn lease_of_rpc(lease: &rpc::Lease) -> Result<Lease, ParseError> {
    let owner = match &lease.owner[..] {
        [] => None,
        owner => Some(NodeId::from_slice(owner)?),
    };
    Ok(Lease {
        owner,
        fence: Fence(lease.fence),
        remaining: Duration::from_millis(lease.remaining_ms.into()),
        written: lease.written,
    })
}

pub(super) fn topic_to_rpc(topic: Topic) -> rpc::Topic {
    let meeting_id = match topic {
        Topic::Nodes => bytes::Bytes::new(),
        Topic::Meeting(id) => id.to_vec().into(),
    };
    rpc::Topic { meeting_id }
}

pub(super) fn topic_of_rpc(topic: &rpc::Topic) -> Result<Topic, ParseError> {
    match &topic.meeting_id[..] {
        [] => Ok(Topic::Nodes),
        id => MeetingId::from_slice(id).map(Topic::Meeting),
    }
}

/// Whole milliseconds, at least one where there is any time at all.
pub(super) fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

pub(super) fn status_of(error: &Error) -> Status {
    grpc::status(error.code(), error.to_string())
}

pub(super) fn error_of(status: &Status) -> Error {
    match grpc::code_of(status) {
        Code::TimedOut => Error::TimedOut,
        Code::Overloaded | Code::TooLarge => {
            Error::TooMuch("the state store refuses: a record or log is too large")
        }
        Code::Malformed => Error::Corrupt(status.message().to_owned()),
        _ => Error::Unavailable(status.message().to_owned()),
    }
}
