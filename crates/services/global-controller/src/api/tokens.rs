//! Access tokens, and the keys to verify every token with.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use darktower_cluster::token::Jwks;
use darktower_store::Service;
use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::token::{Audience, LIFETIME_S, Role};
use http::header;

use super::meetings::{random, running, sha256, token};
use super::{Json, shapes};
use crate::access::Peer;
use crate::problem::{self, Problem};
use crate::service::Shared;

/// Gives out an access token for one meeting. Each one names a new participant.
#[utoipa::path(
    post, path = "/api/v1/auth/token", tag = "tokens", operation_id = "issue_token",
    request_body = shapes::Grant,
    responses(
        (status = 200, body = shapes::Token, description = "The token."),
        (status = "4XX", body = problem::Body, content_type = "application/problem+json", description = "Refused."),
        (status = "5XX", body = problem::Body, content_type = "application/problem+json", description = "Failed."),
    ),
)]
pub(super) async fn issue(
    State(shared): State<Shared>,
    Peer(peer): Peer,
    Json(grant): Json<shapes::Grant>,
) -> Result<Response, Problem> {
    shared.limits.lookup(peer).await?;
    let (meeting, role) = match grant {
        shapes::Grant::Guest { meeting } => (running(&shared, &meeting).await?, Role::Guest),
        shapes::Grant::HostKey { meeting, host_key } => {
            let meeting = running(&shared, &meeting).await?;
            // Hashes of 256 random bits: how alike two are tells nothing about the key.
            if sha256(host_key.as_bytes()) != meeting.host_key_sha256 {
                let detail = "This is not the meeting's host key.";
                return Err(Problem::from(Code::Forbidden).detailed(detail));
            }
            (meeting, Role::Host)
        }
    };
    let participant = ParticipantId(random()?);
    let issued = shapes::Token {
        access_token: token(&shared, Audience::Api, participant, meeting.id, role)?,
        expires_in: LIFETIME_S,
        role: role.into(),
    };
    let private = [(header::CACHE_CONTROL, "no-store")];
    Ok((private, axum::Json(issued)).into_response())
}

/// The public keys of every instance (RFC 7517).
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "tokens", operation_id = "token_keys",
    responses((status = 200, description = "A JWK Set.", body = Object, content_type = "application/jwk-set+json")),
)]
pub(super) async fn jwks(State(shared): State<Shared>) -> Response {
    let mut published = shared.keys.jwks();
    let nodes = shared.controllers.nodes.borrow().clone();
    let others = nodes
        .iter()
        .filter(|node| node.service == Service::Global)
        .filter_map(|node| serde_json::from_str::<Jwks>(&node.jwks).ok());
    for key in others.flat_map(|jwks| jwks.keys) {
        if published.keys.iter().all(|known| known.kid != key.kid) {
            published.keys.push(key);
        }
    }
    let headers = [
        (header::CONTENT_TYPE, "application/jwk-set+json"),
        (header::CACHE_CONTROL, "public, max-age=60"),
    ];
    (headers, published.to_json()).into_response()
}
