//! The client's end.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use darktower_store::{Error, Lease, MeetingLog, Node, Service, StateStore, Topic, Wakes, Written};
use darktower_wire::ids::{Fence, MeetingId, NodeId, ParseError};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::convert::{
    error_of, lease_of_rpc, millis, node_of_rpc, node_to_rpc, service_to_rpc, topic_to_rpc,
};
use super::service::{MAX_LOG_BYTES, MAX_MESSAGE_BYTES};
use crate::Trust;
use crate::grpc::{self, BadUrl};
use crate::rpc;
use crate::rpc::state_client::StateClient;

/// A state store that does not answer by then is taken for gone.
const DEADLINE: Duration = Duration::from_millis(500);

/// A whole log may be large.
const LOAD_DEADLINE: Duration = Duration::from_secs(3);

/// The state store that another process holds.
#[derive(Debug, Clone)]
pub struct RemoteState {
    client: StateClient<Channel>,
}

impl RemoteState {
    /// The store at `url` (`grpc://127.0.0.1:7000`). Connects when first used
    /// and again whenever the connection breaks.
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        Self::of(&Trust::default(), url)
    }

    /// The same, held by a process that `trust` believes.
    pub fn of(trust: &Trust, url: &str) -> Result<Self, BadUrl> {
        let client = StateClient::new(grpc::connect_lazy_to(trust, url)?)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
            .max_decoding_message_size(MAX_LOG_BYTES);
        Ok(Self { client })
    }
}

/// A request with the usual deadline. The store's calls carry no trace: they
/// serve many meetings' work and are counted, not followed.
fn request<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// The answer, also where the peer is so dead that no timer of the channel fires.
async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Error> {
    match tokio::time::timeout(deadline, call).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(error_of(&status)),
        Err(_) => Err(Error::TimedOut),
    }
}

fn unreadable(error: ParseError) -> Error {
    Error::Corrupt(error.to_string())
}

fn written(reply: rpc::WriteReply) -> Written {
    match reply {
        _ if reply.out_of_turn => Written::OutOfTurn,
        _ if reply.written => Written::Yes,
        _ => Written::Fenced,
    }
}

/// One call with the usual deadline.
macro_rules! call {
    ($self:ident.$method:ident($message:expr)) => {{
        let mut client = $self.client.clone();
        within(DEADLINE, client.$method(request($message, DEADLINE))).await
    }};
}

#[async_trait]
impl StateStore for RemoteState {
    async fn put_node(&self, node: Node, ttl: Duration) -> Result<(), Error> {
        let reply = call!(self.put_node(rpc::PutNodeRequest {
            node: Some(node_to_rpc(node)),
            ttl_ms: millis(ttl),
        }))?;
        match reply.taken {
            true => Err(Error::Taken("the node's id")),
            false => Ok(()),
        }
    }

    async fn remove_node(&self, id: NodeId) -> Result<(), Error> {
        let id = id.to_vec().into();
        call!(self.remove_node(rpc::RemoveNodeRequest { id }))?;
        Ok(())
    }

    async fn list_nodes(&self, service: Option<Service>) -> Result<Vec<Node>, Error> {
        let service = service_to_rpc(service).into();
        let reply = call!(self.list_nodes(rpc::ListNodesRequest { service }))?;
        let nodes = reply.nodes.into_iter().map(node_of_rpc);
        nodes.collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn acquire_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        ttl: Duration,
    ) -> Result<Lease, Error> {
        let lease = call!(self.acquire_lease(rpc::AcquireLeaseRequest {
            meeting_id: meeting.to_vec().into(),
            owner: owner.to_vec().into(),
            ttl_ms: millis(ttl),
        }))?;
        lease_of_rpc(&lease).map_err(unreadable)
    }

    async fn read_lease(&self, meeting: MeetingId) -> Result<Lease, Error> {
        let meeting_id = meeting.to_vec().into();
        let lease = call!(self.read_lease(rpc::ReadLeaseRequest { meeting_id }))?;
        lease_of_rpc(&lease).map_err(unreadable)
    }

