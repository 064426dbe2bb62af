//! The other controllers, as participants are told of them.

use bytes::Bytes;
use darktower_cluster::candidate;
use darktower_placement::{Candidate, Health};
use darktower_store::{Node, Service};
use darktower_wire::ids::{MeetingId, NodeId};
use darktower_wire::signal::{self, Controller};

/// The other controllers that take meetings, the best for this one first.
pub(crate) fn list(
    nodes: &[Node],
    own: NodeId,
    meeting: MeetingId,
    region: &str,
    goes: bool,
) -> Vec<Controller> {
    let ranked = darktower_placement::others(meeting, &controllers(nodes), own, region, goes);
    ranked
        .into_iter()
        .filter_map(|id| nodes.iter().find(|node| node.id == id))
        .map(of)
        .collect()
}

/// All controllers, as they report themselves.
pub(crate) fn controllers(nodes: &[Node]) -> Vec<Candidate<'_>> {
    let controllers = nodes.iter().filter(|node| node.service == Service::Meeting);
    controllers
        .map(|node| candidate(node, Health::Sound))
        .collect()
}

/// How participants reach a node.
pub(crate) fn of(node: &Node) -> Controller {
    Controller {
        url: node.public_url.clone(),
        certificate_sha256: node
            .certificate_sha256
            .iter()
            .map(|hash| Bytes::copy_from_slice(hash))
            .collect(),
    }
}

/// The URL with a host that the participant can reach, where the node listens on
/// all addresses and so knows none: the one it reached this controller by.
pub(crate) fn reachable(url: &str, host: &str) -> String {
    let host = match host {
        "localhost" => "127.0.0.1",
        host => host,
    };
    url.replacen("//0.0.0.0", &format!("//{host}"), 1)
        .replacen("//[::]", &format!("//{host}"), 1)
}

/// The same for controllers.
pub(crate) fn make_reachable(elsewhere: &mut signal::Elsewhere, host: &str) {
    for controller in &mut elsewhere.controllers {
        controller.url = reachable(&controller.url, host);
    }
}
