use bytes::Bytes;
use darktower_net::{
    CANCELLED, CloseReason, ClosedBy, ConnectError, DatagramError, Ports, ReadError, Server,
    WriteError,
};

use crate::*;

#[tokio::test]
async fn connect_carries_path_query_origin_and_headers() {
    let certs = certs();
    let server = Server::bind(Config::new(ANY, certs.clone())).unwrap();
    let client = client(&certs);
    let url = url(server.local_addr(), "/m/abc-defg?token=a%2Bb&x=1");
    let headers = [
        ("origin", "https://example.org"),
        ("traceparent", "00-aa-bb-01"),
    ];
    let (session, ()) = soon("connect", async {
        tokio::join!(client.connect(&url, &headers), async {
            let incoming = server.accept().await.unwrap();
            assert_eq!(incoming.path(), "/m/abc-defg");
            assert_eq!(incoming.query(), Some("token=a%2Bb&x=1"));
            assert_eq!(incoming.parameter("token").as_deref(), Some("a+b"));
            assert_eq!(incoming.parameter("y"), None);
            assert_eq!(incoming.origin(), Some("https://example.org"));
            assert_eq!(incoming.header("traceparent"), Some("00-aa-bb-01"));
            assert!(incoming.peer().unwrap().ip().is_loopback());
            assert!(!format!("{incoming:?}").contains("token"));
            incoming.accept().await.unwrap();
        })
    })
    .await;
    session.unwrap();
}

#[tokio::test]
async fn streams_carry_bytes_in_order_both_ways() {
    let Pair { here, there, .. } = &pair().await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for (from, to) in [(here, there), (there, here)] {
        let one_way = async {
            let (mut out, mut into) = tokio::join!(
                async {
                    let mut out = from.open_uni().await.unwrap();
                    out.set_priority(7);
                    out.write(Bytes::from_static(b"")).await.unwrap();
                    out
                },
                async { to.accept_uni().await.unwrap() }
            );
            let (got, ()) = tokio::join!(read_all(&mut into), async {
                for part in sent.chunks(70_001) {
                    out.write(Bytes::copy_from_slice(part)).await.unwrap();
                }
                out.finish().unwrap();
                out.delivered().await.unwrap();
            });
            assert!(got == sent);
            assert_eq!(into.read_chunk().await, Err(ReadError::Finished));
            assert_eq!(out.write(Bytes::new()).await, Err(WriteError::Finished));
        };
        soon("one way", one_way).await;

        let there_and_back = async {
            let (mut out, mut back) = from.open_bi().await.unwrap();
            out.write(Bytes::from_static(b"ping")).await.unwrap();
            out.finish().unwrap();
            let (mut echo, mut into) = to.accept_bi().await.unwrap();
            assert_eq!(read_all(&mut into).await, b"ping");
            echo.write(Bytes::from_static(b"pong")).await.unwrap();
            echo.finish().unwrap();
            assert_eq!(read_all(&mut back).await, b"pong");
        };
        soon("there and back", there_and_back).await;
    }
    let stats = here.stats();
    assert!(stats.rtt > Duration::ZERO && stats.cwnd > 0);
    assert!(stats.sent_bytes > 3_000_000 && stats.received_bytes > 3_000_000);
    assert!(stats.mtu >= 1200);
}

#[tokio::test]
async fn datagrams_go_both_ways_and_know_their_size() {
    let Pair { here, there, .. } = &pair().await;
    for (from, to) in [(here, there), (there, here)] {
        let max = from.max_datagram_size();
        assert!(max > 1000);
        from.send_datagram(Bytes::from(vec![5; max])).unwrap();
        let got = soon("a datagram", to.recv_datagram()).await.unwrap();
        assert!(got.len() == max && got.iter().all(|b| *b == 5));
        assert_eq!(
            from.send_datagram(Bytes::from(vec![5; 65_000])),
            Err(DatagramError::TooLarge)
        );
    }
}

#[tokio::test]
async fn resets_and_stops_keep_their_codes() {
    let Pair { here, there, .. } = &pair().await;
    // The edges of the ranges that WebTransport codes are mapped into.
    for code in [0, 1, 29, 30, 31, 77, u32::MAX] {
        for (from, to) in [(here, there), (there, here)] {
            let round = async {
                let mut out = from.open_uni().await.unwrap();
                out.write(Bytes::from_static(b"half")).await.unwrap();
                let mut into = to.accept_uni().await.unwrap();
                assert_eq!(into.read_chunk().await.unwrap().unwrap(), "half");
                out.reset(code);
                assert_eq!(into.read_chunk().await, Err(ReadError::Reset(Some(code))));

                let mut out = from.open_uni().await.unwrap();
                out.write(Bytes::from_static(b"half")).await.unwrap();
                to.accept_uni().await.unwrap().stop(code);
                assert_eq!(out.delivered().await, Err(WriteError::Stopped(Some(code))));
                assert_eq!(
                    out.write(Bytes::from_static(b"more")).await,
                    Err(WriteError::Stopped(Some(code)))
                );
            };
            soon("a round of codes", round).await;
        }
    }
}

