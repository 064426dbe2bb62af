//! PostgreSQL, alone and behind PgBouncer.

use std::time::{Duration, Instant};

use darktower_servers::{Authority, PgBouncer, Postgres, Session};
use darktower_store::conformance::eventually;
use darktower_store::database::{AuditEntry, Database, Meeting};
use darktower_store::{Error, PostgresDatabase, PostgresOptions, Unusable};
use darktower_wire::Secret;
use darktower_wire::ids::{MeetingCode, MeetingId};
use tokio::task::JoinSet;

use crate::proxy::{Answers, Proxy};

pub(crate) fn options(url: String) -> PostgresOptions {
    PostgresOptions {
        url: Secret(url),
        replica_url: None,
        password: None,
        pooler: false,
        connections: 4,
    }
}

async fn open(options: &PostgresOptions) -> PostgresDatabase {
    PostgresDatabase::migrate(options).await.unwrap();
    PostgresDatabase::open(options).await.unwrap()
}

fn meeting(n: u8) -> Meeting {
    Meeting {
        id: MeetingId([n; 16]),
        code: MeetingCode::from_letters([n % 26; 10]),
        title: "Standup".to_owned(),
        max_participants: 25,
        key_in_link: true,
        host_key_sha256: [n; 32],
        created_ms: 1_700_000_000_000,
        ended_ms: None,
    }
}

fn entry(at_ms: u64, meeting: u8) -> AuditEntry {
    AuditEntry {
        at_ms,
        action: "meeting.created".to_owned(),
        meeting: Some(MeetingId([meeting; 16])),
        actor: None,
        trace_id: String::new(),
    }
}

async fn start() -> Postgres {
    Postgres::start()
}

async fn make(server: &Postgres, _check: &str) -> PostgresDatabase {
    open(&options(server.url(&server.database()))).await
}

darktower_store::database_conformance_in_turn!(a_postgres_does_it_all, start, make);

async fn start_pooled() -> (Postgres, PgBouncer) {
    let server = Postgres::start();
    let bouncer = PgBouncer::start(&server);
    (server, bouncer)
}

fn pooled(url: String) -> PostgresOptions {
    PostgresOptions {
        pooler: true,
        ..options(url)
    }
}

async fn make_pooled(servers: &(Postgres, PgBouncer), _check: &str) -> PostgresDatabase {
    let (server, bouncer) = servers;
    open(&pooled(bouncer.url(&server.database()))).await
}

darktower_store::database_conformance_in_turn!(a_pooler_does_it_all, start_pooled, make_pooled);

/// Far more clients than the pooler has connections: their statements meet on these.
#[tokio::test]
async fn many_clients_share_a_poolers_connections() {
    let (server, bouncer) = start_pooled().await;
    let options = pooled(bouncer.url(&server.database()));
    let first = open(&options).await;
    let mut clients = JoinSet::new();
    for n in 1..=10 {
        let options = options.clone();
        clients.spawn(async move {
            let store = PostgresDatabase::open(&options).await.unwrap();
            let meeting = meeting(n);
            store.create_meeting(&meeting).await.unwrap();
            for _ in 0..10 {
                let found = store.meeting(meeting.id).await.unwrap();
                assert_eq!(found.as_ref(), Some(&meeting));
                let found = store.meeting_by_code(meeting.code).await.unwrap();
                assert_eq!(found.as_ref(), Some(&meeting));
                store.audit(&entry(1, n)).await.unwrap();
            }
        });
    }
    clients.join_all().await;
    for n in 1..=10 {
        let log = first.audit_log(MeetingId([n; 16]), 100).await.unwrap();
        assert_eq!(log.len(), 10);
    }
}

#[tokio::test]
async fn a_schema_that_is_missing_or_another_is_refused_and_made_once() {
    let server = Postgres::start();
    let name = server.database();
    let options = options(server.url(&name));
    let refused = PostgresDatabase::open(&options).await.unwrap_err();
    assert!(
        refused.to_string().contains("darktower migrate"),
        "{refused}"
    );
    let mut all = JoinSet::new();
    for _ in 0..6 {
        let options = options.clone();
        all.spawn(async move { PostgresDatabase::migrate(&options).await.unwrap() });
    }
    let made: usize = all.join_all().await.into_iter().sum();
    assert_eq!(made, 1, "of all that began at once, one made each change");
    assert_eq!(PostgresDatabase::migrate(&options).await.unwrap(), 0);
    let store = PostgresDatabase::open(&options).await.unwrap();
    store.create_meeting(&meeting(1)).await.unwrap();

    // A newer release has been here: this one goes on beside it.
    server.ask(&name, "INSERT INTO schema_changes VALUES (99, 'later', '')");
    PostgresDatabase::open(&options).await.unwrap();
    server.ask(
        &name,
        "UPDATE schema_changes SET sha256 = '' WHERE version = 1",
    );
    let refused = PostgresDatabase::open(&options).await.unwrap_err();
    assert!(matches!(refused, Unusable::Schema(_)), "{refused:?}");
}

