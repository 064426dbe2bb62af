//! What must be there tomorrow: accounts, guests, meetings, who took part, and what was done.

mod postgres;
mod rows;
mod sqlite;
mod statements;

use async_trait::async_trait;
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use darktower_wire::token::Role;

pub use postgres::{PostgresDatabase, PostgresOptions};
pub use sqlite::SqliteDatabase;

use crate::Error;

/// A meeting as the database knows it. Times are unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Its id.
    pub id: MeetingId,
    /// What people read to one another.
    pub code: MeetingCode,
    /// What it is about; may be empty.
    pub title: String,
    /// How many may be in it at once.
    pub max_participants: u32,
    /// Whether its keys need the secret in the link.
    pub key_in_link: bool,
    /// SHA-256 of the host key.
    pub host_key_sha256: [u8; 32],
    /// When it was created.
    pub created_ms: u64,
    /// When it ended, if it has.
    pub ended_ms: Option<u64>,
}

/// A person known by name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: [u8; 16],
    /// What the person signs in with; unique, compared as it is.
    pub name: String,
    /// The password's hash in PHC string format; `None` where another system signs the person in.
    pub password_hash: Option<String>,
    /// When it was created, unix milliseconds.
    pub created_ms: u64,
}

/// One attendance: somebody was given the right to be in a meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participation {
    /// The participant.
    pub participant: ParticipantId,
    /// The meeting.
    pub meeting: MeetingId,
    /// With which rights.
    pub role: Role,
    /// The account, where it was not a guest.
    pub account: Option<[u8; 16]>,
    /// When the tokens were given out, unix milliseconds.
    pub admitted_ms: u64,
    /// When the participant left last, where that is known.
    pub left_ms: Option<u64>,
}

/// Something that was done, for those who have to answer for it later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, unix milliseconds.
    pub at_ms: u64,
    /// What (`meeting.created`).
    pub action: String,
    /// To which meeting.
    pub meeting: Option<MeetingId>,
    /// By which participant.
    pub actor: Option<ParticipantId>,
    /// The trace it happened in, 32 hexadecimal digits; may be empty.
    pub trace_id: String,
}

/// The durable store. What a call has acknowledged stays.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Adds a meeting; [`Error::Taken`] where its id or code is in use.
    async fn create_meeting(&self, meeting: &Meeting) -> Result<(), Error>;

    /// The meeting with this id.
    async fn meeting(&self, id: MeetingId) -> Result<Option<Meeting>, Error>;

    /// The meeting with this code.
    async fn meeting_by_code(&self, code: MeetingCode) -> Result<Option<Meeting>, Error>;

    /// Marks a meeting ended; `false` where it had ended before or is unknown.
    async fn end_meeting(&self, id: MeetingId, at_ms: u64) -> Result<bool, Error>;

    /// Adds an account; [`Error::Taken`] where its name is in use.
    async fn create_account(&self, account: &Account) -> Result<(), Error>;

    /// The account with this name.
    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, Error>;

    /// Notes an attendance. Noting it again changes nothing.
    async fn admit(&self, participation: &Participation) -> Result<(), Error>;

    /// Notes an attendance that is over: the end alone where it was noted before, else the
    /// whole. Of several ends the latest stays.
    async fn leave(&self, participation: &Participation) -> Result<(), Error>;

    /// The attendances of a meeting, oldest first, at most `limit`.
    async fn participations(
        &self,
        meeting: MeetingId,
        limit: u32,
    ) -> Result<Vec<Participation>, Error>;

    /// Adds to the audit log.
    async fn audit(&self, entry: &AuditEntry) -> Result<(), Error>;

    /// The audit log of a meeting, oldest first, at most `limit`.
    async fn audit_log(&self, meeting: MeetingId, limit: u32) -> Result<Vec<AuditEntry>, Error>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Error>;

    /// Finishes what is under way and lets go.
    async fn close(&self);
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::TimedOut,
            // What was given refers to nothing, or is nothing: it is so the next time as well.
            sqlx::Error::Database(refused)
                if refused.is_foreign_key_violation() || refused.is_check_violation() =>
            {
                Self::Corrupt(refused.to_string())
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_) => Self::Corrupt(error.to_string()),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The same, where breaking uniqueness is the caller's mistake.
fn taken(what: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| match error.as_database_error() {
        Some(database) if database.is_unique_violation() => Error::Taken(what),
        _ => error.into(),
    }
}
