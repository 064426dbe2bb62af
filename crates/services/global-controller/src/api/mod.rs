//! The routes, and the document that describes them.

mod health;
mod meetings;
mod page;
mod shapes;
mod tokens;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use darktower_wire::Code;
use http::{StatusCode, header};
use serde::de::DeserializeOwned;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::{self, Problem};
use crate::service::Shared;
use crate::{assets, edge};

/// Bytes of the largest request body.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The document's frame; the paths come from the routes themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Dark Tower",
        description = "Meetings, tokens and the way into a meeting. Every error is a problem \
                       (RFC 9457) from the table in docs/protocol/errors.md.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(problem::Body)),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.bearer_format = Some("JWT".to_owned());
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("access_token", SecurityScheme::Http(scheme));
    }
}

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(meetings::create))
        .routes(routes!(meetings::join))
        .routes(routes!(meetings::end))
        .routes(routes!(tokens::issue))
        .routes(routes!(health::health))
        .routes(routes!(tokens::jwks))
}

/// The OpenAPI 3.1 document of this API, as `proto/openapi.json` holds it.
pub fn openapi() -> String {
    let mut text = routes().into_openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

/// Everything a global controller answers.
pub(crate) fn router(shared: Shared) -> Router {
    let (api, _) = routes().split_for_parts();
    api.route("/api/v1/openapi.json", get(document))
        .route("/metrics", get(health::metrics))
        .route("/", get(assets::page))
        .route("/m/{code}", get(page::meeting))
        .fallback(assets::file)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(
            shared.config.request_timeout,
            edge::edge,
        ))
        .with_state(shared)
}

async fn document(State(shared): State<Shared>) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, shared.openapi.clone()).into_response()
}

async fn method_not_allowed() -> Problem {
    Code::MethodNotAllowed.into()
}

/// A request body in JSON; what is wrong with it becomes a problem.
struct Json<T>(T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, shared).await {
            Ok(axum::Json(body)) => Ok(Self(body)),
            Err(rejection) => Err(refuse(&rejection)),
        }
    }
}

fn refuse(rejection: &JsonRejection) -> Problem {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            return Problem::from(Code::Unsupported)
                .with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .detailed("The body has to be application/json.");
        }
        _ => Code::Malformed,
    };
    Problem::from(code).detailed(rejection.body_text())
}
