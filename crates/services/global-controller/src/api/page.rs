//! The page of a meeting, with the answer to what the page would ask first: a round trip less for whoever comes
//! by a link.

use std::time::Duration;

use axum::extract::{Extension, Path, State};
use axum::response::Response;
use darktower_cluster::trace::TraceContext;
use http::{HeaderMap, Method};
use serde::Serialize;

use super::{meetings, shapes};
use crate::access::{Host, Peer};
use crate::assets;
use crate::service::Shared;

/// The page waits no longer for the answer; it asks by itself then, and shows what came of it.
const WITHIN: Duration = Duration::from_millis(150);

/// What a guest is told by `GET /api/v1/meetings/{meeting}`, and the trace that asking began.
#[derive(Serialize)]
struct Told {
    traceparent: String,
    access: shapes::Join,
}

pub(super) async fn meeting(
    State(shared): State<Shared>,
    Extension(trace): Extension<TraceContext>,
    Peer(peer): Peer,
    Host(host): Host,
    Path(code): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    if method != Method::GET || !is_visit(&headers) {
        return assets::page(headers).await;
    }
    let visit = meetings::Visit { trace, peer, host };
    let asked = meetings::admit(&shared, visit, &code, None);
    let Ok(Ok(access)) = tokio::time::timeout(WITHIN, asked).await else {
        // What is wrong is told to the page's own question, in words for a person.
        return assets::page(headers).await;
    };
    let traceparent = trace.to_string();
    assets::page_told(
        &headers,
        &Told {
            traceparent,
            access,
        },
    )
}

/// A person opens the page. Whoever looks at links without following them says something else or nothing.
fn is_visit(headers: &HeaderMap) -> bool {
    let is = |name, value: &str| {
        headers
            .get(name)
            .is_some_and(|it| it.as_bytes() == value.as_bytes())
    };
    is("sec-fetch-dest", "document") && !headers.contains_key("sec-purpose")
}