/// Holds what a migration needs before its end, so that one that begins surely is under way until this is dropped.
async fn hold(server: &Postgres, name: &str) -> Session {
    server.ask(name, "CREATE TABLE schema_changes (version BIGINT PRIMARY KEY, description TEXT NOT NULL, sha256 BYTEA NOT NULL)");
    let holding = server.session(
        name,
        "BEGIN; SET LOCAL client_connection_check_interval = 50; LOCK TABLE schema_changes IN SHARE MODE; \
         SELECT pg_sleep(60);",
    );
    eventually("the lock is held", async || {
        server.ask(name, "SELECT count(*) FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'schema_changes'::regclass") == "1\n"
    })
    .await;
    holding
}

/// Who holds a lock that a migration needs is not waited for without end.
#[tokio::test]
async fn a_migration_waits_for_others_for_a_while_and_says_so() {
    let server = Postgres::start();
    let name = server.database();
    let options = options(server.url(&name));
    let migrate = async || {
        let began = Instant::now();
        let wait = Duration::from_millis(300);
        let refused = PostgresDatabase::migrate_within(&options, wait, wait).await;
        assert!(began.elapsed() < Duration::from_secs(5));
        match refused {
            Err(Unusable::Busy(says)) => says,
            other => panic!("{other:?}"),
        }
    };
    let other = server.session(
        &name,
        "BEGIN; SET LOCAL client_connection_check_interval = 50; \
         SELECT pg_advisory_xact_lock(7223372119); SELECT pg_sleep(60);",
    );
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted";
    eventually("another is at it", async || {
        server.ask(&name, held) == "1\n"
    })
    .await;
    assert_eq!(migrate().await, "another migration holds the lock");
    drop(other);
    eventually("it has ended", async || server.ask(&name, held) == "0\n").await;
    let holding = hold(&server, &name).await;
    let says = migrate().await;
    assert!(says.starts_with("others hold"), "{says}");
    drop(holding);
    open(&options).await.ping().await.unwrap();
}

/// The server, or the way to it, falls silent while the schema is being changed.
#[tokio::test]
async fn a_server_that_hangs_half_way_does_not_hang_a_migration() {
    let server = Postgres::start();
    let name = server.database();
    let proxy = Proxy::before(server.port()).await;
    let direct = server.url(&name);
    let url = direct.replace(&server.port().to_string(), &proxy.port.to_string());
    let through = options(format!("{url}?sslmode=disable"));
    let holding = hold(&server, &name).await;
    let migrating = tokio::spawn(async move {
        let (lock, change) = (Duration::from_secs(30), Duration::from_secs(2));
        PostgresDatabase::migrate_within(&through, lock, change).await
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the migration is under way", async || {
        server.ask(&name, waiting) == "1\n"
    })
    .await;
    proxy.answers(Answers::Never);
    drop(holding);
    let interrupted = tokio::time::timeout(Duration::from_secs(10), migrating).await;
    let interrupted = interrupted.expect("it hangs").unwrap();
    assert!(
        matches!(interrupted, Err(Unusable::Interrupted(_))),
        "{interrupted:?}"
    );
    // What the silence left open is ended with the connection.
    drop(proxy);
    let store = open(&options(direct)).await;
    store.create_meeting(&meeting(1)).await.unwrap();
}

/// The server dies while the schema is being changed: nothing is half done.
#[tokio::test]
async fn a_migration_that_was_interrupted_has_done_nothing() {
    let mut server = Postgres::start();
    let name = server.database();
    let options = options(server.url(&name));
    let holding = hold(&server, &name).await;
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let migrating = {
        let options = options.clone();
        tokio::spawn(async move { PostgresDatabase::migrate(&options).await })
    };
    eventually("the migration is under way", async || {
        server.ask(&name, waiting) == "1\n"
    })
    .await;
    server.kill();
    drop(holding);
    let interrupted = migrating.await.unwrap();
    assert!(
        matches!(interrupted, Err(Unusable::Interrupted(_))),
        "{interrupted:?}"
    );
    server.start_again();
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(server.ask(&name, tables), "1\n");
    let store = open(&options).await;
    store.create_meeting(&meeting(1)).await.unwrap();
}

