//! What may be wrong with the settings of a Redis, each told apart.

use std::time::{Duration, Instant};

use darktower_servers::{Authority, Redis, RedisCluster, With};
use darktower_store::{RedisOptions, RedisState, StateStore, Unusable};
use darktower_wire::Secret;
use darktower_wire::ids::MeetingId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::redis::options;

async fn refusal(options: RedisOptions) -> Unusable {
    RedisState::open(&options).await.unwrap_err()
}

async fn works(options: &RedisOptions) {
    let state = RedisState::open(options).await.unwrap();
    let lease = state.read_lease(MeetingId([1; 16])).await.unwrap();
    assert_eq!(lease.owner, None);
}

#[tokio::test]
async fn a_password_is_asked_for_and_never_shown() {
    let with = With {
        password: Some("s3cret"),
        ..With::default()
    };
    let redis = Redis::start_with(with);
    let none = options(redis.url());
    let in_url = options(redis.url().replace("//", "//:s3cret@"));
    let wrong_in_url = options(redis.url().replace("//", "//:s3cre7@"));
    let apart = RedisOptions {
        password: Some(Secret("s3cret".to_owned())),
        ..none.clone()
    };
    let wrong = RedisOptions {
        password: Some(Secret("s3cre7".to_owned())),
        ..none.clone()
    };
    for options in [&in_url, &apart] {
        works(options).await;
        let shown = format!("{options:?} {:?}", RedisState::open(options).await.unwrap());
        assert!(!shown.contains("s3cre"), "{shown}");
    }
    for options in [none, wrong, wrong_in_url] {
        let refused = refusal(options).await;
        assert!(matches!(refused, Unusable::Password(_)), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("s3cre"));
    }
}

#[tokio::test]
async fn a_cluster_tells_the_same_apart() {
    let authority = Authority::new();
    let with = With {
        password: Some("s3cret"),
        authority: Some(&authority),
    };
    let cluster = RedisCluster::start_with(0, with);
    let known = RedisOptions {
        password: Some(Secret("s3cret".to_owned())),
        authorities: Some(authority.pem().into_bytes()),
        ..options(cluster.url())
    };
    works(&known).await;
    for password in [None, Some(Secret("s3cre7".to_owned()))] {
        let refused = refusal(RedisOptions {
            password,
            ..known.clone()
        });
        let refused = refused.await;
        assert!(matches!(refused, Unusable::Password(_)), "{refused:?}");
        assert!(!format!("{refused} {refused:?}").contains("s3cre"));
    }
    let untrusted = RedisOptions {
        authorities: None,
        ..known.clone()
    };
    let plain = RedisOptions {
        url: Secret(cluster.url().replace("rediss-", "redis-")),
        ..known
    };
    let refused = refusal(untrusted).await;
    assert!(matches!(refused, Unusable::Tls(_)), "{refused:?}");
    let refused = refusal(plain).await;
    assert!(matches!(refused, Unusable::Unreachable(_)), "{refused:?}");
}

#[tokio::test]
async fn tls_needs_both_ends_and_trust() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let with = With {
        password: Some("s3cret"),
        authority: Some(&authority),
    };
    let redis = Redis::start_with(with);
    let trusting = |authority: &Authority| RedisOptions {
        password: Some(Secret("s3cret".to_owned())),
        authorities: Some(authority.pem().into_bytes()),
        ..options(redis.url())
    };
    works(&trusting(&authority)).await;
    let none = RedisOptions {
        authorities: None,
        ..trusting(&authority)
    };
    let plain_server = Redis::start();
    let of_plain = options(plain_server.url().replace("redis:", "rediss:"));
    let garbage = RedisOptions {
        authorities: Some(b"-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----".to_vec()),
        ..trusting(&authority)
    };
    for options in [none, trusting(&stranger), garbage] {
        let refused = refusal(options).await;
        assert!(matches!(refused, Unusable::Tls(_)), "{refused:?}");
    }
    // A Redis without TLS waits for more of what it takes for a command.
    let refused = refusal(of_plain).await;
    assert!(matches!(refused, Unusable::Silent), "{refused:?}");
    let plain = options(redis.url().replace("rediss:", "redis:"));
    let refused = refusal(plain).await;
    assert!(matches!(refused, Unusable::Unreachable(_)), "{refused:?}");
}

#[tokio::test]
async fn servers_of_the_other_kind_are_refused() {
    let (redis, mut cluster) = (Redis::start(), RedisCluster::start(0));
    let as_cluster = options(redis.url().replace("redis:", "redis-cluster:"));
    let refused = refusal(as_cluster).await.to_string();
    assert!(refused.contains("write redis://"), "{refused}");
    let as_single = options(cluster.node(0).url());
    let refused = refusal(as_single).await.to_string();
    assert!(refused.contains("write redis-cluster://"), "{refused}");
    redis.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = refusal(options(redis.url())).await.to_string();
    assert!(refused.contains("replica"), "{refused}");
}

#[tokio::test]
async fn a_node_of_a_cluster_that_is_away_is_no_hindrance() {
    let cluster = RedisCluster::start(0);
    let places = cluster.url().replace("//", "//127.0.0.1:1,");
    works(&options(places)).await;
}

#[tokio::test]
async fn nobody_and_a_bad_url_are_told_apart() {
    for url in [
        "redis://127.0.0.1:1",
        "redis-cluster://127.0.0.1:1,127.0.0.1:2",
    ] {
        let refused = refusal(options(url.to_owned())).await;
        assert!(matches!(refused, Unusable::Unreachable(_)), "{refused:?}");
    }
    for url in ["redis://", "redis://:s3cret@h:port", "http://h", "h"] {
        let refused = refusal(options(url.to_owned())).await;
        assert!(matches!(refused, Unusable::Url(_)), "{refused:?}");
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }
    let spaced = RedisOptions {
        namespace: "{a} b".to_owned(),
        ..options("redis://127.0.0.1:1".to_owned())
    };
    let refused = refusal(spaced).await;
    assert!(matches!(refused, Unusable::Url(_)), "{refused:?}");
}

#[tokio::test]
async fn one_who_says_nothing_or_nonsense_costs_a_moment() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = |listener: &TcpListener| format!("redis://{}", listener.local_addr().unwrap());
    let asked = Instant::now();
    let refused = refusal(options(at(&silent))).await;
    assert!(matches!(refused, Unusable::Silent), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(8));
    let babbling = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = at(&babbling);
    let babble = tokio::spawn(async move {
        loop {
            let (mut socket, _) = babbling.accept().await.unwrap();
            let text = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            socket.write_all(text).await.unwrap();
        }
    });
    let refused = refusal(options(url)).await;
    assert!(matches!(refused, Unusable::Unfit(_)), "{refused:?}");
    babble.abort();
}
