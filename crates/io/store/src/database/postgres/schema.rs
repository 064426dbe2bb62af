//! The schema and its changes, each done once and whole.

use ring::digest::{SHA256, digest};
use sqlx::{Connection as _, PgConnection, Row as _};

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

/// Makes what is missing, in one transaction.
pub(super) async fn migrate(connection: &mut PgConnection) -> Result<usize, Unusable> {
    let failed = |error: sqlx::Error| Unusable::Schema(error.to_string());
    let mut transaction = connection.begin().await.map_err(failed)?;
    let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK);
    lock.persistent(false)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::raw_sql(TABLE)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    let done = done(&mut transaction).await.map_err(failed)?;
    let missing = missing(&done)?;
    for (version, description, sql) in &missing {
        sqlx::raw_sql(*sql)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        let note = sqlx::query("INSERT INTO schema_changes VALUES ($1, $2, $3)");
        let note = note.bind(*version).bind(*description).bind(hash(sql));
        note.persistent(false)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    Ok(missing.len())
}
