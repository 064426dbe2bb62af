//! SQLite: the embedded default.

use std::path::Path;
use std::time::Duration;

use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Connection as _, SqlSafeStr, Sqlite, SqlitePool};

use super::statements::statements;
use super::{Account, AuditEntry, Meeting, Participation, rows, taken};
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
        let writer = pool(1).connect_with(options.clone()).await;
        let writer = writer.map_err(|error| busy(&error).unwrap_or_else(|| error.into()))?;
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
    let migrator = Migrator::with_migrations(migrations.collect());
    let failed = |error: MigrateError| interrupted(&error);
    let mut writer = writer.acquire().await?;
    // All of it in one transaction, which is the only one that writes: interrupted nothing was done, and who begins at the
    // same time finds it done.
    let begun = writer.begin_with("BEGIN IMMEDIATE").await;
    let mut transaction = begun.map_err(|error| failed(error.into()))?;
    let made = migrator.run_direct(None, &mut *transaction, false).await;
    made.map_err(failed)?;
    let stands = transaction.commit().await;
    stands.map_err(|error| failed(error.into()))
}

/// Where another process holds the file.
fn busy(error: &sqlx::Error) -> Option<Error> {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    let code = error.as_database_error().and_then(|error| error.code());
    let code = code.and_then(|code| code.parse::<u32>().ok());
    // The lowest byte says what, the others more of it.
    let is_busy = code.is_some_and(|code| matches!(code & 0xff, BUSY | LOCKED));
    (is_busy || matches!(error, sqlx::Error::PoolTimedOut)).then(|| {
        let says = "another process writes to it; run it again when that has ended";
        Error::Migration(says.to_owned())
    })
}

fn interrupted(error: &MigrateError) -> Error {
    let says = match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => {
            if let Some(busy) = busy(cause) {
                return busy;
            }
            format!("{error}; nothing was changed: run it again when that is mended")
        }
        MigrateError::VersionMissing(version) => {
            format!("change {version} was made by a newer release: run that one")
        }
        MigrateError::VersionMismatch(version) => {
            format!("change {version} was made by another text than this program's")
        }
        other => other.to_string(),
    };
    Error::Migration(says)
}

type Ask = Query<'static, Sqlite, SqliteArguments>;

impl SqliteDatabase {
    async fn write(&self, query: impl Fn() -> Ask) -> Result<u64, sqlx::Error> {
        let done = query().execute(&self.writer).await?;
        Ok(done.rows_affected())
    }

    async fn optional(&self, query: impl Fn() -> Ask) -> Result<Option<SqliteRow>, sqlx::Error> {
        query().fetch_optional(&self.readers).await
    }

    async fn all(&self, query: impl Fn() -> Ask) -> Result<Vec<SqliteRow>, sqlx::Error> {
        query().fetch_all(&self.readers).await
    }

    /// The log is one table.
    #[allow(clippy::unused_async)]
    async fn before_audit(&self, _entry: &AuditEntry) -> Result<(), Error> {
        Ok(())
    }

    async fn let_go(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

rows::columns!(SqliteRow);
statements!(SqliteDatabase);
