//! SQLite: the embedded default.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use darktower_wire::token::Role;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, SqlitePool};

use super::{Account, AuditEntry, Database, Meeting, Participation};
use crate::Error;

/// Every change of the schema, oldest first; one that was released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[(
    1,
    "first",
    include_str!("../../migrations/sqlite/0001_first.sql"),
)];

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
const READERS: u32 = 4;

/// A database in one file.
#[derive(Debug, Clone)]
pub struct SqliteDatabase {
    readers: SqlitePool,
    /// SQLite has one writer at a time; waiting for it in our queue is fair,
    /// waiting for its file lock is not.
    writer: SqlitePool,
}

impl SqliteDatabase {
    /// Opens the file, makes it where it is missing and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An acknowledged write survives a power failure.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(ACQUIRE_TIMEOUT)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        migrate(&writer).await?;
        let readers = pool(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { readers, writer })
    }
}

async fn migrate(writer: &SqlitePool) -> Result<(), Error> {
    let migrations = MIGRATIONS.iter().map(|(version, description, sql)| {
        Migration::new(
            *version,
            (*description).into(),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
        .run(writer)
        .await
        .map_err(|error| Error::Migration(error.to_string()))
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolTimedOut => Self::TimedOut,
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

fn to_signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &SqliteRow, column: &'static str) -> Result<u64, Error> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| unreadable(column))
}

fn optional_unsigned(row: &SqliteRow, column: &'static str) -> Result<Option<u64>, Error> {
    let number: Option<i64> = row.try_get(column)?;
    number
        .map(|number| u64::try_from(number).map_err(|_| unreadable(column)))
        .transpose()
}

fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], Error> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| unreadable(column))
}

fn optional_id(row: &SqliteRow, column: &'static str) -> Result<Option<[u8; 16]>, Error> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes
        .map(|bytes| bytes.try_into().map_err(|_| unreadable(column)))
        .transpose()
}

fn unreadable(column: &'static str) -> Error {
    Error::Corrupt(format!("column {column}"))
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Guest => "guest",
        Role::Member => "member",
        Role::Host => "host",
    }
}

fn role(row: &SqliteRow) -> Result<Role, Error> {
    match row.try_get("role")? {
        "guest" => Ok(Role::Guest),
        "member" => Ok(Role::Member),
        "host" => Ok(Role::Host),
        _ => Err(unreadable("role")),
    }
}

fn meeting(row: &SqliteRow) -> Result<Meeting, Error> {
    let code: &str = row.try_get("code")?;
    Ok(Meeting {
        id: MeetingId(bytes(row, "id")?),
        code: code.parse().map_err(|_| unreadable("code"))?,
        title: row.try_get("title")?,
        max_participants: row.try_get("max_participants")?,
        key_in_link: row.try_get("key_in_link")?,
        host_key_sha256: bytes(row, "host_key_sha256")?,
        created_ms: unsigned(row, "created_ms")?,
        ended_ms: optional_unsigned(row, "ended_ms")?,
    })
}

#[async_trait]
impl Database for SqliteDatabase {
    async fn create_meeting(&self, meeting: &Meeting) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO meetings (id, code, title, max_participants, key_in_link, \
             host_key_sha256, created_ms, ended_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(meeting.id.to_vec())
        .bind(meeting.code.to_string())
        .bind(&meeting.title)
        .bind(meeting.max_participants)
        .bind(meeting.key_in_link)
        .bind(meeting.host_key_sha256.to_vec())
        .bind(to_signed(meeting.created_ms))
        .bind(meeting.ended_ms.map(to_signed))
        .execute(&self.writer)
        .await
        .map_err(taken("the meeting's id or code"))?;
        Ok(())
    }

    async fn meeting(&self, id: MeetingId) -> Result<Option<Meeting>, Error> {
        let row = sqlx::query("SELECT * FROM meetings WHERE id = ?")
            .bind(id.to_vec())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(meeting).transpose()
    }

