//! From settings to servers: what may be wrong with them is found here.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use darktower_wire::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, PgPool};
use tokio::time::{Instant, timeout};

use super::{Inner, PostgresDatabase, PostgresOptions, Replica, schema};
use crate::Unusable;

/// What a first connection may take, name lookup and TLS included.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// What a statement waits for a connection: a database that is away is told of in less than a second.
const ACQUIRE_WITHIN: Duration = Duration::from_millis(700);

/// How long a migration waits for another, or for whoever else holds what it has to change.
const LOCK_WITHIN: Duration = Duration::from_secs(10);

/// What one change of the schema may take: tables may be large, and a server that hangs is no reason to wait for ever.
const CHANGE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The oldest PostgreSQL that is tested.
const OLDEST: i32 = 15;

fn server(url: &Secret<String>, options: &PostgresOptions) -> Result<PgConnectOptions, Unusable> {
    let is_ours = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.0.starts_with(scheme));
    if !is_ours {
        let says = "write postgres://user@host:5432/database";
        return Err(Unusable::Url(says.to_owned()));
    }
    let parsed = PgConnectOptions::from_str(&url.0);
    // The library's error may quote the URL, and that a password.
    let mut server = parsed
        .map_err(|_| Unusable::Url("write postgres://user@host:5432/database".to_owned()))?
        .application_name("darktower")
        .disable_statement_logging();
    if let Some(password) = &options.password {
        server = server.password(&password.0);
    }
    if options.pooler {
        // Nothing of a connection outlives a transaction, and poolers refuse settings they do not follow.
        server = server.statement_cache_capacity(0).extra_float_digits(None);
    }
    Ok(server)
}

async fn connect(server: &PgConnectOptions) -> Result<PgConnection, Unusable> {
    let connected = timeout(CONNECT_WITHIN, PgConnection::connect_with(server)).await;
    let connected = connected.map_err(|_| Unusable::Silent)?;
    connected.map_err(|error| unusable(&error))
}

/// A connection to a server that is new enough.
async fn first(server: &PgConnectOptions) -> Result<PgConnection, Unusable> {
    let mut connection = connect(server).await?;
    let ask = sqlx::raw_sql("SHOW server_version_num");
    let row = timeout(CONNECT_WITHIN, ask.fetch_one(&mut connection)).await;
    let row = row.map_err(|_| Unusable::Silent)?;
    let version: String = row
        .and_then(|row| sqlx::Row::try_get(&row, 0))
        .map_err(|error| unusable(&error))?;
    let major = version.parse().map_or(0, |version: i32| version / 10_000);
    if major < OLDEST {
        let says = format!("PostgreSQL {OLDEST} or newer is needed, it is {major}");
        return Err(Unusable::Unfit(says));
    }
    Ok(connection)
}

fn pool(server: PgConnectOptions, options: &PostgresOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(options.connections.max(1))
        .acquire_timeout(ACQUIRE_WITHIN)
        .connect_lazy_with(server)
}

impl PostgresDatabase {
    /// Connects, and looks whether the schema is the one that is needed.
    pub async fn open(options: &PostgresOptions) -> Result<Self, Unusable> {
        let primary = server(&options.url, options)?;
        let replica = match &options.replica_url {
            Some(url) => Some(server(url, options)?),
            None => None,
        };
        let mut connection = first(&primary).await?;
        let checked = timeout(CONNECT_WITHIN, schema::check(&mut connection)).await;
        checked.map_err(|_| Unusable::Silent)??;
        close(connection).await;
        let away_until = Mutex::new(Instant::now());
        Ok(Self(Arc::new(Inner {
            primary: pool(primary, options),
            replica: replica.map(|server| Replica {
                pool: pool(server, options),
                away_until,
            }),
            pooler: options.pooler,
            days: Mutex::new(BTreeSet::new()),
        })))
    }

    /// Looks at the replica, where one is named: what is wrong with its settings is told, and why it does not serve now.
    /// The latter is no reason not to start, for the primary is asked instead.
    pub async fn look_at_replica(options: &PostgresOptions) -> Result<(), Unusable> {
        let Some(url) = &options.replica_url else {
            return Ok(());
        };
        let mut connection = first(&server(url, options)?).await?;
        let checked = timeout(CONNECT_WITHIN, schema::check(&mut connection)).await;
        close(connection).await;
        checked.map_err(|_| Unusable::Silent)?
    }

    /// Brings the schema up to date; how many changes that took. Whoever does so at the same time waits for a while, and
    /// one that is interrupted has done nothing.
    pub async fn migrate(options: &PostgresOptions) -> Result<usize, Unusable> {
        Self::migrate_within(options, LOCK_WITHIN, CHANGE_WITHIN).await
    }

    /// The same, with other bounds: how long others are waited for, and what one change may take.
    pub async fn migrate_within(
        options: &PostgresOptions,
        lock: Duration,
        change: Duration,
    ) -> Result<usize, Unusable> {
        let mut connection = first(&server(&options.url, options)?).await?;
        let made = schema::migrate(&mut connection, lock, change).await?;
        close(connection).await;
        Ok(made)
    }
}

async fn close(connection: PgConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection to the database was not closed in form");
    }
}

pub(super) fn unusable(error: &sqlx::Error) -> Unusable {
    let says = error.to_string();
    let code = error.as_database_error().and_then(|error| error.code());
    match (error, code.as_deref()) {
        // Of invalid authorisation; PgBouncer says it with the code of a protocol violation.
        (_, Some("28P01" | "28000" | "42501")) => Unusable::Password(says),
        (_, Some("08P01")) if says.contains("authentication") => Unusable::Password(says),
        (_, Some("08P01")) if says.contains("startup parameter") => {
            Unusable::Unfit("it is a pooler: `pooler` has to be set".to_owned())
        }
        (sqlx::Error::Tls(_), _) => Unusable::Tls(says),
        // So TLS says that it gave up.
        (sqlx::Error::Io(error), _) if error.kind() == ErrorKind::InvalidData => {
            Unusable::Tls(says)
        }
        (sqlx::Error::Io(_), _) => Unusable::Unreachable(says),
        (sqlx::Error::Configuration(_), _) => Unusable::Url(says),
        _ => Unusable::Unfit(says),
    }
}