    async fn release_lease(
        &self,
        meeting: MeetingId,
        owner: NodeId,
        fence: Fence,
    ) -> Result<(), Error> {
        call!(self.release_lease(rpc::ReleaseLeaseRequest {
            meeting_id: meeting.to_vec().into(),
            owner: owner.to_vec().into(),
            fence: fence.0,
        }))?;
        Ok(())
    }

    async fn write_snapshot(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        snapshot: Bytes,
    ) -> Result<Written, Error> {
        call!(self.write_snapshot(rpc::WriteSnapshotRequest {
            meeting_id: meeting.to_vec().into(),
            fence: fence.0,
            snapshot,
            number,
        }))
        .map(written)
    }

    async fn append_delta(
        &self,
        meeting: MeetingId,
        fence: Fence,
        number: u64,
        delta: Bytes,
    ) -> Result<Written, Error> {
        call!(self.append_delta(rpc::AppendDeltaRequest {
            meeting_id: meeting.to_vec().into(),
            fence: fence.0,
            delta,
            number,
        }))
        .map(written)
    }

    async fn load_meeting(&self, meeting: MeetingId) -> Result<MeetingLog, Error> {
        let meeting_id = meeting.to_vec().into();
        let message = rpc::LoadMeetingRequest { meeting_id };
        let mut client = self.client.clone();
        let load = client.load_meeting(request(message, LOAD_DEADLINE));
        let log = within(LOAD_DEADLINE, load).await?;
        Ok(MeetingLog {
            snapshot: log.snapshot,
            deltas: log.deltas,
            fence: Fence(log.fence),
            number: log.number,
        })
    }

    async fn forget_meeting(&self, meeting: MeetingId, fence: Fence) -> Result<Written, Error> {
        call!(self.forget_meeting(rpc::ForgetMeetingRequest {
            meeting_id: meeting.to_vec().into(),
            fence: fence.0,
        }))
        .map(written)
    }

    async fn count(&self, key: &str, window: Duration) -> Result<u64, Error> {
        let reply = call!(self.count(rpc::CountRequest {
            key: key.to_owned(),
            window_ms: millis(window),
        }))?;
        Ok(reply.count)
    }

    async fn put_note(&self, key: &str, note: Bytes, ttl: Duration) -> Result<(), Error> {
        call!(self.put_note(rpc::PutNoteRequest {
            key: key.to_owned(),
            note,
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        }))?;
        Ok(())
    }

    async fn read_note(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let key = key.to_owned();
        let reply = call!(self.read_note(rpc::ReadNoteRequest { key }))?;
        Ok(reply.note)
    }

    async fn wake(&self, topic: Topic) -> Result<(), Error> {
        call!(self.wake(topic_to_rpc(topic)))?;
        Ok(())
    }

    async fn subscribe(&self, topic: Topic) -> Result<Wakes, Error> {
        let mut client = self.client.clone();
        // Without a deadline of its own: a watch lasts.
        let watch = client.watch(Request::new(topic_to_rpc(topic)));
        let mut stream = within(DEADLINE, watch).await?;
        let first = tokio::time::timeout(DEADLINE, stream.message()).await;
        match first {
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None)) => return Err(Error::Unavailable("the watch ended".to_owned())),
            Ok(Err(status)) => return Err(error_of(&status)),
            Err(_) => return Err(Error::TimedOut),
        }
        let (sender, wakes) = Wakes::channel();
        tokio::spawn(async move {
            loop {
                let more = tokio::select! {
                    more = stream.message() => matches!(more, Ok(Some(_))),
                    () = sender.closed() => false,
                };
                if !more {
                    return;
                }
                // A full channel holds a wake-up already.
                if let Err(tokio::sync::mpsc::error::TrySendError::Closed(())) = sender.try_send(())
                {
                    return;
                }
            }
        });
        Ok(wakes)
    }
}