#[tokio::test]
async fn the_audit_log_has_a_partition_for_each_month() {
    let server = Postgres::start();
    let name = server.database();
    let store = open(&options(server.url(&name))).await;
    // 2026-11-30 23:59:59.999 and a millisecond later, UTC; and 1970.
    let months = [1_796_083_199_999, 1_796_083_200_000, 0];
    let mut all = JoinSet::new();
    for _ in 0..4 {
        for at_ms in months {
            let store = store.clone();
            all.spawn(async move { store.audit(&entry(at_ms, 1)).await.unwrap() });
        }
    }
    all.join_all().await;
    let parts = "SELECT relname FROM pg_class WHERE relname LIKE 'audit_log_2%' OR relname LIKE 'audit_log_1%' ORDER BY 1";
    let parts = server.ask(&name, parts);
    let tables: Vec<_> = parts
        .lines()
        .filter(|name| name.len() == "audit_log_2026_11".len())
        .collect();
    assert_eq!(
        tables,
        [
            "audit_log_1970_01",
            "audit_log_2026_11",
            "audit_log_2026_12"
        ]
    );
    assert_eq!(
        server.ask(&name, "SELECT count(*) FROM audit_log_2026_12"),
        "4\n"
    );
    let log = store.audit_log(MeetingId([1; 16]), 100).await.unwrap();
    assert_eq!(log.len(), 12);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_crash() {
    let mut server = Postgres::start();
    let store = open(&options(server.url(&server.database()))).await;
    let mut kept = Vec::new();
    for n in 1..=20 {
        store.create_meeting(&meeting(n)).await.unwrap();
        kept.push(meeting(n));
    }
    server.kill();
    let asked = Instant::now();
    let lost = store.create_meeting(&meeting(21)).await;
    assert!(matches!(lost, Err(Error::Unavailable(_))), "{lost:?}");
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "{:?}",
        asked.elapsed()
    );
    server.start_again();
    eventually("the server is found again", async || {
        store.ping().await.is_ok()
    })
    .await;
    for meeting in kept {
        assert_eq!(store.meeting(meeting.id).await.unwrap(), Some(meeting));
    }
}

/// What was primary once answers, and takes no writes: a connection to it leads nowhere that the URL means now.
#[tokio::test]
async fn a_connection_to_who_is_primary_no_more_is_let_go() {
    let server = Postgres::start();
    let name = server.database();
    let options = PostgresOptions {
        connections: 1,
        ..options(server.url(&name))
    };
    let store = open(&options).await;
    store.create_meeting(&meeting(1)).await.unwrap();
    let ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'darktower'";
    eventually("one connection is kept", async || {
        server.ask(&name, ours) == "1\n"
    })
    .await;
    server.ask(&name, "ALTER SYSTEM SET default_transaction_read_only = on");
    server.ask(&name, "SELECT pg_reload_conf()");
    eventually("nothing is written", async || {
        let refused = store.create_meeting(&meeting(2)).await;
        matches!(refused, Err(Error::Unavailable(_)))
    })
    .await;
    eventually("the connection is closed", async || {
        server.ask(&name, ours) == "0\n"
    })
    .await;
}

