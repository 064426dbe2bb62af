//! What a session bears, and how it ends.

use bytes::Bytes;
use darktower_media::{Bitrate, path};
use darktower_net::ClosedBy;
use darktower_net::wt::{Event, Progress};

use super::pair::{DELAY, Pair, SERVER, steady};
use crate::*;

#[test]
fn who_does_not_answer_a_close_is_left_after_a_moment() {
    let mut pair = Pair::open();
    let now = pair.now;
    pair.cut = true;
    pair.server.session().close(now, 5, "bye");
    let took = pair.until(|pair| pair.server.closed().is_some());
    assert!(
        took <= DELAY * 2 * 3 + Duration::from_millis(100),
        "{took:?}"
    );
}

#[test]
fn silence_ends_in_time() {
    // No CONNECT.
    let mut pair = Pair::with(|_| {}, Tuning::default(), None);
    pair.until(|pair| pair.server.endpoint.connections() == 1);
    pair.cut = true;
    let begun = pair.now;
    pair.until(|pair| pair.server.endpoint.connections() == 0);
    assert!(pair.now - begun < Duration::from_secs(6));
    assert!(pair.server.events.is_empty(), "the service never knew");
    // A peer that is gone.
    let mut pair = Pair::open();
    pair.cut = true;
    let took = pair.until(|pair| pair.server.closed().is_some());
    assert!(took <= Tuning::default().idle_timeout * 2);
    assert_eq!(pair.server.closed().unwrap().by, ClosedBy::Lost);
}

#[test]
fn more_streams_than_the_peer_allows_wait_in_order() {
    let tuning = Tuning {
        max_uni_streams: 2,
        ..Tuning::default()
    };
    let mut pair = Pair::with(|_| {}, tuning, None).opened();
    let streams: Vec<_> = (0..20u8)
        .map(|n| {
            let stream = pair.server.session().open_uni(0);
            pair.server
                .session()
                .write(stream, Bytes::from(vec![n; 10]));
            pair.server.session().finish(stream);
            stream
        })
        .collect();
    // One that is given up before it could be opened never is.
    pair.server.session().reset(streams[10], 9);
    pair.until(|pair| {
        pair.client
            .read
            .values()
            .filter(|(_, p)| *p == Progress::Ended)
            .count()
            == 19
    });
    let first: Vec<u8> = pair.client.read.values().map(|(all, _)| all[0]).collect();
    let expected: Vec<u8> = (0..20).filter(|n| *n != 10).collect();
    assert_eq!(first, expected);
    let drained = pair
        .server
        .events
        .iter()
        .filter(|e| matches!(e, Event::Drained { bytes: 10, .. }));
    // Two at a time, and those that HTTP/3 has no use for.
    assert_eq!(drained.count(), 15);
}

#[test]
fn who_does_not_read_makes_the_peer_wait() {
    let mut pair = Pair::open();
    pair.client.reads = false;
    let stream = pair.server.session().open_uni(0);
    let all = Bytes::from(vec![1; 20 << 20]);
    let taken = pair.server.session().write(stream, all.clone());
    assert!(taken <= Tuning::default().send_window as usize);
    pair.pass(Duration::from_secs(2));
    let drained: usize = pair
        .server
        .events
        .iter()
        .map(|event| match event {
            Event::Drained { bytes, .. } => *bytes,
            _ => 0,
        })
        .sum();
    assert!(
        taken + drained <= 10 << 20,
        "{} of it went",
        taken + drained
    );
    // Others go on.
    let other = pair.server.session().open_uni(1);
    pair.server
        .session()
        .write(other, Bytes::from_static(b"hi"));
    pair.client.reads = true;
    pair.until(|pair| pair.client.read.values().any(|(all, _)| all == b"hi"));
}

#[test]
fn a_peer_moves_to_another_network() {
    let mut pair = Pair::open();
    pair.pass(Duration::from_millis(200));
    pair.client_from = "10.9.9.9:1234".parse().unwrap();
    let stream = pair.client.session().open_uni(0);
    pair.client
        .session()
        .write(stream, Bytes::from_static(b"still me"));
    pair.until(|pair| !pair.server.read.is_empty());
    pair.pass(Duration::from_secs(1));
    assert_eq!(pair.server.session().peer(), pair.client_from);
    let stream = pair.server.session().open_uni(0);
    pair.server
        .session()
        .write(stream, Bytes::from_static(b"still here"));
    pair.until(|pair| {
        pair.client
            .read
            .values()
            .any(|(all, _)| all == b"still here")
    });
}

