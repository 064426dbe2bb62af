use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use darktower_net::{ConnectError, Limits};

use crate::*;

/// A QUIC endpoint with no manners of its own.
fn raw_client(certs: &Certs) -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client(ANY).unwrap();
    endpoint.set_default_client_config(raw_config(certs));
    endpoint
}

pub(crate) fn raw_config(certs: &Certs) -> quinn::ClientConfig {
    let tls = crate::http::trusting(certs, &[b"h3"]);
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    quinn::ClientConfig::new(Arc::new(tls))
}

#[tokio::test]
async fn who_never_sends_connect_is_closed_in_time() {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    config.limits.authenticate_within = Duration::from_millis(300);
    let server = Server::bind(config).unwrap();
    let begun = Instant::now();
    let endpoint = raw_client(&certs);
    let conn = endpoint.connect(server.local_addr(), "localhost").unwrap();
    let conn = soon("handshake", conn).await.unwrap();
    let end = soon("close", conn.closed()).await;
    let quinn::ConnectionError::ApplicationClosed(close) = end else {
        panic!("{end}");
    };
    assert_eq!(close.error_code.into_inner(), 0x10d);
    assert!(begun.elapsed() >= Duration::from_millis(250));
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn garbage_instead_of_connect_is_refused_and_harms_no_one() {
    let certs = certs();
    let server = Server::bind(Config::new(ANY, certs.clone())).unwrap();
    let endpoint = raw_client(&certs);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 64], &[0; 64]] {
        let conn = endpoint.connect(server.local_addr(), "localhost").unwrap();
        let conn = soon("handshake", conn).await.unwrap();
        let mut control = conn.open_uni().await.unwrap();
        control.write_all(garbage).await.unwrap();
        control.finish().unwrap();
        let end = soon("close", conn.closed()).await;
        assert!(matches!(end, quinn::ConnectionError::ApplicationClosed(_)));
    }
    soon("a session", connect(&server, &client(&certs))).await;
}

#[tokio::test]
async fn ten_thousand_streams_stop_at_the_limit() {
    let Pair {
        server,
        client,
        here,
        there,
    } = pair_with(|c| c.tuning.max_uni_streams = 100).await;
    // The attacker opens without end; the server never reads.
    let opened = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (count, attacker) = (opened.clone(), here.clone());
    let attack = tokio::spawn(async move {
        let mut held = Vec::new();
        while held.len() < 10_000 {
            let mut stream = attacker.open_uni().await.unwrap();
            stream.write(Bytes::from_static(b"x")).await.unwrap();
            stream.finish().unwrap();
            held.push(stream);
            count.store(held.len(), std::sync::atomic::Ordering::Relaxed);
        }
    });
    let full = async {
        while opened.load(std::sync::atomic::Ordering::Relaxed) < 99 {
            tokio::task::yield_now().await;
        }
    };
    soon("the limit", full).await;
    // Others are served meanwhile.
    soon("another session", connect(&server, &client)).await;
    assert!(opened.load(std::sync::atomic::Ordering::Relaxed) <= 103);
    // Reading them lets the next ones come, to the last.
    let drain = async {
        for _ in 0..10_000 {
            there.accept_uni().await.unwrap().stop(3);
        }
    };
    soon("10,000 streams", drain).await;
    soon("attack", attack).await.unwrap();
}

#[tokio::test]
async fn an_address_is_capped_and_freed_again() {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    config.limits = Limits {
        per_address: 2,
        ..Limits::default()
    };
    let server = Server::bind(config).unwrap();
    let client = client(&certs);
    let (one, _one) = soon("first", connect(&server, &client)).await;
    let (_two, _there) = soon("second", connect(&server, &client)).await;
    let refused = client.connect(&url(server.local_addr(), "/"), &[]).await;
    assert!(
        matches!(refused, Err(ConnectError::Connection(_))),
        "{refused:?}"
    );
    one.close(0, "");
    soon("third", connect_when_freed(&server, &client)).await;
}

#[tokio::test]
async fn under_load_peers_prove_their_address_and_still_connect() {
    pair_with(|c| c.limits.retry_above = 0).await;
}

#[tokio::test]
async fn a_dead_peer_is_noticed_after_the_idle_time() {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    config.tuning.idle_timeout = Duration::from_millis(400);
    config.tuning.keep_alive = Duration::from_millis(100);
    let server = Server::bind(config).unwrap();
    // The client's runtime is left standing still, as a killed process would be.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let target = url(server.local_addr(), "/");
    let frozen = std::thread::spawn(move || {
        let alive = runtime.block_on(async {
            let client = client(&certs);
            let session = client.connect(&target, &[]).await.unwrap();
            (client, session)
        });
        std::mem::forget((runtime, alive));
    });
    let there = soon("session", async {
        server.accept().await.unwrap().accept().await
    });
    let there = there.await.unwrap();
    let reason = soon("noticed", there.closed()).await;
    assert_eq!(reason.by, darktower_net::ClosedBy::Lost, "{reason}");
    frozen.join().unwrap();
}

#[tokio::test]
async fn a_restarted_server_is_noticed_at_once() {
    let certs = certs();
    let mut config = Config::new(ANY, certs.clone());
    config.reset_key = Some([9; 32]);
    let first = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = {
        let _inside = first.enter();
        Server::bind(config.clone()).unwrap()
    };
    config.addr = server.local_addr();
    let tuning = Tuning {
        keep_alive: Duration::from_millis(100),
        idle_timeout: Duration::from_secs(60),
        ..Tuning::default()
    };
    let client = Client::new(ServerTrust::Hashes(certs.hashes()), &tuning).unwrap();
    let target = url(server.local_addr(), "/");
    // All that is the server's lives there and dies with it.
    first.spawn(async move {
        let _there = server.accept().await.unwrap().accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    let here = soon("session", client.connect(&target, &[])).await.unwrap();
    // Killed without a word; its successor knows nothing but the key.
    let killed = tokio::task::spawn_blocking(|| first.shutdown_timeout(Duration::from_secs(5)));
    soon("the end", killed).await.unwrap();
    let _successor = Server::bind(config).unwrap();
    let reason = soon("noticed", here.closed()).await;
    assert_eq!(reason.by, darktower_net::ClosedBy::Lost, "{reason}");
}

#[tokio::test]
async fn nonsense_configuration_is_refused() {
    let mut config = Config::new(ANY, certs());
    config.tuning.keep_alive = config.tuning.idle_timeout;
    assert!(Server::bind(config).is_err());
}
