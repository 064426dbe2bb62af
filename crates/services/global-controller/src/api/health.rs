//! How this instance is, for machines that watch it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use darktower_store::Service;
use darktower_wire::Code;
use http::header;

use super::shapes;
use crate::problem::Problem;
use crate::service::Shared;

/// Says how this instance is. It answers 200 as long as it serves anything:
/// without the database, meetings that run go on.
#[utoipa::path(
    get, path = "/api/v1/health", tag = "health", operation_id = "health",
    responses((status = 200, body = shapes::Health, description = "It answers.")),
)]
pub(super) async fn health(State(shared): State<Shared>) -> axum::Json<shapes::Health> {
    let database = shared.database.ping().await.is_ok();
    let controllers = shared.controllers.count(Service::Meeting);
    let handlers = shared.controllers.count(Service::Media);
    let is_whole = database && controllers > 0 && handlers > 0;
    axum::Json(shapes::Health {
        status: if is_whole { "ok" } else { "degraded" },
        version: env!("CARGO_PKG_VERSION"),
        database,
        controllers,
        handlers,
    })
}

/// The process's metrics in Prometheus' text format.
pub(super) async fn metrics(State(shared): State<Shared>) -> Result<Response, Problem> {
    let render = shared.metrics.as_ref().ok_or(Code::NotFound)?;
    let text = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    Ok((text, render()).into_response())
}
