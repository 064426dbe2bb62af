//! Taking a meeting's lease: from nobody, or from an owner that is gone.

use std::time::Duration;

use darktower_cluster::grpc;
use darktower_cluster::rpc::HoldRequest;
use darktower_cluster::rpc::meeting_controller_client::MeetingControllerClient;
use darktower_cluster::trace::TraceContext;
use darktower_placement::{Answer, Outcome, Step, Takeover};
use darktower_store::{Lease, Node};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, NodeId};
use tokio::time::{sleep, timeout};

use crate::Shared;
use crate::directory::NotHere;

/// Takes the lease, or says who has the meeting. Waits where the owner may be gone
/// ([`Takeover`] says how long).
pub(crate) async fn take(shared: &Shared, id: MeetingId) -> Result<Lease, NotHere> {
    let directory = &shared.directory;
    let (state, node, ttl) = (directory.state(), directory.node(), directory.lease_ttl());
    let mut takeover = Takeover::new(shared.now(), node, ttl);
    let mut lease = Lease::default();
    loop {
        match takeover.step() {
            Step::Acquire => {
                let acquired = state.acquire_lease(id, node, ttl).await;
                lease = acquired.map_err(|error| error.code())?;
                takeover.leased(lease.owner, lease.fence);
            }
            Step::Ask(owner, within) => {
                let (is_registered, answer) = judge(shared, id, owner, within).await;
                let is_draining = shared.draining.is_cancelled();
                takeover.asked(
                    shared.now(),
                    lease.fence,
                    is_registered,
                    answer,
                    is_draining,
                );
            }
            Step::GiveBack(owner, fence) => {
                tracing::warn!(meeting_id = %id, %owner, fence = fence.0, "the meeting's owner is gone");
                let given_back = state.release_lease(id, owner, fence).await;
                given_back.map_err(|error| error.code())?;
                takeover.given_back();
            }
            Step::Wait(wait) => {
                sleep(wait).await;
                takeover.waited();
            }
            Step::Done(Outcome::Mine(_)) => return Ok(lease),
            Step::Done(Outcome::Theirs(owner)) => {
                return Err(NotHere {
                    code: Code::NotOwner,
                    owner: Some(owner),
                });
            }
            Step::Done(Outcome::Refused(code)) => return Err(code.into()),
        }
    }
}

/// Whether the registry knows the owner, where it answers, and what the owner says.
async fn judge(
    shared: &Shared,
    id: MeetingId,
    owner: NodeId,
    within: Duration,
) -> (Option<bool>, Answer) {
    match find(shared, owner).await {
        Ok(Some(node)) => (Some(true), ask(shared, &node, id, within).await),
        // Where it cannot be asked, the registry has the word.
        Ok(None) => (Some(false), Answer::Silent),
        Err(error) => {
            tracing::debug!(%error, "the registry does not answer");
            (None, Answer::Silent)
        }
    }
}

/// The owner's entry in the registry as it is now: the own view may be older.
async fn find(shared: &Shared, owner: NodeId) -> Result<Option<Node>, darktower_store::Error> {
    let nodes = shared.directory.state().list_nodes(None).await?;
    Ok(nodes.into_iter().find(|node| node.id == owner))
}

async fn ask(shared: &Shared, owner: &Node, id: MeetingId, within: Duration) -> Answer {
    let channel = match grpc::connect_lazy_to(&shared.trust, &owner.grpc_url) {
        Ok(channel) => channel,
        Err(error) => {
            tracing::warn!(node = %owner.id, %error, "a meeting's owner cannot be asked");
            return Answer::Silent;
        }
    };
    let message = HoldRequest {
        meeting_id: id.to_vec().into(),
    };
    let request = grpc::request(message, TraceContext::root(), within);
    let mut client = MeetingControllerClient::new(channel);
    match timeout(within, client.hold(request)).await {
        Ok(Ok(reply)) => {
            let reply = reply.into_inner();
            match NodeId::from_slice(&reply.node) {
                Ok(node) => Answer::Said {
                    node,
                    holds: reply.holds,
                },
                Err(_) => Answer::Silent,
            }
        }
        Ok(Err(status)) if grpc::is_refused(&status) => Answer::Refused,
        Ok(Err(status)) => {
            tracing::debug!(node = %owner.id, %status, "a meeting's owner does not say");
            Answer::Silent
        }
        Err(_) => Answer::Silent,
    }
}
