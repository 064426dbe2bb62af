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
