//! What happens to every request and answer: a trace, a bound in time, security headers, and one shape of error.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use darktower_cluster::trace::{TRACEPARENT, TraceContext};
use darktower_wire::Code;
use futures_util::FutureExt as _;
use http::header::{self, HeaderName, HeaderValue};
use tracing::Instrument as _;

use crate::problem::Problem;

/// Nothing from elsewhere and nothing inline. WebTransport goes to whichever
/// node the meeting is on, hence `https:`; the core is WASM.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
     style-src 'self'; connect-src 'self' https:; img-src 'self' data: blob:; media-src 'self' blob:; \
     worker-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const SECURITY: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), screen-wake-lock=(self), \
         autoplay=(self), fullscreen=(self), geolocation=(), payment=(), usb=()",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Wraps every route; a request has `timeout` in all.
pub(crate) async fn edge(
    State(timeout): State<Duration>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let header = request.headers().get(TRACEPARENT);
    let trace = TraceContext::continued(header.and_then(|value| value.to_str().ok()));
    request.extensions_mut().insert(trace);
    let method = request.method().clone();
    // The pattern, not the path: a meeting's code is nobody's business.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("(none)".to_owned(), |path| path.as_str().to_owned());
    let span = darktower_cluster::span!("http_request", trace, %method, route);

    let answering = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answering = tokio::time::timeout(timeout, answering);
    let mut response = match answering.instrument(span.clone()).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            span.in_scope(|| tracing::error!("a request handler panicked"));
            Problem::from(Code::Internal).into_response()
        }
        Err(_) => Problem::from(Code::TimedOut).into_response(),
    };
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        span.in_scope(|| tracing::debug!(code = %problem.code, "refused"));
        let allowed = response.headers_mut().remove(header::ALLOW);
        response = problem.answer(&trace.trace_id());
        if let Some(allowed) = allowed {
            response.headers_mut().insert(header::ALLOW, allowed);
        }
    }
    let headers = response.headers_mut();
    for (name, value) in SECURITY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
        headers.insert(TRACEPARENT, value);
    }
    measure(&method, &route, &response, began);
    response
}

fn measure(method: &http::Method, route: &str, response: &Response, began: Instant) {
    // A method is the caller's text: those not known share one label.
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => known,
        _ => "other",
    };
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", response.status().as_u16().to_string()),
    ];
    metrics::counter!("darktower_global_requests_total", &labels).increment(1);
    metrics::histogram!("darktower_global_request_seconds", &labels).record(began.elapsed());
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http::{Request, StatusCode};
    use tower::ServiceExt as _;

    use super::*;

    async fn panics() -> StatusCode {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_like_any_other() {
        let layer = from_fn_with_state(Duration::from_secs(5), edge);
        let router: Router = Router::new().route("/", get(panics)).layer(layer);
        for _ in 0..2 {
            let request = Request::new(Body::empty());
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            let body = to_bytes(response.into_body(), 4096).await.unwrap();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["code"], Code::Internal.name());
            assert!(!body.windows(10).any(|part| part == b"on purpose"));
        }
    }
}
