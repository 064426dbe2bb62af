//! The schema and its changes, each done once and whole.

use std::time::Duration;

use ring::digest::{SHA256, digest};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::timeout;

use super::open::unusable;
use crate::Unusable;

/// Every change, oldest first; one that was released never changes. Each must let the previous release go on working:
/// during an update both run.
const CHANGES: &[(i64, &str, &str)] = &[(
    1,
    "first",
    include_str!("../../../migrations/postgres/0001_first.sql"),
)];

/// What those who change the schema wait for one another on.
const LOCK: i64 = 7_223_372_119;

/// What was done to the schema, and the hash of the text that did it.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_changes (\
                     version BIGINT PRIMARY KEY, description TEXT NOT NULL, sha256 BYTEA NOT NULL)";

fn hash(sql: &str) -> Vec<u8> {
    digest(&SHA256, sql.as_bytes()).as_ref().to_vec()
}

async fn done(connection: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let query = sqlx::query("SELECT version, sha256 FROM schema_changes ORDER BY version");
    let rows = query.persistent(false).fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The changes that are still to be made.
fn missing(
    done: &[(i64, Vec<u8>)],
) -> Result<Vec<&'static (i64, &'static str, &'static str)>, Unusable> {
    let mut missing = Vec::new();
    for change @ (version, description, sql) in CHANGES {
        match done.iter().find(|(done, _)| done == version) {
            None => missing.push(change),
            Some((_, sha256)) if *sha256 == hash(sql) => {}
            Some(_) => {
                let says = format!("change {version} ({description}) was made by another text");
                return Err(Unusable::Schema(says));
            }
        }
    }
    if let (Some((newest, _)), Some((known, ..))) = (done.last(), CHANGES.last())
        && newest > known
    {
        tracing::warn!(newest, known, "the database is of a newer release");
    }
    Ok(missing)
}

/// Whether the schema is the one this program needs.
pub(super) async fn check(connection: &mut PgConnection) -> Result<(), Unusable> {
    let mut transaction = connection.begin().await.map_err(|error| unusable(&error))?;
    let exists = sqlx::query("SELECT to_regclass('schema_changes') IS NOT NULL");
    let row = exists.persistent(false).fetch_one(&mut *transaction).await;
    let exists: bool = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| unusable(&error))?;
    let done = match exists {
        true => done(&mut transaction)
            .await
            .map_err(|error| unusable(&error))?,
        false => Vec::new(),
    };
    let missing = missing(&done)?;
    if !missing.is_empty() {
        let says = format!(
            "{} of its changes are missing: run `darktower migrate`",
            missing.len()
        );
        return Err(Unusable::Schema(says));
    }
    Ok(())
}

/// The server is to give up first and say why; where it says nothing, so much later we do.
const GRACE: Duration = Duration::from_secs(1);

/// The server ends a migration whose client is silent for so long, and with it the lock that others wait for: a machine
/// that is gone does not say so.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// How often the server looks whether its client is still there, while it works for it.
const LOOK: Duration = Duration::from_secs(1);

/// Makes what is missing, in one transaction. Others are waited for no longer than `lock`, and no change takes longer
/// than `change`.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    lock: Duration,
    change: Duration,
) -> Result<usize, Unusable> {
    let mut transaction = step(change, "BEGIN", connection.begin()).await?;
    let bounds = sqlx::query(
        "SELECT set_config('lock_timeout', $1, true), set_config('statement_timeout', $2, true), \
         set_config('idle_in_transaction_session_timeout', $3, true), \
         set_config('client_connection_check_interval', $4, true)",
    );
    let bounds = [lock, change.max(lock + GRACE / 2), SILENT_FOR, LOOK]
        .into_iter()
        .fold(bounds, |query, bound| {
            query.bind(bound.as_millis().to_string())
        });
    let bounds = bounds.persistent(false).execute(&mut *transaction);
    step(change, "its bounds", bounds).await?;
    let mine = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    let mine = mine.persistent(false).execute(&mut *transaction);
    step(lock, "the lock", mine).await?;
    let table = sqlx::raw_sql(TABLE).execute(&mut *transaction);
    step(change, "its own table", table).await?;
    let done = step(change, "what was done", done(&mut transaction)).await?;
    let missing = missing(&done)?;
    for (version, description, sql) in &missing {
        let what = format!("change {version} ({description})");
        let made = sqlx::raw_sql(*sql).execute(&mut *transaction);
        step(change, &what, made).await?;
        let note = sqlx::query("INSERT INTO schema_changes VALUES ($1, $2, $3)");
        let note = note.bind(*version).bind(*description).bind(hash(sql));
        let noted = note.persistent(false).execute(&mut *transaction);
        step(change, &what, noted).await?;
    }
    step(change, "COMMIT", transaction.commit()).await?;
    Ok(missing.len())
}

/// Part of a migration, which the server bounds by `within`.
async fn step<T>(
    within: Duration,
    what: &str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Unusable> {
    match timeout(within + GRACE, work).await {
        Ok(done) => done.map_err(|error| failed(what, &error)),
        Err(_) => Err(Unusable::Interrupted(format!(
            "the server did not answer in time ({what})"
        ))),
    }
}

fn failed(what: &str, error: &sqlx::Error) -> Unusable {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const QUERY_CANCELED: &str = "57014";
    const IDLE_IN_TRANSACTION: &str = "25P03";
    const DENIED: &str = "42501";
    let Some(said) = error.as_database_error() else {
        return Unusable::Interrupted(format!("the connection broke ({what}): {error}"));
    };
    let code = said.code();
    match code.as_deref().unwrap_or_default() {
        LOCK_NOT_AVAILABLE if what == "the lock" => {
            Unusable::Busy("another migration holds the lock".to_owned())
        }
        LOCK_NOT_AVAILABLE => {
            Unusable::Busy(format!("others hold what has to be changed ({what})"))
        }
        QUERY_CANCELED => Unusable::Interrupted(format!("the server gave up ({what}): {said}")),
        // Also the whole class of a server that stops, crashes or starts.
        code if code == IDLE_IN_TRANSACTION
            || code.starts_with("57P")
            || code.starts_with("08") =>
        {
            Unusable::Interrupted(format!("the server went away ({what}): {said}"))
        }
        DENIED => Unusable::Schema(format!("the user may not change it ({what}): {said}")),
        _ => Unusable::Schema(format!("{what} cannot be made: {said}")),
    }
}
