//! Each server starts, answers, and is gone with the test.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use darktower_servers::{
    Authority, HaProxy, Patroni, PgBouncer, Port, Postgres, Redis, RedisCluster, WITHIN, With,
};

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

/// Answers every question with its name until it is told to go.
fn backend(name: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let mut question = [0; 1024];
            let read = socket.read(&mut question).unwrap_or(0);
            if question[..read].starts_with(b"GET /go ") {
                return;
            }
            let length = name.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{name}"
            );
            // Who asked for its health has gone.
            let _told = socket.write_all(answer.as_bytes());
        }
    });
    (at, serving)
}

fn ask(port: u16, path: &str) -> String {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    socket.set_read_timeout(Some(WITHIN)).unwrap();
    write!(socket, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_proxy_takes_turns_and_leaves_out_who_is_gone() {
    let (first, going) = backend("first");
    let (second, _staying) = backend("second");
    let proxy = HaProxy::before_http(&[first, second], "/health");
    let told: Vec<_> = (0..4).map(|_| ask(proxy.port(), "/")).collect();
    for name in ["first", "second"] {
        let times = told.iter().filter(|answer| answer.ends_with(name)).count();
        assert_eq!(times, 2, "{told:?}");
    }
    write!(TcpStream::connect(first).unwrap(), "GET /go \r\n\r\n").unwrap();
    going.join().unwrap();
    // Also who would have been its next is answered.
    for _ in 0..4 {
        let answer = ask(proxy.port(), "/");
        assert!(answer.ends_with("second"), "{answer}");
    }
}

#[test]
fn what_two_members_acknowledged_is_there_when_the_primary_is_gone() {
    let mut patroni = Patroni::start();
    let name = patroni.database();
    patroni.ask(&name, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    let first = patroni.primary().unwrap();
    patroni.kill(first);
    patroni.wait_for_primary();
    assert_eq!(patroni.primary(), Some(1 - first));
    assert_eq!(patroni.ask(&name, "SELECT n FROM t"), "7\n");
    patroni.start_again(first);
    patroni.wait();
    patroni.ask(&name, "INSERT INTO t VALUES (8)");
    patroni.kill_postgres(1 - first);
    patroni.wait();
    assert_eq!(patroni.ask(&name, "SELECT n FROM t"), "7\n8\n");
}
