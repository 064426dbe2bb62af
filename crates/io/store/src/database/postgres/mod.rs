//! PostgreSQL: the database that many processes share.

mod open;
mod schema;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darktower_wire::Secret;
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, timeout};

use super::statements::statements;
use super::{Account, AuditEntry, Meeting, Participation, rows, taken};
use crate::Error;

/// A server that has not done a statement by then hangs; the connection is given up with it.
const STATEMENT_WITHIN: Duration = Duration::from_secs(2);

/// A replica that failed is not asked for so long.
const REPLICA_AWAY: Duration = Duration::from_secs(5);

/// Milliseconds in which a partition of the audit log surely ends: what is known of partitions is kept by these.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days remembered; entries come with the time of today.
const MOST_DAYS: usize = 64;

/// Where the servers are and how they are spoken to.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// `postgres://user@host:port/database`; may name a password and TLS (`?sslmode=verify-full&sslrootcert=file`).
    pub url: Secret<String>,
    /// A replica that is asked first what is only read.
    pub replica_url: Option<Secret<String>>,
    /// The password, where the URLs do not hold it.
    pub password: Option<Secret<String>>,
    /// Whether a pooler gives out connections for one transaction each, as PgBouncer does with
    /// `pool_mode = transaction`.
    pub pooler: bool,
    /// Connections to each server at most.
    pub connections: u32,
}

/// A database on a PostgreSQL server. A clone is the same.
#[derive(Clone)]
pub struct PostgresDatabase(Arc<Inner>);

struct Inner {
    primary: PgPool,
    replica: Option<Replica>,
    pooler: bool,
    /// Days of which the audit log has a partition.
    days: Mutex<BTreeSet<u64>>,
}

struct Replica {
    pool: PgPool,
    away_until: Mutex<Instant>,
}

impl fmt::Debug for PostgresDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDatabase")
            .field("has_replica", &self.0.replica.is_some())
            .field("pooler", &self.0.pooler)
            .finish_non_exhaustive()
    }
}

impl Replica {
    fn is_well(&self) -> bool {
        *self.away_until() <= Instant::now()
    }

    fn failed(&self) {
        *self.away_until() = Instant::now() + REPLICA_AWAY;
    }

    fn away_until(&self) -> MutexGuard<'_, Instant> {
        self.away_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

type Ask = Query<'static, Postgres, PgArguments>;

/// What came of a statement.
#[derive(Default)]
struct Answer {
    changed: u64,
    rows: Vec<PgRow>,
}

#[derive(Clone, Copy)]
enum Wanted {
    Changes,
    Rows,
}

impl PostgresDatabase {
    async fn write(&self, query: impl Fn() -> Ask + Send + Sync) -> Result<u64, sqlx::Error> {
        let done = self.ask(&self.0.primary, query(), Wanted::Changes).await?;
        Ok(done.changed)
    }

    async fn optional(
        &self,
        query: impl Fn() -> Ask + Send + Sync,
    ) -> Result<Option<PgRow>, sqlx::Error> {
        Ok(self.all(query).await?.into_iter().next())
    }

    /// From the replica, where there is one that is well and knows of it; else from the primary.
    async fn all(&self, query: impl Fn() -> Ask + Send + Sync) -> Result<Vec<PgRow>, sqlx::Error> {
        if let Some(replica) = &self.0.replica
            && replica.is_well()
        {
            match self.ask(&replica.pool, query(), Wanted::Rows).await {
                Ok(answer) if !answer.rows.is_empty() => return Ok(answer.rows),
                Ok(_) => {}
                Err(error) => {
                    replica.failed();
                    tracing::warn!(%error, "the database's replica does not answer; the primary is asked");
                }
            }
        }
        let answer = self.ask(&self.0.primary, query(), Wanted::Rows).await?;
        Ok(answer.rows)
    }

    async fn ask(&self, pool: &PgPool, query: Ask, wanted: Wanted) -> Result<Answer, sqlx::Error> {
        let mut connection = pool.acquire().await.map_err(|error| match error {
            // Nothing was asked yet.
            sqlx::Error::PoolTimedOut => no_connection(),
            other => other,
        })?;
        let answer = on(&mut connection, query, wanted, self.0.pooler);
        match timeout(STATEMENT_WITHIN, answer).await {
            Ok(answer) => {
                if answer.as_ref().is_err_and(is_no_primary) {
                    PoolConnection::close_on_drop(&mut connection);
                }
                answer
            }
            Err(_) => {
                // It waits for an answer that nobody wants any more.
                PoolConnection::close_on_drop(&mut connection);
                Err(sqlx::Error::PoolTimedOut)
            }
        }
    }

    /// Makes the partition that the entry goes to.
    async fn before_audit(&self, entry: &AuditEntry) -> Result<(), Error> {
        let day = entry.at_ms / DAY_MS;
        if self.days().contains(&day) {
            return Ok(());
        }
        let query = || sqlx::query("SELECT audit_partition($1)").bind(rows::signed(entry.at_ms));
        self.write(query).await?;
        let mut days = self.days();
        if days.len() >= MOST_DAYS {
            days.clear();
        }
        days.insert(day);
        Ok(())
    }

    fn days(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.days.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn let_go(&self) {
        self.0.primary.close().await;
        if let Some(replica) = &self.0.replica {
            replica.pool.close().await;
        }
    }
}

/// Whether it comes from a server that was primary once and now follows another: what the URL means is elsewhere.
fn is_no_primary(error: &sqlx::Error) -> bool {
    const READ_ONLY: &str = "25006";
    let code = error.as_database_error().and_then(|error| error.code());
    code.as_deref() == Some(READ_ONLY)
}

fn no_connection() -> sqlx::Error {
    let says = "no connection to the database in time";
    std::io::Error::new(std::io::ErrorKind::TimedOut, says).into()
}

async fn on(
    connection: &mut PgConnection,
    query: Ask,
    wanted: Wanted,
    pooler: bool,
) -> Result<Answer, sqlx::Error> {
    if !pooler {
        return fetch(connection, query, wanted).await;
    }
    // A statement is prepared and then executed. Between the two a pooler may go on with another connection, which has
    // not heard of it, unless both are in one transaction.
    let mut transaction = connection.begin().await?;
    let answer = fetch(&mut transaction, query.persistent(false), wanted).await?;
    transaction.commit().await?;
    Ok(answer)
}

async fn fetch(
    connection: &mut PgConnection,
    query: Ask,
    wanted: Wanted,
) -> Result<Answer, sqlx::Error> {
    Ok(match wanted {
        Wanted::Changes => Answer {
            changed: query.execute(connection).await?.rows_affected(),
            ..Answer::default()
        },
        Wanted::Rows => Answer {
            rows: query.fetch_all(connection).await?,
            ..Answer::default()
        },
    })
}

rows::columns!(PgRow);
statements!(PostgresDatabase);
