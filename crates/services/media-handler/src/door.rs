//! Who comes in: path, origin, and a token or a ticket.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use darktower_media::door::Caller;
use darktower_net::wt::Request;
use darktower_wire::Code;
use darktower_wire::token::Audience;
use ring::digest::{SHA256, digest};

use crate::directory::Holder;
use crate::{PATH, Shared};

/// A ticket is 32 bytes; whoever sends much more sends something else.
const MAX_TICKET: usize = 128;

/// In a request's query: it comes to see whether media passes.
const PROBE: &str = "probe";

/// In a request's query: it comes with the ticket of a trunk, to whom several layers of a track may go.
pub(crate) const TRUNK: &str = "trunk";

/// What somebody shows.
pub(crate) enum Credential {
    Ticket { hash: [u8; 32], of_trunk: bool },
    Token(String),
}

/// What the request itself shows to be wrong.
pub(crate) enum Refusal {
    /// There is nothing at this path.
    Status(u16),
    /// A page learns a code only from a session that was open.
    Code(Code),
}

/// The place of one who was let in, until this goes.
pub(crate) struct Place {
    shared: Arc<Shared>,
    caller: Caller,
}

impl Place {
    fn take(shared: &Arc<Shared>, caller: Caller) -> Option<Self> {
        let opens = shared.door().opens(shared.origin.elapsed(), caller);
        opens.then(|| Self {
            shared: shared.clone(),
            caller,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.door().left(self.caller);
    }
}

/// Looks at a request as far as nobody has to be asked for it.
pub(crate) fn look(
    shared: &Arc<Shared>,
    request: &Request,
) -> Result<(Credential, Place), Refusal> {
    if request.path() != PATH {
        return Err(Refusal::Status(Code::NotFound.http_status()));
    }
    admitted(shared, request).map_err(Refusal::Code)
}

fn admitted(shared: &Arc<Shared>, request: &Request) -> Result<(Credential, Place), Code> {
    let config = &shared.config;
    if shared.draining.is_cancelled() {
        return Err(Code::Draining);
    }
    let of_trunk = request.parameter(TRUNK).is_some();
    let caller = match request.parameter(PROBE) {
        _ if of_trunk => Caller::Trunk,
        Some(_) => Caller::Probe,
        None => Caller::Participant,
    };
    let place = Place::take(shared, caller).ok_or(Code::Overloaded)?;
    if request
        .origin()
        .is_some_and(|origin| !config.allows(origin))
    {
        return Err(Code::OriginNotAllowed);
    }
    if let Some(ticket) = request.parameter("ticket") {
        if ticket.len() > MAX_TICKET {
            return Err(Code::TicketUnknown);
        }
        let ticket = URL_SAFE_NO_PAD.decode(ticket.trim_end_matches('='));
        let ticket = ticket.map_err(|_| Code::TicketUnknown)?;
        let hash = digest(&SHA256, &ticket);
        let hash = hash.as_ref().try_into().map_err(|_| Code::Internal)?;
        return Ok((Credential::Ticket { hash, of_trunk }, place));
    }
    if of_trunk {
        return Err(Code::TicketUnknown);
    }
    let token = request.parameter("token").ok_or(Code::Unauthenticated)?;
    Ok((Credential::Token(token), place))
}

/// Finds out whose credential it is. A participant's is none for a trunk, or a full handler would be open to all.
pub(crate) async fn authenticate(
    shared: &Arc<Shared>,
    credential: Credential,
) -> Result<Holder, Code> {
    match credential {
        Credential::Ticket { hash, of_trunk } => {
            let patience = shared.config.ticket_patience;
            let holder = shared.directory.holder(&hash, patience).await;
            let holder = holder.filter(|holder| holder.is_trunk == of_trunk);
            holder.ok_or(Code::TicketUnknown)
        }
        Credential::Token(token) => {
            let now_s = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_s = now_s.map_or(0, |since| since.as_secs());
            let claims = shared
                .verifier
                .verify_learning(&token, Audience::Media, now_s)
                .await;
            let claims = claims.map_err(|error| error.code())?;
            let first = shared.replays.first_use(&claims, now_s);
            first.map_err(|error| error.code())?;
            Ok(Holder {
                meeting: claims.meeting,
                seat: claims.sub,
                is_trunk: false,
            })
        }
    }
}
