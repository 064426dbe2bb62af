//! The durable store that the settings name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use darktower_store::{Database, PostgresDatabase, PostgresOptions, SqliteDatabase};
use darktower_wire::Secret;

use crate::refusal::Refusal;
use crate::secret_file;
use crate::settings;

/// Which store that is.
enum Named {
    Sqlite(PathBuf),
    Postgres(PostgresOptions),
}

fn named(settings: &settings::Database, data_dir: &Path) -> anyhow::Result<Named> {
    let url = settings.url.as_str();
    if url == "sqlite" {
        return Ok(Named::Sqlite(data_dir.join("darktower.sqlite")));
    }
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = PathBuf::from(path.trim_start_matches("//"));
        return Ok(Named::Sqlite(path));
    }
    if !["postgres:", "postgresql:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        let says = "database.url is none of \"sqlite\", \"sqlite:<file>\" and \
                    \"postgres://user@host:5432/database\"";
        return Err(Refusal::of_setting(says.to_owned()).into());
    }
    let secret = |url: &String| Secret(url.clone());
    let has_replica = !settings.replica_url.is_empty();
    Ok(Named::Postgres(PostgresOptions {
        url: secret(&settings.url),
        replica_url: has_replica.then(|| secret(&settings.replica_url)),
        password: secret_file::read("database.password_file", &settings.password_file)?,
        pooler: settings.pooler,
        connections: settings.connections,
    }))
}

async fn sqlite(path: &Path) -> anyhow::Result<SqliteDatabase> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("database.url {}", directory.display()))?;
    }
    let database = SqliteDatabase::open(path).await;
    database.with_context(|| format!("the database {}", path.display()))
}

/// Opens it. A schema that is too old is brought up to date where the database
/// is this process's own, and refused where others share it.
pub(crate) async fn open(
    settings: &settings::Database,
    data_dir: &Path,
) -> anyhow::Result<Arc<dyn Database>> {
    match named(settings, data_dir)? {
        Named::Sqlite(path) => Ok(Arc::new(sqlite(&path).await?)),
        Named::Postgres(options) => {
            if let Err(why) = PostgresDatabase::look_at_replica(&options).await {
                let refusal = Refusal::of_replica(&settings.replica_url, &why);
                if refusal.is_by_setting() {
                    return Err(refusal.into());
                }
                tracing::warn!("the primary is asked until the replica answers: {refusal}");
            }
            let opened = PostgresDatabase::open(&options).await;
            let opened = opened.map_err(|why| Refusal::of_database(&settings.url, &why))?;
            Ok(Arc::new(opened))
        }
    }
}

/// Brings its schema up to date; says what was done.
pub(crate) async fn migrate(
    settings: &settings::Database,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let done = match named(settings, data_dir)? {
        Named::Sqlite(path) => {
            sqlite(&path).await?.close().await;
            0
        }
        Named::Postgres(options) => {
            let done = PostgresDatabase::migrate(&options).await;
            done.map_err(|why| Refusal::of_database(&settings.url, &why))?
        }
    };
    Ok(match done {
        0 => "the database is up to date".to_owned(),
        1 => "the database is up to date: 1 change was made".to_owned(),
        more => format!("the database is up to date: {more} changes were made"),
    })
}
