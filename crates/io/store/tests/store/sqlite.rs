//! SQLite.

use darktower_store::database::Database;
use darktower_store::{Error, SqliteDatabase};
use darktower_wire::ids::MeetingId;

async fn make() -> (SqliteDatabase, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("darktower.db");
    (SqliteDatabase::open(&path).await.unwrap(), directory)
}

darktower_store::database_conformance!(make);

#[tokio::test]
async fn is_there_after_being_opened_again() {
    let (store, directory) = make().await;
    let entry = darktower_store::database::AuditEntry {
        at_ms: 1,
        action: "meeting.created".to_owned(),
        meeting: Some(MeetingId([1; 16])),
        actor: None,
        trace_id: String::new(),
    };
    store.audit(&entry).await.unwrap();
    store.close().await;
    let path = directory.path().join("darktower.db");
    let store = SqliteDatabase::open(&path).await.unwrap();
    let log = store.audit_log(MeetingId([1; 16]), 5).await.unwrap();
    assert_eq!(log, [entry]);
}

#[tokio::test]
async fn a_file_of_something_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("darktower.db");
    std::fs::write(
        &path,
        "this is no database, and long enough to be sure of it",
    )
    .unwrap();
    let refused = SqliteDatabase::open(&path).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_closed_database_says_so() {
    let (store, _kept) = make().await;
    store.close().await;
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))));
}

#[tokio::test]
async fn a_schema_that_many_begin_at_once_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("darktower.db");
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let path = path.clone();
        all.spawn(async move { SqliteDatabase::open(&path).await });
    }
    for opened in all.join_all().await {
        opened.unwrap().ping().await.unwrap();
    }
}

async fn connection(path: &std::path::Path) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;
    let url = format!("sqlite:{}?mode=rwc", path.display());
    sqlx::SqliteConnection::connect(&url).await.unwrap()
}

async fn run(connection: &mut sqlx::SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

fn says(refused: Result<SqliteDatabase, Error>) -> String {
    match refused {
        Err(Error::Migration(says)) => says,
        other => panic!("{other:?}"),
    }
}

/// Another process is at it for long.
#[tokio::test]
async fn who_finds_the_file_locked_is_told_to_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("darktower.db");
    let mut other = connection(&path).await;
    run(
        &mut other,
        "BEGIN EXCLUSIVE; CREATE TABLE accounts (id INTEGER)",
    )
    .await;
    let refused = says(SqliteDatabase::open(&path).await);
    assert!(refused.contains("run it again"), "{refused}");
    run(
        &mut other,
        "ROLLBACK; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE",
    )
    .await;
    let refused = says(SqliteDatabase::open(&path).await);
    assert!(refused.contains("run it again"), "{refused}");
    drop(other);
    SqliteDatabase::open(&path).await.unwrap();
}

/// The files as they are when a process is killed in the middle of it.
#[tokio::test]
async fn a_migration_that_was_killed_half_way_is_made_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("darktower.db");
    let mut killed = connection(&path).await;
    // So little of it in memory that it is in the file already.
    run(
        &mut killed,
        "PRAGMA journal_mode = WAL; PRAGMA cache_size = 1; BEGIN IMMEDIATE; \
         CREATE TABLE accounts (id BLOB); INSERT INTO accounts VALUES (randomblob(1000000))",
    )
    .await;
    let elsewhere = tempfile::tempdir().unwrap();
    let mut bytes = 0;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        bytes += std::fs::copy(file.path(), elsewhere.path().join(file.file_name())).unwrap();
    }
    assert!(bytes > 1_000_000, "{bytes}");
    let store = SqliteDatabase::open(&elsewhere.path().join("darktower.db")).await;
    assert_eq!(store.unwrap().account_by_name("ada").await.unwrap(), None);
}

#[tokio::test]
async fn the_schema_of_a_newer_release_is_told_from_one_of_another_program() {
    let (store, directory) = make().await;
    store.close().await;
    let path = directory.path().join("darktower.db");
    let mut other = connection(&path).await;
    run(
        &mut other,
        "INSERT INTO _sqlx_migrations VALUES (99, 'later', '2027-01-01', TRUE, x'00', 0)",
    )
    .await;
    let refused = says(SqliteDatabase::open(&path).await);
    assert!(refused.contains("newer release"), "{refused}");
    run(
        &mut other,
        "DELETE FROM _sqlx_migrations WHERE version = 99; UPDATE _sqlx_migrations SET checksum = x'00'",
    )
    .await;
    let refused = says(SqliteDatabase::open(&path).await);
    assert!(refused.contains("another text"), "{refused}");
}
