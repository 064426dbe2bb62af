//! Meetings: created, joined, ended.

use std::net::IpAddr;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use darktower_cluster::random_bytes;
use darktower_cluster::trace::TraceContext;
use darktower_store::database::{AuditEntry, Meeting, Participation};
use darktower_store::{Error as StoreError, Node};
use darktower_wire::Code;
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use darktower_wire::token::{Audience, Claims, LIFETIME_S, Role};
use http::{StatusCode, header};
use ring::digest::{SHA256, digest};

use super::{Json, shapes};
use crate::access::{Bearer, Host, Peer, reachable};
use crate::clock::{now_ms, now_s};
use crate::known::Name;
use crate::problem::{self, Problem};
use crate::reports;
use crate::service::Shared;

const LONGEST_TITLE: usize = 200;

/// A free code is found at once; only a store gone wrong refuses so often.
const CODE_TRIES: usize = 8;

/// Answers that hold tokens are for the caller alone.
const PRIVATE: [(header::HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

/// Creates a meeting and gives its creator the host's rights.
#[utoipa::path(
    post, path = "/api/v1/meetings", tag = "meetings", operation_id = "create_meeting",
    request_body = shapes::NewMeeting,
    responses(
        (status = 201, body = shapes::Created, description = "It is there."),
        (status = "4XX", body = problem::Body, content_type = "application/problem+json", description = "Refused."),
        (status = "5XX", body = problem::Body, content_type = "application/problem+json", description = "Failed."),
    ),
)]
pub(super) async fn create(
    State(shared): State<Shared>,
    Extension(trace): Extension<TraceContext>,
    Peer(peer): Peer,
    Json(new): Json<shapes::NewMeeting>,
) -> Result<Response, Problem> {
    shared.limits.creation(peer).await?;
    let title = new.title.trim();
    if title.chars().count() > LONGEST_TITLE || title.chars().any(char::is_control) {
        let detail = "A title has at most 200 characters and no control characters.";
        return Err(Problem::from(Code::Malformed).detailed(detail));
    }
    let most = shared.config.max_participants.max(2);
    let max_participants = new.max_participants.unwrap_or(most);
    if !(2..=most).contains(&max_participants) {
        let detail = format!("max_participants is between 2 and {most}.");
        return Err(Problem::from(Code::Malformed).detailed(detail));
    }
    let host_key: [u8; 32] = random()?;
    let host_key = URL_SAFE_NO_PAD.encode(host_key);
    let mut meeting = Meeting {
        id: MeetingId(random()?),
        code: random_code()?,
        title: title.to_owned(),
        max_participants,
        key_in_link: new.key_in_link.unwrap_or(true),
        host_key_sha256: sha256(host_key.as_bytes()),
        created_ms: now_ms(),
        ended_ms: None,
    };
    let mut tries = 0;
    while let Err(error) = shared.database.create_meeting(&meeting).await {
        tries += 1;
        if !matches!(error, StoreError::Taken(_)) || tries == CODE_TRIES {
            return Err(error.into());
        }
        meeting.code = random_code()?;
    }
    shared.known.remember(&meeting);
    shared.known.leave_note(&meeting).await;
    let host = ParticipantId(random()?);
    audit(&shared, "meeting.created", meeting.id, Some(host), trace).await?;
    metrics::counter!("darktower_global_meetings_created_total").increment(1);
    tracing::info!(meeting_id = %meeting.id, "meeting created");
    let access_token = token(&shared, Audience::Api, host, meeting.id, Role::Host)?;
    let location = format!("/api/v1/meetings/{}", meeting.id);
    let created = shapes::Created {
        meeting: say(&meeting, 0),
        host_key,
        access_token,
        expires_in: LIFETIME_S,
    };
    let place = [(header::LOCATION, location)];
    Ok((StatusCode::CREATED, PRIVATE, place, axum::Json(created)).into_response())
}

