//! Which meeting controller to ask, and asking it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darktower_cluster::candidate;
use darktower_cluster::grpc::{self, Channels};
use darktower_cluster::rpc;
use darktower_cluster::rpc::meeting_controller_client::MeetingControllerClient;
use darktower_cluster::trace::TraceContext;
use darktower_placement::{Candidate, Health, Recent};
use darktower_store::database::Meeting;
use darktower_store::{Node, Service, StateStore};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, NodeId, ParticipantId};
use tokio::sync::watch;
use tonic::Status;
use tonic::transport::Channel;

use crate::problem::Problem;

/// The largest description: public group state of a large meeting.
const MAX_DESCRIPTION_BYTES: usize = 1 << 20;

/// The way to the meeting controllers.
pub(crate) struct Controllers {
    pub(crate) state: Arc<dyn StateStore>,
    pub(crate) nodes: watch::Receiver<Arc<Vec<Node>>>,
    pub(crate) channels: Channels,
    pub(crate) timeout: Duration,
    /// Where this instance stands.
    pub(crate) region: String,
    /// Whom this instance sent where a moment ago.
    pub(crate) sent: Sent,
}

/// Joins and meetings that controllers do not report yet.
pub(crate) struct Sent {
    origin: Instant,
    recent: Mutex<Recent>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            origin: Instant::now(),
            recent: Mutex::default(),
        }
    }
}

impl Sent {
    fn count_in(&self, candidates: &mut [Candidate<'_>]) {
        self.recent().count_in(self.origin.elapsed(), candidates);
    }

    /// A newcomer goes to this controller, which had the meeting before, or opened it just now.
    fn note(&self, node: NodeId, is_new: bool) {
        let (now, mut recent) = (self.origin.elapsed(), self.recent());
        match is_new {
            true => recent.meeting(now, node),
            false => recent.join(now, node),
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a newcomer needs to know of a meeting, and where to go.
pub(crate) struct Described {
    pub(crate) controller: Node,
    pub(crate) handler: Node,
    pub(crate) description: rpc::Description,
}

impl Controllers {
    /// How many nodes of `service` are there.
    pub(crate) fn count(&self, service: Service) -> usize {
        let nodes = self.nodes.borrow();
        nodes.iter().filter(|node| node.service == service).count()
    }

    /// Has the meeting opened, where it is not, and described.
    pub(crate) async fn describe(
        &self,
        meeting: &Meeting,
        participant: ParticipantId,
        trace: TraceContext,
    ) -> Result<Described, Problem> {
        let mut failure = Code::NoController;
        let (owner, candidates) = self.candidates(meeting.id).await;
        for controller in candidates {
            let message = rpc::DescribeRequest {
                meeting: Some(rpc::MeetingRecord {
                    id: meeting.id.to_vec().into(),
                    code: meeting.code.to_string(),
                    title: meeting.title.clone(),
                    max_participants: meeting.max_participants,
                    key_in_link: meeting.key_in_link,
                }),
                participant_id: participant.to_vec().into(),
            };
            let request = grpc::request(message, trace, self.timeout);
            let described = self
                .ask(&controller, async |mut client| {
                    client.describe(request).await
                })
                .await;
            match described {
                Ok(description) => {
                    self.sent.note(controller.id, owner.is_none());
                    let handler = self.handler(&description).await?;
                    return Ok(Described {
                        controller,
                        handler,
                        description,
                    });
                }
                Err(code) if !code.is_retryable() => return Err(code.into()),
                Err(code) => failure = code,
            }
        }
        // One that answered wrongly or not at all is, to the caller, none.
        Err(match failure {
            Code::NoHandler | Code::MeetingFull | Code::Overloaded => failure,
            _ => Code::NoController,
        }
        .into())
    }

    /// Ends the meeting where it runs; nothing to do where it runs nowhere.
    pub(crate) async fn end(&self, meeting: MeetingId, trace: TraceContext) -> Result<(), Problem> {
        let Some(owner) = self.state.read_lease(meeting).await?.owner else {
            return Ok(());
        };
        let Some(controller) = self.find(owner).await else {
            // It will find the meeting ended should it come back.
            return Ok(());
        };
        let message = rpc::EndRequest {
            meeting_id: meeting.to_vec().into(),
        };
        let request = grpc::request(message, trace, self.timeout);
        let ended = self
            .ask(&controller, async |mut client| client.end(request).await)
            .await;
        match ended {
            Ok(_) | Err(Code::MeetingUnknown | Code::MeetingEnded) => Ok(()),
            Err(code) => Err(code.into()),
        }
    }

    async fn ask<T>(
        &self,
        controller: &Node,
        call: impl AsyncFnOnce(MeetingControllerClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Code> {
        let channel = self.channels.get(&controller.grpc_url).map_err(|error| {
            tracing::warn!(node = %controller.id, %error, "a meeting controller cannot be called");
            Code::Unavailable
        })?;
        let client =
            MeetingControllerClient::new(channel).max_decoding_message_size(MAX_DESCRIPTION_BYTES);
        match tokio::time::timeout(self.timeout, call(client)).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                let code = grpc::code_of(&status);
                tracing::warn!(node = %controller.id, %code, detail = status.message(),
                    "a meeting controller refused");
                Err(code)
            }
            Err(_) => {
                tracing::warn!(node = %controller.id, "a meeting controller did not answer in time");
                Err(Code::TimedOut)
            }
        }
    }

    /// The owner, and whom to ask: the owner first, wherever there is one, draining or not; then the others in the order
    /// of placement, on which instances agree but for what each has sent somewhere a moment ago. The lease decides.
    async fn candidates(&self, meeting: MeetingId) -> (Option<NodeId>, Vec<Node>) {
        let owner = match self.state.read_lease(meeting).await {
            Ok(lease) => lease.owner,
            Err(error) => {
                tracing::warn!(%error, "the meeting's owner could not be read");
                None
            }
        };
        let mut nodes: Vec<Node> = self.nodes.borrow().iter().cloned().collect();
        nodes.retain(|node| node.service == Service::Meeting);
        let mut candidates: Vec<_> = nodes
            .iter()
            .map(|node| candidate(node, Health::Sound))
            .collect();
        self.sent.count_in(&mut candidates);
        let asked = darktower_placement::ask_in_order(meeting, &candidates, owner, &self.region);
        let asked = asked
            .into_iter()
            .filter_map(|id| nodes.iter().find(|node| node.id == id).cloned())
            .collect();
        (owner, asked)
    }

    async fn handler(&self, description: &rpc::Description) -> Result<Node, Problem> {
        let id = NodeId::from_slice(&description.media_node).map_err(|_| Code::NoHandler)?;
        let handler = self.find(id).await.ok_or(Code::NoHandler)?;
        Ok(handler)
    }

    /// The node, also where it came a moment ago and our view is older.
    async fn find(&self, id: NodeId) -> Option<Node> {
        let is_it = |node: &&Node| node.id == id;
        if let Some(node) = self.nodes.borrow().iter().find(is_it) {
            return Some(node.clone());
        }
        let listed = self.state.list_nodes(None).await;
        let listed = listed
            .inspect_err(|error| tracing::warn!(%error, "the registry does not answer"))
            .ok()?;
        listed.into_iter().find(|node| node.id == id)
    }
}