#[tokio::test]
async fn what_is_dropped_is_cancelled_never_finished() {
    let Pair { here, there, .. } = &pair().await;
    let round = async {
        let mut out = here.open_uni().await.unwrap();
        out.write(Bytes::from_static(b"half")).await.unwrap();
        let mut into = there.accept_uni().await.unwrap();
        assert_eq!(into.read_chunk().await.unwrap().unwrap(), "half");
        drop(out);
        let end = into.read_chunk().await;
        assert_eq!(end, Err(ReadError::Reset(Some(CANCELLED))));

        let mut out = here.open_uni().await.unwrap();
        out.write(Bytes::from_static(b"half")).await.unwrap();
        drop(there.accept_uni().await.unwrap());
        let end = out.delivered().await;
        assert_eq!(end, Err(WriteError::Stopped(Some(CANCELLED))));
    };
    soon("drops", round).await;
}

#[tokio::test]
async fn close_tells_code_and_reason_both_ways() {
    for server_closes in [true, false] {
        for code in [0, 4242, u32::MAX] {
            let Pair {
                here,
                there,
                server: _server,
                ..
            } = pair().await;
            let (closer, other) = if server_closes {
                (there, here)
            } else {
                (here, there)
            };
            let mut pending = other.open_uni().await.unwrap();
            closer.close(code, "bye");
            closer.close(1, "too late");
            let told = CloseReason {
                code,
                reason: "bye".into(),
                by: ClosedBy::Peer,
            };
            assert_eq!(soon("told", other.closed()).await, told);
            let here = CloseReason {
                by: ClosedBy::Here,
                ..told.clone()
            };
            assert_eq!(soon("gone", closer.closed()).await, here);
            assert_eq!(other.accept_uni().await.err(), Some(told.clone()));
            assert_eq!(other.recv_datagram().await, Err(told.clone().into()));
            let written = pending.write(Bytes::from_static(b"x")).await;
            assert_eq!(written, Err(told.into()));
            assert_eq!(closer.open_uni().await.err(), Some(here));
        }
    }
}

#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let Pair {
        here,
        there,
        server: _server,
        client: _client,
    } = pair().await;
    let twin = there.clone();
    drop(there);
    let stream = twin.open_uni().await.unwrap();
    drop(twin);
    let reason = soon("told", here.closed()).await;
    assert_eq!((reason.code, reason.by), (0, ClosedBy::Peer));
    drop(stream);
}

#[tokio::test]
async fn a_rejected_client_reads_the_status() {
    let certs = certs();
    let server = Server::bind(Config::new(ANY, certs.clone())).unwrap();
    let client = client(&certs);
    let url = url(server.local_addr(), "/");
    for status in [401, 403, 404, 429, 503] {
        let (refused, ()) = soon("refusal", async {
            tokio::join!(client.connect(&url, &[]), async {
                server.accept().await.unwrap().reject(status).await;
            })
        })
        .await;
        assert!(
            matches!(refused, Err(ConnectError::Rejected(s)) if s == status),
            "{refused:?}"
        );
    }
    // Not answered at all: the connection ends nevertheless.
    let (refused, ()) = soon("drop", async {
        tokio::join!(client.connect(&url, &[]), async {
            drop(server.accept().await);
        })
    })
    .await;
    assert!(
        matches!(refused, Err(ConnectError::Connection(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_draining_server_waits_for_its_sessions_and_refuses_others() {
    let Pair {
        server,
        client,
        here,
        there,
    } = pair().await;
    let url = url(server.local_addr(), "/");
    let drain = async {
        tokio::join!(server.stop(Duration::from_secs(8)), async {
            assert!(server.accept().await.is_none());
            let refused = client.connect(&url, &[]).await;
            assert!(
                matches!(refused, Err(ConnectError::Connection(_))),
                "{refused:?}"
            );
            // The session lives until its service closes it.
            let mut out = here.open_uni().await.unwrap();
            out.write(Bytes::from_static(b"still here")).await.unwrap();
            out.finish().unwrap();
            let mut into = there.accept_uni().await.unwrap();
            assert_eq!(read_all(&mut into).await, b"still here");
            there.close(9, "moving");
            assert_eq!(here.closed().await.code, 9);
        })
    };
    soon("drain", drain).await;
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn grace_ends() {
    let Pair { server, here, .. } = pair().await;
    soon("stop", server.stop(Duration::from_millis(50))).await;
    let reason = soon("closed", here.closed()).await;
    assert_eq!(reason.by, ClosedBy::Peer);
}

#[tokio::test]
async fn clients_that_share_ports_come_from_one_and_a_broken_one_is_bound_anew() {
    let certs = certs();
    let server = Server::bind(Config::new(ANY, certs.clone())).unwrap();
    let (ports, trust) = (Ports::default(), ServerTrust::Hashes(certs.hashes()));
    let client = || Client::with_ports(ports.clone(), trust.clone(), &Tuning::default()).unwrap();
    let (first, second) = (client(), client());
    let (_here, there) = soon("a session", connect(&server, &first)).await;
    let (_and_here, and_there) = soon("another", connect(&server, &second)).await;
    assert_eq!(there.peer(), and_there.peer());
    drop(first);
    soon("stopped", second.stop()).await;
    let refused = second.connect(&url(server.local_addr(), "/"), &[]).await;
    assert!(matches!(refused, Err(ConnectError::Connection(_))));
    let (_here, anew) = soon("a third", connect(&server, &second)).await;
    assert_ne!(anew.peer(), there.peer());
}