/// Says everything that joining a meeting takes. Without an access token the
/// caller comes as a guest; with one, as the participant it names.
#[utoipa::path(
    get, path = "/api/v1/meetings/{meeting}", tag = "meetings", operation_id = "join_meeting",
    params(("meeting" = String, Path, description = "The meeting's code or id.")),
    security((), ("access_token" = [])),
    responses(
        (status = 200, body = shapes::Join, description = "Where to go, with the tokens to get in."),
        (status = "4XX", body = problem::Body, content_type = "application/problem+json", description = "Refused."),
        (status = "5XX", body = problem::Body, content_type = "application/problem+json", description = "Failed."),
    ),
)]
pub(super) async fn join(
    State(shared): State<Shared>,
    Extension(trace): Extension<TraceContext>,
    Peer(peer): Peer,
    Host(host): Host,
    Path(name): Path<String>,
    Bearer(bearer): Bearer,
) -> Result<Response, Problem> {
    let visit = Visit { trace, peer, host };
    let answer = admit(&shared, visit, &name, bearer).await?;
    Ok((PRIVATE, axum::Json(answer)).into_response())
}

/// Who comes, from where, asking which host.
pub(super) struct Visit {
    pub(super) trace: TraceContext,
    pub(super) peer: IpAddr,
    pub(super) host: Option<String>,
}

/// What [`join`] says.
pub(super) async fn admit(
    shared: &Shared,
    Visit { trace, peer, host }: Visit,
    name: &str,
    bearer: Option<Claims>,
) -> Result<shapes::Join, Problem> {
    shared.limits.lookup(peer).await?;
    let meeting = running(shared, name).await?;
    let (participant, role) = match &bearer {
        Some(claims) => {
            let claims = of_meeting(claims, meeting.id)?;
            (claims.sub, claims.role)
        }
        None => (ParticipantId(random()?), Role::Guest),
    };
    let described = shared
        .controllers
        .describe(&meeting, participant, trace)
        .await;
    if let Err(problem) = &described
        && problem.code == Code::MeetingEnded
    {
        // Whoever ended it may have died before it could report so.
        let noted = reports::end(shared, &meeting, now_ms(), None, trace).await;
        noted.unwrap_or_else(|error| tracing::info!(%error, "an end could not be noted"));
    }
    let described = described?;
    let description = described.description;
    // Whoever has a name already may hold one of the seats; the controller decides.
    if bearer.is_none() && description.participants >= meeting.max_participants {
        return Err(Code::MeetingFull.into());
    }
    let link = |node: &Node, audience| {
        let certificates = node.certificate_sha256.iter();
        Ok::<_, Problem>(shapes::Link {
            url: reachable(&node.public_url, host.as_deref()),
            certificate_sha256: certificates.map(|hash| STANDARD.encode(hash)).collect(),
            token: token(shared, audience, participant, meeting.id, role)?,
        })
    };
    let answer = shapes::Join {
        meeting: say(&meeting, description.participants),
        participant_id: participant.to_string(),
        role: role.into(),
        signal: link(&described.controller, Audience::Meeting)?,
        media: link(&described.handler, Audience::Media)?,
        key: shapes::Key {
            founded: description.founded,
            epoch: description.epoch,
            group_info: STANDARD.encode(&description.group_info),
        },
    };
    shared.journal.admit(Participation {
        participant,
        meeting: meeting.id,
        role,
        account: None,
        admitted_ms: now_ms(),
        left_ms: None,
    });
    tracing::info!(meeting_id = %meeting.id, participant_id = %participant, "admitted");
    Ok(answer)
}

