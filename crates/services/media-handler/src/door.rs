//! Who comes in: path, origin, and a token or a ticket.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_cluster::trace::{TRACEPARENT, TraceContext};
use darktower_net::{Incoming, Server};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::token::Audience;
use ring::digest::{SHA256, digest};
use tracing::Instrument;

use crate::{PATH, Shared, measure, session};

/// A ticket is 32 bytes; whoever sends much more sends something else.
const MAX_TICKET: usize = 128;
/// How long one who was refused gets to read why.
const LINGER: Duration = Duration::from_secs(1);

pub(crate) async fn run(shared: Arc<Shared>, server: Arc<Server>) {
    loop {
        let incoming = tokio::select! {
            incoming = server.accept() => incoming,
            () = shared.stopping.cancelled() => return,
        };
        let Some(incoming) = incoming else { return };
        shared.sessions.spawn(greet(shared.clone(), incoming));
    }
}

async fn greet(shared: Arc<Shared>, incoming: Incoming) {
    if incoming.path() != PATH {
        measure::refused("session", Code::NotFound);
        return incoming.reject(Code::NotFound.http_status()).await;
    }
    let trace = incoming.parameter(TRACEPARENT);
    let trace = TraceContext::continued(trace.as_deref().or(incoming.header(TRACEPARENT)));
    match authenticate(&shared, &incoming).await {
        Ok((meeting, seat)) => {
            let span = tracing::info_span!(
                "media session",
                meeting_id = %meeting,
                participant_id = %seat,
                trace_id = %trace.trace_id(),
                span_id = %trace.span_id(),
            );
            let served = async {
                match incoming.accept().await {
                    Ok(session) => session::serve(shared, session, meeting, seat).await,
                    Err(reason) => tracing::debug!(%reason, "session not opened"),
                }
            };
            served.instrument(span).await;
        }
        Err(code) => {
            measure::refused("session", code);
            tracing::info!(
                trace_id = %trace.trace_id(),
                code = code.name(),
                "media session refused"
            );
            // A page learns a code only from a session that was open.
            if let Ok(session) = incoming.accept().await {
                session.close(code.number(), code.name());
                let _ = tokio::time::timeout(LINGER, session.closed()).await;
            }
        }
    }
}

async fn authenticate(
    shared: &Shared,
    incoming: &Incoming,
) -> Result<(MeetingId, ParticipantId), Code> {
    let config = &shared.config;
    if shared.draining.is_cancelled() {
        return Err(Code::Draining);
    }
    if shared.sessions.len() > config.capacity as usize {
        return Err(Code::Overloaded);
    }
    if incoming
        .origin()
        .is_some_and(|origin| !config.allows(origin))
    {
        return Err(Code::OriginNotAllowed);
    }
    if let Some(ticket) = incoming.parameter("ticket") {
        if ticket.len() > MAX_TICKET {
            return Err(Code::TicketUnknown);
        }
        let ticket = URL_SAFE_NO_PAD.decode(ticket.trim_end_matches('='));
        let ticket = ticket.map_err(|_| Code::TicketUnknown)?;
        let hash = digest(&SHA256, &ticket);
        let hash = hash.as_ref().try_into().map_err(|_| Code::Internal)?;
        let holder = shared.directory.holder(&hash, config.ticket_patience).await;
        return holder.ok_or(Code::TicketUnknown);
    }
    let token = incoming.parameter("token").ok_or(Code::Unauthenticated)?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now_s.map_or(0, |since| since.as_secs());
    let claims = shared
        .verifier
        .verify_learning(&token, Audience::Media, now_s)
        .await;
    let claims = claims.map_err(|error| error.code())?;
    let first = shared.replays.first_use(&claims, now_s);
    first.map_err(|error| error.code())?;
    Ok((claims.meeting, claims.sub))
}
