//! What meeting controllers report, written to the database.
//!
//! What they are told stands: they go on reporting what is not taken, so a database that is away loses nothing.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use darktower_cluster::grpc::status;
use darktower_cluster::rpc::global_controller_server::GlobalController;
use darktower_cluster::rpc::report::What;
use darktower_cluster::rpc::{self, ParticipantLeft, Report, ReportReply, ReportRequest};
use darktower_cluster::trace::TraceContext;
use darktower_store::Error as StoreError;
use darktower_store::database::{AuditEntry, Meeting, Participation};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParseError, ParticipantId};
use darktower_wire::token::Role;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::service::{Inner, Shared};

/// What a batch may take; the rest of it is reported again. Callers wait longer.
const BATCH_WITHIN: Duration = Duration::from_secs(2);

/// Listens before the rest of the service is there.
pub(crate) struct Reports {
    shared: Arc<OnceLock<Weak<Inner>>>,
}

/// Why a report is not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("it is malformed: {0}")]
    Malformed(#[from] ParseError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Failure {
    fn is_passing(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_passing())
    }
}

impl Reports {
    /// The rest is put into `shared`.
    pub(crate) fn new(shared: Arc<OnceLock<Weak<Inner>>>) -> Self {
        Self { shared }
    }
}

#[tonic::async_trait]
impl GlobalController for Reports {
    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportReply>, Status> {
        let shared = self.shared.get().and_then(Weak::upgrade);
        let shared = shared.ok_or_else(|| status(Code::Unavailable, "not started"))?;
        let until = Instant::now() + BATCH_WITHIN;
        let mut taken = 0;
        for report in request.into_inner().reports {
            if Instant::now() >= until {
                break;
            }
            match write(&shared, &report).await {
                Ok(()) => {}
                Err(failure) if failure.is_passing() => {
                    tracing::debug!(error = %failure, "a report cannot be written yet");
                    break;
                }
                Err(failure) => {
                    metrics::counter!("darktower_global_reports_lost_total").increment(1);
                    tracing::warn!(error = %failure, "a report cannot be written");
                }
            }
            taken += 1;
        }
        Ok(Response::new(ReportReply { taken }))
    }
}

async fn write(shared: &Shared, report: &Report) -> Result<(), Failure> {
    let id = MeetingId::from_slice(&report.meeting_id)?;
    let trace = TraceContext::continued(Some(&report.traceparent));
    match &report.what {
        Some(What::Ended(ended)) => {
            let by = match &ended.by[..] {
                [] => None,
                by => Some(ParticipantId::from_slice(by)?),
            };
            if let Some(meeting) = shared.database.meeting(id).await? {
                end(shared, &meeting, report.at_ms, by, trace).await?;
            }
            Ok(())
        }
        Some(What::Left(left)) => Ok(shared
            .database
            .leave(&over(id, report.at_ms, left)?)
            .await?),
        Some(What::Removed(removed)) => {
            let whom = ParticipantId::from_slice(&removed.participant_id)?;
            let entry = AuditEntry {
                at_ms: report.at_ms,
                // A column for whom would be a schema that the previous release, beside this one, does not know.
                action: format!("participant.removed {whom}"),
                meeting: Some(id),
                actor: Some(ParticipantId::from_slice(&removed.by)?),
                trace_id: trace.trace_id(),
            };
            Ok(shared.database.audit(&entry).await?)
        }
        // Of a newer release, which also knows what to do without.
        None => Ok(()),
    }
}

/// An attendance with its end. Whoever admitted the participant may not have written that yet, and may never.
fn over(meeting: MeetingId, at_ms: u64, left: &ParticipantLeft) -> Result<Participation, Failure> {
    Ok(Participation {
        participant: ParticipantId::from_slice(&left.participant_id)?,
        meeting,
        role: match left.role() {
            rpc::Role::Guest => Role::Guest,
            rpc::Role::Member => Role::Member,
            rpc::Role::Host => Role::Host,
        },
        account: None,
        admitted_ms: match left.joined_ms {
            0 => at_ms,
            joined_ms => joined_ms,
        },
        left_ms: Some(at_ms),
    })
}

/// The meeting has ended: nobody comes in any more. Saying it again changes nothing.
pub(crate) async fn end(
    shared: &Shared,
    meeting: &Meeting,
    at_ms: u64,
    by: Option<ParticipantId>,
    trace: TraceContext,
) -> Result<(), StoreError> {
    if !shared.database.end_meeting(meeting.id, at_ms).await? {
        return Ok(());
    }
    let ended = Meeting {
        ended_ms: Some(at_ms),
        ..meeting.clone()
    };
    shared.known.remember(&ended);
    shared.known.leave_note(&ended).await;
    tracing::info!(meeting_id = %meeting.id, "meeting ended");
    let entry = AuditEntry {
        at_ms,
        action: "meeting.ended".to_owned(),
        meeting: Some(meeting.id),
        actor: by,
        trace_id: trace.trace_id(),
    };
    match shared.database.audit(&entry).await {
        Err(error) if error.is_passing() => {
            // Ending it again would not write the entry that is missing.
            tracing::info!(%error, "an entry of the audit log is written later");
            shared.journal.audit(entry);
            Ok(())
        }
        written => written,
    }
}