/// Ends a meeting for everybody in it. Ending it again is fine.
#[utoipa::path(
    delete, path = "/api/v1/meetings/{meeting}", tag = "meetings", operation_id = "end_meeting",
    params(("meeting" = String, Path, description = "The meeting's code or id.")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It has ended."),
        (status = "4XX", body = problem::Body, content_type = "application/problem+json", description = "Refused."),
        (status = "5XX", body = problem::Body, content_type = "application/problem+json", description = "Failed."),
    ),
)]
pub(super) async fn end(
    State(shared): State<Shared>,
    Extension(trace): Extension<TraceContext>,
    Peer(peer): Peer,
    Path(name): Path<String>,
    Bearer(bearer): Bearer,
) -> Result<StatusCode, Problem> {
    shared.limits.lookup(peer).await?;
    let bearer = bearer.ok_or(Code::Unauthenticated)?;
    let meeting = find(&shared, &name).await?;
    let claims = of_meeting(&bearer, meeting.id)?;
    if claims.role != Role::Host {
        return Err(Code::Forbidden.into());
    }
    // The record first: nobody comes in any more, even if the rest has to be tried again.
    reports::end(&shared, &meeting, now_ms(), Some(claims.sub), trace).await?;
    shared.controllers.end(meeting.id, trace).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The meeting with this code or id.
pub(super) async fn find(shared: &Shared, name: &str) -> Result<Meeting, Problem> {
    let name = match name.parse::<MeetingId>() {
        Ok(id) => Name::Id(id),
        Err(_) => Name::Code(name.parse().map_err(|_| Code::CodeMalformed)?),
    };
    if let Some(meeting) = shared.known.instead(name).await {
        return Ok(meeting);
    }
    let found = match name {
        Name::Id(id) => shared.database.meeting(id).await,
        Name::Code(code) => shared.database.meeting_by_code(code).await,
    };
    match found {
        Ok(Some(meeting)) => {
            if shared.known.remember(&meeting) {
                // A newcomer does not wait for what others may need one day.
                let (shared, meeting) = (shared.clone(), meeting.clone());
                tokio::spawn(async move { shared.known.leave_note(&meeting).await });
            }
            Ok(meeting)
        }
        Ok(None) => Err(Code::MeetingUnknown.into()),
        Err(error) => shared.known.after(error, name).await,
    }
}

/// The same, unless it has ended.
pub(super) async fn running(shared: &Shared, name: &str) -> Result<Meeting, Problem> {
    let meeting = find(shared, name).await?;
    match meeting.ended_ms {
        None => Ok(meeting),
        Some(_) => Err(Code::MeetingEnded.into()),
    }
}

/// A token of this system for one audience.
pub(super) fn token(
    shared: &Shared,
    audience: Audience,
    participant: ParticipantId,
    meeting: MeetingId,
    role: Role,
) -> Result<String, Problem> {
    shared
        .keys
        .signer()
        .issue(audience, participant, meeting, role, now_s())
        .map_err(|error| error.code().into())
}

/// Random bytes, or a problem.
pub(super) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    random_bytes().map_err(|error| {
        tracing::error!(%error, "no randomness");
        Code::Internal.into()
    })
}

/// What a host key is remembered by. It is 256 random bits: no password, so no slow hash.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Notes what was done.
async fn audit(
    shared: &Shared,
    action: &str,
    meeting: MeetingId,
    actor: Option<ParticipantId>,
    trace: TraceContext,
) -> Result<(), Problem> {
    let entry = AuditEntry {
        at_ms: now_ms(),
        action: action.to_owned(),
        meeting: Some(meeting),
        actor,
        trace_id: trace.trace_id(),
    };
    Ok(shared.database.audit(&entry).await?)
}

fn of_meeting(claims: &Claims, meeting: MeetingId) -> Result<&Claims, Problem> {
    match claims.meeting == meeting {
        true => Ok(claims),
        false => Err(Code::Forbidden.into()),
    }
}

fn random_code() -> Result<MeetingCode, Problem> {
    let mut letters = [0; 10];
    let mut filled = 0;
    while filled < letters.len() {
        // 234 is the largest multiple of 26 below 256: beyond it some letters would be likelier.
        for byte in random::<32>()?.into_iter().filter(|byte| *byte < 234) {
            if let Some(letter) = letters.get_mut(filled) {
                *letter = byte % 26;
                filled += 1;
            }
        }
    }
    Ok(MeetingCode::from_letters(letters))
}

fn say(meeting: &Meeting, participants: u32) -> shapes::Meeting {
    shapes::Meeting {
        id: meeting.id.to_string(),
        code: meeting.code.to_string(),
        title: meeting.title.clone(),
        max_participants: meeting.max_participants,
        key_in_link: meeting.key_in_link,
        participants,
        created_at: meeting.created_ms,
    }
}
