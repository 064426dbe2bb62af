//! What global controllers ask, by gRPC.

use std::sync::{Arc, OnceLock};

use darktower_cluster::grpc::{status, trace_of};
use darktower_cluster::rpc::meeting_controller_server::MeetingController;
use darktower_cluster::rpc::{
    DescribeRequest, Description, EndReply, EndRequest, HoldReply, HoldRequest,
};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::signal;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::directory::Directory;
use crate::shard::{ANSWER_WITHIN, Described, Event};
use crate::{Shared, measure};

/// Its port is part of the node's registration, which the rest needs: so it
/// listens first and answers when the rest is there.
#[derive(Default)]
pub(crate) struct Control {
    shared: Arc<OnceLock<Arc<Shared>>>,
}

impl Control {
    /// Where the rest is put.
    pub(crate) fn shared(&self) -> Arc<OnceLock<Arc<Shared>>> {
        self.shared.clone()
    }

    fn directory(&self) -> Result<&Directory, Code> {
        let shared = self.shared.get().ok_or(Code::Unavailable)?;
        Ok(&shared.directory)
    }

    async fn describe(&self, request: DescribeRequest) -> Result<Description, Code> {
        let record = request.meeting.ok_or(Code::Malformed)?;
        let id = MeetingId::from_slice(&record.id).map_err(|_| Code::Malformed)?;
        let participant = match request.participant_id.is_empty() {
            true => None,
            false => Some(
                ParticipantId::from_slice(&request.participant_id).map_err(|_| Code::Malformed)?,
            ),
        };
        let meeting = signal::Meeting {
            id: id.to_vec().into(),
            code: record.code,
            title: record.title,
            max_participants: record.max_participants,
            key_in_link: record.key_in_link,
        };
        let opened = self.directory()?.open(id, meeting).await;
        let events = opened.map_err(|not_here| not_here.code)?;
        let (answer, answered) = oneshot::channel();
        let describe = Event::Describe {
            participant,
            answer,
        };
        events.send(describe).await.map_err(|_| Code::Unavailable)?;
        let Described {
            description,
            media_node,
        } = answered.await.map_err(|_| Code::Unavailable)??;
        let (epoch, group_info) = description.keys.clone().unwrap_or_default();
        Ok(Description {
            participants: u32::try_from(description.participants).unwrap_or(u32::MAX),
            media_node: media_node
                .map(|node| node.to_vec().into())
                .unwrap_or_default(),
            founded: description.keys.is_some(),
            epoch,
            group_info,
        })
    }

    async fn end(&self, request: EndRequest) -> Result<EndReply, Code> {
        let id = MeetingId::from_slice(&request.meeting_id).map_err(|_| Code::Malformed)?;
        let found = self.directory()?.find(id).await;
        let events = found.map_err(|not_here| not_here.code)?;
        let (answer, answered) = oneshot::channel();
        let end = Event::End { answer };
        events.send(end).await.map_err(|_| Code::Unavailable)?;
        answered.await.map_err(|_| Code::Unavailable)?;
        Ok(EndReply {})
    }

    fn hold(&self, request: &HoldRequest) -> Result<HoldReply, Code> {
        let id = MeetingId::from_slice(&request.meeting_id).map_err(|_| Code::Malformed)?;
        let directory = self.directory()?;
        Ok(HoldReply {
            node: directory.node().to_vec().into(),
            holds: directory.holds(id),
        })
    }
}

#[tonic::async_trait]
impl MeetingController for Control {
    async fn describe(
        &self,
        request: Request<DescribeRequest>,
    ) -> Result<Response<Description>, Status> {
        let span = darktower_cluster::span!("describe", trace_of(&request));
        let answer = Control::describe(self, request.into_inner());
        answered("describe", answer).instrument(span).await
    }

    async fn end(&self, request: Request<EndRequest>) -> Result<Response<EndReply>, Status> {
        let span = darktower_cluster::span!("end", trace_of(&request));
        let answer = Control::end(self, request.into_inner());
        answered("end", answer).instrument(span).await
    }

    async fn hold(&self, request: Request<HoldRequest>) -> Result<Response<HoldReply>, Status> {
        answered("hold", async { Control::hold(self, request.get_ref()) }).await
    }
}

async fn answered<T>(
    what: &'static str,
    answer: impl Future<Output = Result<T, Code>>,
) -> Result<Response<T>, Status> {
    let answer = timeout(ANSWER_WITHIN, answer).await;
    match answer.unwrap_or(Err(Code::TimedOut)) {
        Ok(answer) => Ok(Response::new(answer)),
        Err(code) => {
            measure::refused(what, code);
            Err(status(code, code.description()))
        }
    }
}
