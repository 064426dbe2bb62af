//! The servers that stores need, started for a test on loopback and gone with it.
//!
//! What it is: Debian's own Redis ([`Redis`], [`RedisCluster`]), PostgreSQL ([`Postgres`]), also as two
//! under Patroni with etcd ([`Patroni`]), PgBouncer ([`PgBouncer`]) and HAProxy ([`HaProxy`]), each in a directory and on ports of its own, so that tests of many processes do not meet.
//!
//! What it must not do: stand in for a server. What runs here is what runs in production.
//!
//! Where to start: [`Redis::start`], [`Postgres::start`].
//!
//! Invariant: a server ends with the test that started it, however that ends (`setpriv --pdeathsig`).

mod aside;
mod authority;
mod haproxy;
mod patroni;
mod port;
mod postgres;
mod process;
mod redis;
mod redis_cluster;

pub use authority::Authority;
pub use haproxy::HaProxy;
pub use patroni::Patroni;
pub use port::Port;
pub use postgres::{PgBouncer, Postgres, Session};
pub use process::WITHIN;
pub use redis::{Redis, With};
pub use redis_cluster::RedisCluster;
