//! Each server starts, answers, and is gone with the test.

#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, TcpStream};

use darktower_servers::{Authority, PgBouncer, Port, Postgres, Redis, RedisCluster, With};

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[test]
fn a_port_is_taken_once() {
    let (one, two) = (Port::take(), Port::take());
    assert_ne!(one.number(), two.number());
}

#[test]
fn a_redis_answers_and_goes() {
    let mut redis = Redis::start();
    assert_eq!(redis.ask(&["PING"]), "PONG\n");
    redis.kill();
    assert!(!listens(redis.port()));
    redis.start_again();
    assert_eq!(redis.ask(&["PING"]), "PONG\n");
    let port = redis.port();
    drop(redis);
    assert!(!listens(port));
    let authority = Authority::new();
    let with = With {
        authority: Some(&authority),
        ..With::default()
    };
    assert!(listens(Redis::start_with(with).port()));
}

#[test]
fn a_cluster_serves_every_slot() {
    let cluster = RedisCluster::start(1);
    let masters = ["a", "b", "c", "d", "e", "f"].map(|key| cluster.master_of(key));
    assert!(masters.iter().all(|master| *master < 3), "{masters:?}");
}

#[test]
fn a_postgres_answers_and_keeps() {
    let mut postgres = Postgres::start();
    let name = postgres.database();
    postgres.ask(&name, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    postgres.kill();
    assert!(!listens(postgres.port()));
    postgres.start_again();
    assert_eq!(postgres.ask(&name, "SELECT n FROM t"), "7\n");
    let bouncer = PgBouncer::start(&postgres);
    assert!(bouncer.url(&name).ends_with(&name));
}
