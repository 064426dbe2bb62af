//! What is to be known when a meeting is long over is told to a global controller, which has the database.
//!
//! A meeting hands in and goes on. What cannot be written yet waits here, within bounds, and is told again until one of
//! the global controllers says that it stands.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use darktower_cluster::Trust;
use darktower_cluster::grpc::{self, Channels};
use darktower_cluster::rpc;
use darktower_cluster::rpc::global_controller_client::GlobalControllerClient;
use darktower_cluster::rpc::report::What;
use darktower_cluster::trace::TraceContext;
use darktower_meeting::meeting::{Happened, Report};
use darktower_store::{Node, Service};
use darktower_wire::ids::MeetingId;
use darktower_wire::token::Role;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::{Config, measure};

/// Reports that wait, some hundred bytes each; more are counted and let go.
const ROOM: usize = 16_384;

/// Of these, what leaves alone do not take: there are many of them, and an end matters more.
const KEPT_FREE: usize = ROOM / 4;

/// Reports in one call.
const BATCH: usize = 256;

/// A global controller that has not answered by then is one that cannot; it gives up the rest of a batch before.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Between two rounds in which nothing was taken, at first and at most.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The end that hands in.
pub(crate) struct Reports(Mutex<Option<mpsc::Sender<rpc::Report>>>);

/// The end that tells them.
pub(crate) struct Messenger {
    inbox: mpsc::Receiver<rpc::Report>,
    nodes: watch::Receiver<Arc<Vec<Node>>>,
    region: String,
    channels: Channels,
}

/// Both.
pub(crate) fn channel(
    nodes: watch::Receiver<Arc<Vec<Node>>>,
    config: &Config,
    trust: &Trust,
) -> (Reports, Messenger) {
    let (sender, inbox) = mpsc::channel(ROOM);
    let messenger = Messenger {
        inbox,
        nodes,
        region: config.region.clone(),
        channels: Channels::new(trust.clone()),
    };
    (Reports(Mutex::new(Some(sender))), messenger)
}

impl Reports {
    pub(crate) fn hand_in(&self, meeting: MeetingId, report: Report, trace: TraceContext) {
        let may_use = match report.what {
            Happened::Left { .. } => ROOM - KEPT_FREE,
            Happened::Removed { .. } | Happened::Ended { .. } => ROOM,
        };
        let report = rpc::Report {
            meeting_id: meeting.to_vec().into(),
            at_ms: report.at_ms,
            traceparent: trace.to_string(),
            what: Some(said(report.what)),
        };
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |sender: &&mpsc::Sender<_>| ROOM - sender.capacity() < may_use;
        let is_sent = sender
            .as_ref()
            .filter(has_room)
            .is_some_and(|sender| sender.try_send(report).is_ok());
        if !is_sent {
            measure::report_lost();
        }
    }

    /// Takes no more: the messenger ends with what it has.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn said(what: Happened) -> What {
    match what {
        Happened::Left {
            participant,
            role,
            joined_ms,
        } => What::Left(rpc::ParticipantLeft {
            participant_id: participant.to_vec().into(),
            role: match role {
                Role::Guest => rpc::Role::Guest,
                Role::Member => rpc::Role::Member,
                Role::Host => rpc::Role::Host,
            }
            .into(),
            joined_ms,
        }),
        Happened::Removed { participant, by } => What::Removed(rpc::ParticipantRemoved {
            participant_id: participant.to_vec().into(),
            by: by.to_vec().into(),
        }),
        Happened::Ended { by } => What::Ended(rpc::MeetingEnded {
            by: by.map(|by| by.to_vec().into()).unwrap_or_default(),
        }),
    }
}

impl Messenger {
    /// Tells what is handed in, until there will be no more.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.inbox.recv_many(&mut batch, BATCH).await > 0 {
            self.deliver(&mut batch).await;
        }
    }

    async fn deliver(&self, batch: &mut Vec<rpc::Report>) {
        let mut pause = PAUSE;
        while !batch.is_empty() {
            let taken = self.tell(batch).await;
            batch.drain(..taken);
            if taken > 0 {
                continue;
            }
            if pause == PAUSE {
                tracing::info!(
                    waiting = batch.len() + self.inbox.len(),
                    "what happened in meetings cannot be written yet"
                );
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// How many of them, from the first, one of the global controllers took.
    async fn tell(&self, batch: &[rpc::Report]) -> usize {
        for url in self.globals() {
            match self.ask(&url, batch).await {
                Ok(0) => {}
                Ok(taken) => return taken.min(batch.len()),
                Err(why) => tracing::debug!(url, why, "a global controller takes no reports"),
            }
        }
        0
    }

    /// Where global controllers are called, those that are near first, those that go away last.
    fn globals(&self) -> Vec<String> {
        let nodes = self.nodes.borrow().clone();
        let mut globals: Vec<_> = nodes
            .iter()
            .filter(|node| node.service == Service::Global && !node.grpc_url.is_empty())
            .collect();
        globals.sort_by_key(|node| (node.draining, node.region != self.region));
        globals.iter().map(|node| node.grpc_url.clone()).collect()
    }

    async fn ask(&self, url: &str, batch: &[rpc::Report]) -> Result<usize, String> {
        let channel = self.channels.get(url).map_err(|error| error.to_string())?;
        let message = rpc::ReportRequest {
            reports: batch.to_vec(),
        };
        let request = grpc::request(message, TraceContext::root(), ANSWER_WITHIN);
        let mut client = GlobalControllerClient::new(channel);
        match timeout(ANSWER_WITHIN, client.report(request)).await {
            Ok(Ok(reply)) => Ok(reply.into_inner().taken as usize),
            Ok(Err(status)) => Err(status.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}