#[test]
fn what_was_believed_of_the_path_is_believed_of_the_next() {
    let path = Some(path::Config::default());
    let mut pair = Pair::with(|_| {}, Tuning::default(), path).opened();
    let estimate = |pair: &mut Pair| {
        let session = pair.server.session();
        session.path(|path| path.estimate().bps()).unwrap()
    };
    pair.server
        .session()
        .path(|path| path.hear_of(Bitrate::from_kbps(4_000)));
    let before = estimate(&mut pair);
    pair.client_from = "10.9.9.9:1234".parse().unwrap();
    let stream = pair.client.session().open_uni(0);
    let data = Bytes::from_static(b"still me");
    pair.client.session().write(stream, data);
    pair.until(|pair| !pair.server.read.is_empty());
    assert_eq!(pair.server.session().peer(), pair.client_from);
    assert_eq!(estimate(&mut pair), before);
}

#[test]
fn a_path_of_our_own_decides_what_is_in_flight() {
    let path = Some(steady(1_600_000, 20_000));
    let mut pair = Pair::with(|_| {}, Tuning::default(), path);
    pair = pair.opened();
    let stream = pair.server.session().open_uni(0);
    let data = Bytes::from(vec![1; 200_000]);
    pair.server.session().write(stream, data);
    pair.server.session().finish(stream);
    let took = pair.until(|pair| {
        pair.client
            .read
            .values()
            .any(|(_, p)| *p == Progress::Ended)
    });
    // 1.6 Mbit/s over an empty path of 40 ms, and 70 ms more: 22,000 bytes may be on the way. Nine
    // such windows, a round trip each.
    assert!(took >= DELAY * 2 * 8, "{took:?}");
    let window = pair.server.session().path(|path| path.window()).unwrap();
    assert!((20_000..25_000).contains(&window), "{window}");
}

#[test]
fn packets_say_which_shard_they_are_for() {
    let mut pair = Pair::open();
    pair.wire.clear();
    let stream = pair.client.session().open_uni(0);
    pair.client
        .session()
        .write(stream, Bytes::from_static(b"x"));
    pair.transmit();
    let to_server: Vec<_> = pair
        .wire
        .iter()
        .filter(|(_, to, _)| *to == SERVER)
        .collect();
    assert!(!to_server.is_empty());
    for (_, _, received) in to_server {
        assert_eq!(received.shard(), Some(3));
    }
}

#[test]
fn a_full_house_refuses_and_a_draining_one_too() {
    for drains in [true, false] {
        let mut pair = Pair::with(
            |config| config.limits.per_address = usize::from(drains),
            Tuning::default(),
            None,
        );
        if drains {
            pair.server.endpoint.drain();
        }
        let took = pair.until(|pair| pair.client.closed().is_some());
        assert_eq!(took, DELAY * 2);
        assert_eq!(pair.server.endpoint.connections(), 0);
    }
    // Above a threshold peers prove their address first, which costs them a round trip.
    let mut pair = Pair::with(|c| c.limits.retry_above = 0, Tuning::default(), None);
    let took = pair.until(|pair| pair.server.key.is_some());
    assert_eq!(took, DELAY * 5);
}

#[test]
fn an_endpoint_that_closes_tells_its_peers() {
    let mut pair = Pair::open();
    let now = pair.now;
    pair.server.endpoint.close(now);
    pair.until(|pair| pair.client.closed().is_some());
    assert_eq!(pair.client.closed().unwrap().by, ClosedBy::Peer);
    pair.until(|pair| pair.server.endpoint.connections() == 0);
}

#[test]
fn one_who_never_reads_is_told_of_the_end() {
    let tuning = Tuning {
        stream_window: 16 << 10,
        receive_window: 32 << 10,
        ..Tuning::default()
    };
    let mut pair = Pair::with(|_| {}, tuning, None).opened();
    pair.client.reads = false;
    for _ in 0..4 {
        let stream = pair.server.session().open_uni(0);
        let session = pair.server.session();
        session.write(stream, Bytes::from(vec![1; 100_000]));
    }
    pair.pass(Duration::from_secs(1));
    let now = pair.now;
    pair.server.session().close(now, 506, "slow");
    pair.until(|pair| pair.client.closed().is_some());
    let told = pair.client.closed().unwrap();
    assert_eq!((told.code, told.by), (506, ClosedBy::Peer));
}

#[test]
fn a_write_of_which_a_part_is_taken_goes_on() {
    let tuning = Tuning {
        stream_window: 64 << 10,
        receive_window: 32 << 10,
        ..Tuning::default()
    };
    let mut pair = Pair::with(|_| {}, tuning, None).opened();
    // The connection's window cuts the write, not the stream's.
    let stream = pair.server.session().open_uni(0);
    let session = pair.server.session();
    let taken = session.write(stream, Bytes::from(vec![1; 300_000]));
    assert!(taken > 0 && taken < 64 << 10, "{taken}");
    pair.server.session().finish(stream);
    pair.until(|pair| {
        pair.client
            .read
            .values()
            .any(|(all, p)| all.len() == 300_000 && *p == Progress::Ended)
    });
}