/// A standby as PostgreSQL makes one: it refuses to write, and is behind for moments.
#[tokio::test]
async fn what_is_written_is_found_at_once_with_a_standby_that_follows() {
    let primary = Postgres::start();
    let name = primary.database();
    let url = primary.url(&name);
    open(&options(url.clone())).await;
    let standby = primary.standby();
    let options = PostgresOptions {
        replica_url: Some(Secret(standby.url(&name))),
        ..options(url)
    };
    PostgresDatabase::look_at_replica(&options).await.unwrap();
    let store = PostgresDatabase::open(&options).await.unwrap();
    for n in 1..=20 {
        store.create_meeting(&meeting(n)).await.unwrap();
        let found = store.meeting(meeting(n).id).await.unwrap();
        assert_eq!(found, Some(meeting(n)));
    }
    let follows = "SELECT count(*) FROM meetings";
    eventually("the standby has them, too", async || {
        standby.ask(&name, follows) == "20\n"
    })
    .await;
    // Who is asked is seen where the primary is gone.
    drop(primary);
    let found = store.meeting(meeting(20).id).await.unwrap();
    assert_eq!(found, Some(meeting(20)));
    let refused = store.create_meeting(&meeting(21)).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn a_replica_is_asked_first_and_missed_by_nobody() {
    let mut replica = Postgres::start();
    let primary = Postgres::start();
    let (here, there) = (primary.database(), replica.database());
    open(&options(replica.url(&there))).await;
    let options = PostgresOptions {
        replica_url: Some(Secret(replica.url(&there))),
        ..options(primary.url(&here))
    };
    let store = open(&options).await;
    // One that is behind does not know of it yet.
    store.create_meeting(&meeting(1)).await.unwrap();
    assert_eq!(
        store.meeting(meeting(1).id).await.unwrap(),
        Some(meeting(1))
    );
    // What only the replica says shows that it is asked.
    replica.ask(
        &there,
        "INSERT INTO accounts VALUES ('0123456789abcdef', 'ada', NULL, 5)",
    );
    let found = store.account_by_name("ada").await.unwrap();
    assert_eq!(found.map(|account| account.created_ms), Some(5));
    replica.kill();
    assert_eq!(
        store.meeting(meeting(1).id).await.unwrap(),
        Some(meeting(1))
    );
    // It is not asked again at once.
    let asked = Instant::now();
    assert_eq!(store.account_by_name("ada").await.unwrap(), None);
    assert!(asked.elapsed() < Duration::from_millis(500));
}

#[tokio::test]
async fn what_is_wrong_is_told_apart_and_no_password_is_shown() {
    let server = Postgres::start();
    let bouncer = PgBouncer::start(&server);
    let name = server.database();
    let good = options(server.url(&name));
    open(&good).await;
    let refusal_of = async |options: PostgresOptions| {
        let refused = PostgresDatabase::open(&options).await.unwrap_err();
        assert!(
            !format!("{refused} {refused:?}").contains("of-the-test"),
            "{refused}"
        );
        refused
    };
    let refusal = async |url: String| refusal_of(options(url)).await;
    let unannounced = refusal(bouncer.url(&name)).await.to_string();
    assert!(unannounced.contains("`pooler`"), "{unannounced}");
    let wrong = |url: String| url.replace("of-the-test", "guess");
    for options in [
        options(wrong(server.url(&name))),
        pooled(wrong(bouncer.url(&name))),
    ] {
        let refused = refusal_of(options).await;
        assert!(matches!(refused, Unusable::Password(_)), "{refused:?}");
    }
    let apart = PostgresOptions {
        password: Some(Secret("of-the-test".to_owned())),
        ..options(wrong(server.url(&name)))
    };
    let store = PostgresDatabase::open(&apart).await.unwrap();
    assert!(!format!("{apart:?} {store:?}").contains("of-the-test"));
    let refused = refusal(server.url("nowhere")).await;
    assert!(matches!(refused, Unusable::Unfit(_)), "{refused:?}");
    let refused = refusal(format!("{}?sslmode=require", server.url(&name))).await;
    assert!(matches!(refused, Unusable::Tls(_)), "{refused:?}");
    let refused = refusal("postgres://postgres:of-the-test@127.0.0.1:1/x".to_owned()).await;
    assert!(matches!(refused, Unusable::Unreachable(_)), "{refused:?}");
    for url in ["mysql://h/d", "postgres://of-the-test@h:port/d", ""] {
        let refused = refusal(url.to_owned()).await;
        assert!(matches!(refused, Unusable::Url(_)), "{refused:?}");
    }
}

#[tokio::test]
async fn tls_needs_trust() {
    let authority = Authority::new();
    let server = Postgres::start_with(Some(&authority));
    let place = tempfile::tempdir().unwrap();
    let url = |authority: &Authority| {
        let file = place.path().join("authority.pem");
        std::fs::write(&file, authority.pem()).unwrap();
        let url = server.url("postgres");
        format!("{url}?sslmode=verify-full&sslrootcert={}", file.display())
    };
    let good = options(url(&authority));
    open(&good).await.ping().await.unwrap();
    let refused = PostgresDatabase::open(&options(url(&Authority::new()))).await;
    assert!(matches!(refused, Err(Unusable::Tls(_))), "{refused:?}");
    let plain = options(format!("{}?sslmode=disable", server.url("postgres")));
    let refused = PostgresDatabase::open(&plain).await;
    assert!(matches!(refused, Err(Unusable::Password(_))), "{refused:?}");
}
