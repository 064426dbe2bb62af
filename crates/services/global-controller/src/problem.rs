//! Every error answer: `application/problem+json` (RFC 9457) made from the table of codes.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use darktower_store::Error as StoreError;
use darktower_wire::Code;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, before it is made an answer: the trace is put in on the way out.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    status: StatusCode,
    detail: Option<String>,
    retry_after: Option<Duration>,
}

/// The body of every error answer (RFC 9457).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body {
    /// `/problems/` and the code's name.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What the code means.
    pub(crate) title: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// What it was this time.
    pub(crate) detail: String,
    /// The code's name.
    pub(crate) code: String,
    /// The code's number.
    pub(crate) number: u32,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
    /// The trace to look for in the logs.
    pub(crate) trace_id: String,
}

impl Problem {
    /// Says more than the code does.
    #[must_use]
    pub(crate) fn detailed(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Answers with another status than the code's own.
    #[must_use]
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Says when to try again.
    #[must_use]
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The answer, as part of a trace.
    pub(crate) fn answer(&self, trace_id: &str) -> Response {
        let code = self.code;
        let body = Body {
            kind: format!("/problems/{code}"),
            title: code.description().to_owned(),
            status: self.status.as_u16(),
            detail: self
                .detail
                .clone()
                .unwrap_or_else(|| code.description().to_owned()),
            code: code.name().to_owned(),
            number: code.number(),
            retryable: code.is_retryable(),
            trace_id: trace_id.to_owned(),
        };
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let wait = match self.status.as_u16() {
            429 | 503 if code.is_retryable() => self.retry_after.or(Some(Duration::from_secs(1))),
            _ => self.retry_after,
        };
        if let Some(wait) = wait {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let body = serde_json::to_vec(&body).unwrap_or_default();
        (self.status, headers, body).into_response()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self {
            code,
            status: StatusCode::from_u16(code.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            detail: None,
            retry_after: None,
        }
    }
}

impl From<StoreError> for Problem {
    /// What the store says is for the log; the caller learns the code.
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a store failed");
        error.code().into()
    }
}

impl IntoResponse for Problem {
    /// Leaves the answer to the edge, which knows the trace.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