    async fn meeting_by_code(&self, code: MeetingCode) -> Result<Option<Meeting>, Error> {
        let row = sqlx::query("SELECT * FROM meetings WHERE code = ?")
            .bind(code.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(meeting).transpose()
    }

    async fn end_meeting(&self, id: MeetingId, at_ms: u64) -> Result<bool, Error> {
        let done =
            sqlx::query("UPDATE meetings SET ended_ms = ? WHERE id = ? AND ended_ms IS NULL")
                .bind(to_signed(at_ms))
                .bind(id.to_vec())
                .execute(&self.writer)
                .await?;
        Ok(done.rows_affected() == 1)
    }

    async fn create_account(&self, account: &Account) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO accounts (id, name, password_hash, created_ms) VALUES (?, ?, ?, ?)",
        )
        .bind(account.id.to_vec())
        .bind(&account.name)
        .bind(&account.password_hash)
        .bind(to_signed(account.created_ms))
        .execute(&self.writer)
        .await
        .map_err(taken("the account's name"))?;
        Ok(())
    }

    async fn account_by_name(&self, name: &str) -> Result<Option<Account>, Error> {
        let row = sqlx::query("SELECT * FROM accounts WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| {
            Ok(Account {
                id: bytes(&row, "id")?,
                name: row.try_get("name")?,
                password_hash: row.try_get("password_hash")?,
                created_ms: unsigned(&row, "created_ms")?,
            })
        })
        .transpose()
    }

    async fn admit(&self, participation: &Participation) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO participations (participant, meeting, role, account, admitted_ms, left_ms) \
             VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (participant) DO NOTHING",
        )
        .bind(participation.participant.to_vec())
        .bind(participation.meeting.to_vec())
        .bind(role_name(participation.role))
        .bind(participation.account.map(|id| id.to_vec()))
        .bind(to_signed(participation.admitted_ms))
        .bind(participation.left_ms.map(to_signed))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn leave(&self, participant: ParticipantId, at_ms: u64) -> Result<(), Error> {
        sqlx::query("UPDATE participations SET left_ms = ? WHERE participant = ?")
            .bind(to_signed(at_ms))
            .bind(participant.to_vec())
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn participations(
        &self,
        meeting: MeetingId,
        limit: u32,
    ) -> Result<Vec<Participation>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM participations WHERE meeting = ? ORDER BY admitted_ms, participant LIMIT ?",
        )
        .bind(meeting.to_vec())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Participation {
                    participant: ParticipantId(bytes(row, "participant")?),
                    meeting: MeetingId(bytes(row, "meeting")?),
                    role: role(row)?,
                    account: optional_id(row, "account")?,
                    admitted_ms: unsigned(row, "admitted_ms")?,
                    left_ms: optional_unsigned(row, "left_ms")?,
                })
            })
            .collect()
    }

    async fn audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO audit_log (at_ms, action, meeting, actor, trace_id) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(to_signed(entry.at_ms))
        .bind(&entry.action)
        .bind(entry.meeting.map(MeetingId::to_vec))
        .bind(entry.actor.map(ParticipantId::to_vec))
        .bind(&entry.trace_id)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn audit_log(&self, meeting: MeetingId, limit: u32) -> Result<Vec<AuditEntry>, Error> {
        let rows = sqlx::query("SELECT * FROM audit_log WHERE meeting = ? ORDER BY id LIMIT ?")
            .bind(meeting.to_vec())
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(AuditEntry {
                    at_ms: unsigned(row, "at_ms")?,
                    action: row.try_get("action")?,
                    meeting: optional_id(row, "meeting")?.map(MeetingId),
                    actor: optional_id(row, "actor")?.map(ParticipantId),
                    trace_id: row.try_get("trace_id")?,
                })
            })
            .collect()
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1").execute(&self.readers).await?;
        Ok(())
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
