//! The server's end.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use darktower_store::state::MAX_RECORD_BYTES;
use darktower_store::{Error, StateStore, Written};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParseError};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::convert::{
    lease_to_rpc, node_of_rpc, node_to_rpc, service_of_rpc, status_of, topic_of_rpc,
};
use crate::rpc::state_server::{State, StateServer};
use crate::{grpc, rpc};

/// Room for a record and what goes around it.
pub(super) const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + 64 * 1024;

/// What a whole log may take on the way to its next owner.
pub(super) const MAX_LOG_BYTES: usize = 64 << 20;

/// No note is kept for longer: a time beyond what a clock can tell is nobody's wish.
const LONGEST_NOTE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Offers a state store to other processes.
pub struct StateService(Arc<dyn StateStore>);

impl StateService {
    /// The gRPC service, for [`grpc::serve`].
    pub fn server(store: Arc<dyn StateStore>) -> StateServer<Self> {
        StateServer::new(Self(store))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_LOG_BYTES)
    }
}

impl std::fmt::Debug for StateService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateService")
    }
}

type Answer<T> = Result<Response<T>, Status>;

fn malformed(error: ParseError) -> Status {
    grpc::status(Code::Malformed, error.to_string())
}

fn meeting(id: &[u8]) -> Result<MeetingId, Status> {
    MeetingId::from_slice(id).map_err(malformed)
}

