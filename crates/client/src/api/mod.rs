//! The HTTP API of the global controller, as far as a participant needs it.

mod http;

use std::sync::Arc;
use std::time::Duration;

use ::http::Method;
use darktower_participant::Access;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use http::Connection;

/// From the call to the whole answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Asks one global controller, over one connection that is kept.
#[derive(Clone, Debug)]
pub struct Api {
    connection: Arc<Connection>,
}

/// What a new meeting shall be.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CreateMeeting {
    /// What people call it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The most participants; the server's default where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_participants: Option<u32>,
    /// The keys need a secret in the link; the server's default where `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_in_link: Option<bool>,
}

/// A new meeting.
#[derive(Clone, Deserialize)]
pub struct Created {
    /// Its facts.
    pub meeting: darktower_participant::MeetingFacts,
    /// Proves for good who created it. A secret.
    pub host_key: String,
    /// Admits its creator for some minutes. A secret.
    pub access_token: String,
}

impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Created")
            .field("meeting", &self.meeting)
            .finish_non_exhaustive()
    }
}

/// An `application/problem+json` answer (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HttpProblem {
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// Name in the table of codes.
    #[serde(default)]
    pub code: String,
    /// Number in the table of codes.
    #[serde(default)]
    pub number: u32,
    /// A sentence.
    #[serde(default)]
    pub detail: String,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The base URL is not `http://` or `https://` with a host.
    #[error("not an HTTP URL: {0}")]
    Url(String),
    /// The server cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The connection broke, or what came is no HTTP.
    #[error("HTTP: {0}")]
    Http(#[from] hyper::Error),
    /// No answer in time.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is larger than any real one.
    #[error("the answer is too large")]
    TooLarge,
    /// The answer is not what was asked for.
    #[error("the answer is not understood: {0}")]
    Answer(#[from] serde_json::Error),
    /// The server said no.
    #[error("{} ({}): {}", .0.code, .0.status, .0.detail)]
    Problem(HttpProblem),
}

impl ApiError {
    /// The code the server named, if it did.
    pub fn code(&self) -> Option<darktower_wire::Code> {
        match self {
            Self::Problem(problem) => darktower_wire::Code::from_number(problem.number)
                .filter(|code| code.name() == problem.code),
            _ => None,
        }
    }
}

impl Api {
    /// Of the controller at `base`, such as `http://127.0.0.1:8080`. Connects at the first question.
    pub fn new(base: &str) -> Result<Self, ApiError> {
        Ok(Self {
            connection: Arc::new(Connection::new(base)?),
        })
    }

    /// Whether the controller answers.
    pub async fn health(&self) -> Result<(), ApiError> {
        self.ask::<Value>(Method::GET, "/api/v1/health", None, None, "")
            .await
            .map(drop)
    }

    /// Creates a meeting.
    pub async fn create_meeting(&self, wanted: &CreateMeeting) -> Result<Created, ApiError> {
        let body = serde_json::to_value(wanted)?;
        self.ask(Method::POST, "/api/v1/meetings", None, Some(body), "")
            .await
    }

    /// A new access token for a host.
    pub async fn host_token(&self, meeting: &str, host_key: &str) -> Result<String, ApiError> {
        let body = json!({"grant_type": "host_key", "meeting": meeting, "host_key": host_key});
        self.token(body).await
    }

    /// An access token for a guest: one who has one keeps its participant id over several lookups.
    pub async fn guest_token(&self, meeting: &str) -> Result<String, ApiError> {
        self.token(json!({"grant_type": "guest", "meeting": meeting}))
            .await
    }

    /// All that is needed to enter the meeting with this code or id: as a guest, or as who the access token says.
    pub async fn lookup(&self, meeting: &str, token: Option<&str>) -> Result<Access, ApiError> {
        self.lookup_traced(meeting, token, "").await
    }

    /// The same as part of a trace (`traceparent` of W3C Trace Context).
    pub async fn lookup_traced(
        &self,
        meeting: &str,
        token: Option<&str>,
        traceparent: &str,
    ) -> Result<Access, ApiError> {
        let path = format!("/api/v1/meetings/{meeting}");
        self.ask(Method::GET, &path, token, None, traceparent).await
    }

    /// Ends a meeting (hosts only).
    pub async fn end_meeting(&self, meeting: &str, token: &str) -> Result<(), ApiError> {
        let path = format!("/api/v1/meetings/{meeting}");
        self.ask::<Value>(Method::DELETE, &path, Some(token), None, "")
            .await
            .map(drop)
    }

    async fn token(&self, body: Value) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let path = "/api/v1/auth/token";
        let answer: Answer = self.ask(Method::POST, path, None, Some(body), "").await?;
        Ok(answer.access_token)
    }

    async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        traceparent: &str,
    ) -> Result<T, ApiError> {
        let body = body.map(|it| it.to_string().into_bytes());
        let asking = self.connection.ask(method, path, token, body, traceparent);
        let (status, answer) = timeout(ANSWER_WITHIN, asking)
            .await
            .unwrap_or(Err(ApiError::TimedOut))?;
        if status.is_success() {
            let answer = if answer.is_empty() {
                b"null".as_slice().into()
            } else {
                answer
            };
            return Ok(serde_json::from_slice(&answer)?);
        }
        let nothing = HttpProblem {
            status: status.as_u16(),
            code: String::new(),
            number: 0,
            detail: status.canonical_reason().unwrap_or_default().to_owned(),
        };
        Err(ApiError::Problem(
            serde_json::from_slice(&answer).unwrap_or(nothing),
        ))
    }
}
