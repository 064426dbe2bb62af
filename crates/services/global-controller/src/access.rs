//! Who asks: the bearer of an access token, or nobody in particular.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use darktower_wire::Code;
use darktower_wire::token::{Audience, Claims};
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;

use crate::clock::now_s;
use crate::problem::Problem;
use crate::service::Shared;

/// What the access token claims, where one was sent. A bad one is refused, never ignored.
pub(crate) struct Bearer(pub(crate) Option<Claims>);

impl FromRequestParts<Shared> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Problem> {
        let Some(header) = parts.headers.get(AUTHORIZATION) else {
            return Ok(Self(None));
        };
        let text = header.to_str().map_err(|_| Code::TokenInvalid)?;
        let token = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => return Err(Code::Unauthenticated.into()),
        };
        let claims = shared
            .verifier
            .verify_learning(token, Audience::Api, now_s())
            .await
            .map_err(|error| Problem::from(error.code()).detailed(error.to_string()))?;
        Ok(Self(Some(claims)))
    }
}

/// The address the request came from.
pub(crate) struct Peer(pub(crate) IpAddr);

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Ok(Self(peer.map_or(unknown, |peer| peer.0.ip())))
    }
}

/// The host the browser asked, without the port.
pub(crate) struct Host(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for Host {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // HTTP/2 and 3 say it in the target, HTTP/1.1 in a header.
        let target = parts.uri.authority().cloned();
        let authority = target.or_else(|| parts.headers.get(HOST)?.to_str().ok()?.parse().ok());
        Ok(Self(authority.map(|authority| authority.host().to_owned())))
    }
}

/// `url` as a browser that reached us at `host` can reach it: a node that
/// listens on every address names none.
pub(crate) fn reachable(url: &str, host: Option<&str>) -> String {
    // A node listens for UDP on IPv4 alone where it says 0.0.0.0.
    let host = match host {
        None | Some("localhost") => "127.0.0.1",
        Some(host) => host,
    };
    for unspecified in ["https://0.0.0.0", "https://[::]"] {
        if let Some(rest) = url.strip_prefix(unspecified) {
            return format!("https://{host}{rest}");
        }
    }
    url.to_owned()
}

#[cfg(test)]
mod tests {
    use super::reachable;

    #[test]
    fn only_an_unspecified_host_is_replaced() {
        let url = "https://0.0.0.0:4433/v1/signal";
        let at = |host| reachable(url, host);
        assert_eq!(at(Some("localhost")), "https://127.0.0.1:4433/v1/signal");
        assert_eq!(at(None), "https://127.0.0.1:4433/v1/signal");
        assert_eq!(at(Some("[::1]")), "https://[::1]:4433/v1/signal");
        assert_eq!(at(Some("192.0.2.7")), "https://192.0.2.7:4433/v1/signal");
        let named = "https://media-3.example.org:4434/v1/media";
        assert_eq!(reachable(named, Some("localhost")), named);
        assert_eq!(reachable("https://[::]:1/x", Some("h")), "https://h:1/x");
    }
}