fn node(id: &[u8]) -> Result<NodeId, Status> {
    NodeId::from_slice(id).map_err(malformed)
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

fn answer<T, U>(outcome: Result<T, Error>, say: impl FnOnce(T) -> U) -> Answer<U> {
    match outcome {
        Ok(value) => Ok(Response::new(say(value))),
        Err(error) => Err(status_of(&error)),
    }
}

fn written(outcome: Result<Written, Error>) -> Answer<rpc::WriteReply> {
    answer(outcome, |written| rpc::WriteReply {
        written: written == Written::Yes,
        out_of_turn: written == Written::OutOfTurn,
    })
}

#[async_trait]
impl State for StateService {
    async fn put_node(&self, request: Request<rpc::PutNodeRequest>) -> Answer<rpc::PutNodeReply> {
        let request = request.into_inner();
        let node = request.node.unwrap_or_default();
        let node = node_of_rpc(node).map_err(malformed)?;
        let taken = match self.0.put_node(node, millis(request.ttl_ms)).await {
            Err(Error::Taken(_)) => Ok(true),
            outcome => outcome.map(|()| false),
        };
        answer(taken, |taken| rpc::PutNodeReply { taken })
    }

    async fn remove_node(
        &self,
        request: Request<rpc::RemoveNodeRequest>,
    ) -> Answer<rpc::RemoveNodeReply> {
        let outcome = self.0.remove_node(node(&request.get_ref().id)?).await;
        answer(outcome, |()| rpc::RemoveNodeReply {})
    }

    async fn list_nodes(
        &self,
        request: Request<rpc::ListNodesRequest>,
    ) -> Answer<rpc::ListNodesReply> {
        let service = service_of_rpc(request.get_ref().service());
        answer(self.0.list_nodes(service).await, |nodes| {
            rpc::ListNodesReply {
                nodes: nodes.into_iter().map(node_to_rpc).collect(),
            }
        })
    }

    async fn acquire_lease(
        &self,
        request: Request<rpc::AcquireLeaseRequest>,
    ) -> Answer<rpc::Lease> {
        let request = request.get_ref();
        let (meeting, owner) = (meeting(&request.meeting_id)?, node(&request.owner)?);
        let ttl = millis(request.ttl_ms);
        answer(
            self.0.acquire_lease(meeting, owner, ttl).await,
            lease_to_rpc,
        )
    }

    async fn read_lease(&self, request: Request<rpc::ReadLeaseRequest>) -> Answer<rpc::Lease> {
        let meeting = meeting(&request.get_ref().meeting_id)?;
        answer(self.0.read_lease(meeting).await, lease_to_rpc)
    }

    async fn release_lease(
        &self,
        request: Request<rpc::ReleaseLeaseRequest>,
    ) -> Answer<rpc::ReleaseLeaseReply> {
        let request = request.get_ref();
        let (meeting, owner) = (meeting(&request.meeting_id)?, node(&request.owner)?);
        let fence = Fence(request.fence);
        let outcome = self.0.release_lease(meeting, owner, fence).await;
        answer(outcome, |()| rpc::ReleaseLeaseReply {})
    }

    async fn write_snapshot(
        &self,
        request: Request<rpc::WriteSnapshotRequest>,
    ) -> Answer<rpc::WriteReply> {
        let request = request.into_inner();
        let (meeting, fence) = (meeting(&request.meeting_id)?, Fence(request.fence));
        written(
            self.0
                .write_snapshot(meeting, fence, request.number, request.snapshot)
                .await,
        )
    }

    async fn append_delta(
        &self,
        request: Request<rpc::AppendDeltaRequest>,
    ) -> Answer<rpc::WriteReply> {
        let request = request.into_inner();
        let (meeting, fence) = (meeting(&request.meeting_id)?, Fence(request.fence));
        let (number, delta) = (request.number, request.delta);
        written(self.0.append_delta(meeting, fence, number, delta).await)
    }

    async fn load_meeting(
        &self,
        request: Request<rpc::LoadMeetingRequest>,
    ) -> Answer<rpc::LoadMeetingReply> {
        let meeting = meeting(&request.get_ref().meeting_id)?;
        answer(self.0.load_meeting(meeting).await, |log| {
            rpc::LoadMeetingReply {
                snapshot: log.snapshot,
                deltas: log.deltas,
                fence: log.fence.0,
                number: log.number,
            }
        })
    }

    async fn forget_meeting(
        &self,
        request: Request<rpc::ForgetMeetingRequest>,
    ) -> Answer<rpc::WriteReply> {
        let request = request.get_ref();
        let (meeting, fence) = (meeting(&request.meeting_id)?, Fence(request.fence));
        written(self.0.forget_meeting(meeting, fence).await)
    }

    async fn count(&self, request: Request<rpc::CountRequest>) -> Answer<rpc::CountReply> {
        let request = request.get_ref();
        let window = millis(request.window_ms);
        answer(self.0.count(&request.key, window).await, |count| {
            rpc::CountReply { count }
        })
    }

    async fn put_note(&self, request: Request<rpc::PutNoteRequest>) -> Answer<rpc::PutNoteReply> {
        let request = request.into_inner();
        let ttl = Duration::from_millis(request.ttl_ms).min(LONGEST_NOTE);
        let outcome = self.0.put_note(&request.key, request.note, ttl).await;
        answer(outcome, |()| rpc::PutNoteReply {})
    }

    async fn read_note(
        &self,
        request: Request<rpc::ReadNoteRequest>,
    ) -> Answer<rpc::ReadNoteReply> {
        let note = self.0.read_note(&request.get_ref().key).await;
        answer(note, |note| rpc::ReadNoteReply { note })
    }

    async fn wake(&self, request: Request<rpc::Topic>) -> Answer<rpc::WakeReply> {
        let topic = topic_of_rpc(request.get_ref()).map_err(malformed)?;
        answer(self.0.wake(topic).await, |()| rpc::WakeReply {})
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<rpc::WakeUp, Status>> + Send>>;

    async fn watch(&self, request: Request<rpc::Topic>) -> Answer<Self::WatchStream> {
        let topic = topic_of_rpc(request.get_ref()).map_err(malformed)?;
        let mut wakes = self.0.subscribe(topic).await.map_err(|e| status_of(&e))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            let mut next = Some(());
            while next.is_some() && sender.send(Ok(rpc::WakeUp {})).await.is_ok() {
                next = tokio::select! {
                    next = wakes.next() => next,
                    () = sender.closed() => None,
                };
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}
