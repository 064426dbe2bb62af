//! What a client asks for, as the server's service sees it.

use std::net::SocketAddr;

use http::HeaderMap;
use url::Url;

/// A peer's CONNECT (draft-ietf-webtrans-http3 §3): where it wants to go and what it says of itself.
pub struct Request {
    url: Url,
    headers: HeaderMap,
    peer: SocketAddr,
}

impl Request {
    pub(super) fn new(url: Url, headers: HeaderMap, peer: SocketAddr) -> Self {
        Self { url, headers, peer }
    }

    /// Path of the URL, percent-encoded, with its leading slash.
    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// The first value of a query parameter, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.url.query_pairs();
        pairs.find(|(n, _)| n == name).map(|(_, v)| v.into_owned())
    }

    /// The host that the peer asked for, without the port.
    pub fn host(&self) -> Option<&str> {
        self.url.host_str()
    }

    /// The page's origin; browsers always say it, native clients need not.
    pub fn origin(&self) -> Option<&str> {
        self.header("origin")
    }

    /// A request header; `None` if absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The peer's address.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl std::fmt::Debug for Request {
    /// Without the query, which may carry a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("path", &self.path())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
