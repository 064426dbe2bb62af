//! Who comes in: path, origin, and a token or a resume token.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_cluster::trace::{TRACEPARENT, TraceContext};
use darktower_meeting::meeting::{Credential, resume_token_meeting};
use darktower_net::{Incoming, Server};
use darktower_wire::Code;
use darktower_wire::ids::MeetingId;
use darktower_wire::token::Audience;
use tracing::Instrument;

use crate::{PATH, Shared, measure, session};

/// A resume token is 64 bytes; whoever sends much more sends something else.
const MAX_RESUME: usize = 256;
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
    let host = incoming.host().map(str::to_owned);
    match authenticate(&shared, &incoming).await {
        Ok((meeting, credential)) => {
            let span = darktower_cluster::span!(
                "session",
                trace,
                meeting_id = %meeting,
                participant_id = %whom(&credential)
            );
            let served = async {
                match incoming.accept().await {
                    Ok(session) => {
                        session::serve(&shared, session, meeting, credential, trace, host).await;
                    }
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
                "session refused"
            );
            // A page learns a code only from a session that was open.
            if let Ok(session) = incoming.accept().await {
                session.close(code.number(), code.name());
                let closed = tokio::time::timeout(LINGER, session.closed()).await;
                if closed.is_err() {
                    tracing::debug!("one who was refused does not hang up");
                }
            }
        }
    }
}

async fn authenticate(
    shared: &Shared,
    incoming: &Incoming,
) -> Result<(MeetingId, Credential), Code> {
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
    if let Some(token) = incoming.parameter("resume") {
        let token = (token.len() <= MAX_RESUME)
            .then(|| URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok())
            .flatten()
            .ok_or(Code::ResumeUnknown)?;
        let meeting = resume_token_meeting(&token).ok_or(Code::ResumeUnknown)?;
        return Ok((meeting, Credential::Resume(token.into())));
    }
    let token = incoming.parameter("token").ok_or(Code::Unauthenticated)?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now_s.map_or(0, |since| since.as_secs());
    let claims = shared
        .verifier
        .verify_learning(&token, Audience::Meeting, now_s)
        .await;
    let claims = claims.map_err(|error| error.code())?;
    let first = shared.replays.first_use(&claims, now_s);
    first.map_err(|error| error.code())?;
    let credential = Credential::Token {
        participant: claims.sub,
        role: claims.role,
    };
    Ok((claims.meeting, credential))
}

/// Whom a credential names, for the log.
fn whom(credential: &Credential) -> darktower_wire::ids::ParticipantId {
    match credential {
        Credential::Token { participant, .. } => *participant,
        Credential::Resume(token) => darktower_meeting::meeting::resume_token_participant(token),
    }
}
