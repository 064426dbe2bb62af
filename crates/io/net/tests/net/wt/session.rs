//! What a session carries.

use bytes::Bytes;
use darktower_net::wt::{Event, Progress};
use darktower_net::{CloseReason, ClosedBy, DatagramError};

use super::pair::{CLIENT, DELAY, End, Pair, steady};
use crate::*;

#[test]
fn a_request_is_handed_up_and_answered() {
    let mut pair = Pair::new();
    let took = pair.until(|pair| pair.server.key.is_some());
    // SETTINGS in the server's first flight: CONNECT comes with the end of the handshake.
    assert_eq!(took, DELAY * 3);
    let Some(Event::Requested(request)) = pair.server.events.pop() else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(request.path(), "/v1/media");
    assert_eq!(request.parameter("token").as_deref(), Some("a+b"));
    assert_eq!(request.parameter("x"), None);
    assert_eq!(request.origin(), Some("https://example.org"));
    assert_eq!(request.peer(), CLIENT);
    assert!(!format!("{request:?}").contains("token"));
    // What the server says at once arrives with the answer.
    pair.server.session().accept();
    let stream = pair.server.session().open_uni(0);
    let taken = pair
        .server
        .session()
        .write(stream, Bytes::from_static(b"welcome"));
    assert_eq!(taken, 7);
    pair.server.session().finish(stream);
    let took = pair.until(|pair| !pair.client.read.is_empty());
    assert_eq!(took, DELAY);
    let opened = pair
        .client
        .events
        .iter()
        .position(|e| matches!(e, Event::Opened));
    assert_eq!(opened, Some(0));
    assert_eq!(
        pair.client.read.values().next(),
        Some(&(b"welcome".to_vec(), Progress::Ended))
    );
    pair.until(
        |pair| matches!(pair.server.events.last(), Some(Event::Delivered(id)) if *id == stream),
    );
}

#[test]
fn what_comes_while_others_keep_a_shard_busy_leaves_together() {
    const HOLD: Duration = Duration::from_millis(5);
    let mut pair = Pair::open();
    // Past the search for the path's MTU.
    pair.pass(Duration::from_secs(1));
    pair.transmit();
    pair.server.endpoint.set_hold(HOLD);
    let (begun, before) = (pair.now, pair.sent);
    for payload in [b"one", b"two"] {
        pair.server.session().send_datagram(payload).unwrap();
        pair.transmit();
        assert_eq!(pair.sent, before);
        pair.now += Duration::from_millis(2);
    }
    pair.until(|pair| pair.client.datagrams().len() == 2);
    assert_eq!(pair.now, begun + HOLD + DELAY);
    assert_eq!(pair.sent - before, 1);
}

#[test]
fn who_asks_to_come_in_does_not_wait_for_others() {
    let mut pair = Pair::new();
    pair.server.endpoint.set_hold(Duration::from_millis(5));
    let took = pair.until(|pair| pair.server.key.is_some());
    assert_eq!(took, DELAY * 3);
}

#[test]
fn a_refused_client_reads_the_status() {
    let mut pair = Pair::new();
    pair.until(|pair| pair.server.key.is_some());
    let now = pair.now;
    pair.server.session().refuse(now, 404);
    pair.until(|pair| {
        pair.client
            .events
            .iter()
            .any(|e| matches!(e, Event::Refused(404)))
    });
    pair.until(|pair| pair.server.endpoint.connections() == 0);
    assert_eq!(pair.server.closed().unwrap().by, ClosedBy::Here);
}

#[test]
fn streams_carry_bytes_both_ways_through_loss() {
    for lose in [0, 29] {
        let mut pair = Pair::open();
        pair.lose = lose;
        let sent: Vec<u8> = (0..2_000_000u32).map(|n| (n % 251) as u8).collect();
        let one = pair.server.session().open_uni(1);
        let two = pair.client.session().open_bi(1);
        let mut waiting = [0, 0];
        for part in sent.chunks(70_001) {
            let part = Bytes::copy_from_slice(part);
            waiting[0] += part.len() - pair.server.session().write(one, part.clone());
            waiting[1] += part.len() - pair.client.session().write(two, part);
        }
        pair.server.session().finish(one);
        pair.client.session().finish(two);
        let ended = |end: &End| end.read.values().any(|(_, p)| *p == Progress::Ended);
        pair.until(|pair| ended(&pair.server) && ended(&pair.client));
        for end in [&pair.server, &pair.client] {
            assert!(end.read.values().any(|(all, _)| *all == sent));
        }
        for (end, waiting) in [&pair.server, &pair.client].into_iter().zip(waiting) {
            let drained = end.events.iter().filter_map(|event| match event {
                Event::Drained { bytes, .. } => Some(*bytes),
                _ => None,
            });
            assert_eq!(drained.sum::<usize>(), waiting);
        }
        // Answered on the stream that it opened.
        let answered = pair.server.events.iter().find_map(|event| match event {
            Event::Stream {
                stream,
                bidirectional: true,
            } => Some(*stream),
            _ => None,
        });
        let answered = answered.unwrap();
        pair.server
            .session()
            .write(answered, Bytes::from_static(b"pong"));
        pair.server.session().finish(answered);
        pair.until(|pair| {
            pair.client
                .read
                .get(&two)
                .is_some_and(|(all, _)| all == b"pong")
        });
    }
}

#[test]
fn many_segments_leave_at_once() {
    let path = Some(steady(500_000_000, 10 << 20));
    let mut pair = Pair::with(|_| {}, Tuning::default(), path).opened();
    // Past the search for the path's MTU.
    pair.pass(Duration::from_secs(1));
    let before = (pair.transmits, pair.sent);
    let stream = pair.server.session().open_uni(0);
    pair.server
        .session()
        .write(stream, Bytes::from(vec![1; 40_000]));
    pair.transmit();
    let (transmits, datagrams) = (pair.transmits - before.0, pair.sent - before.1);
    assert!(datagrams >= 27, "{datagrams} datagrams");
    assert!(
        transmits <= 2,
        "{transmits} transmits for {datagrams} datagrams"
    );
}

#[test]
fn datagrams_go_on_without_a_copy() {
    let mut pair = Pair::open();
    let max = pair.client.session().max_datagram_size();
    assert!(max > 1000);
    pair.client.session().send_datagram(&vec![5; max]).unwrap();
    assert_eq!(
        pair.client.session().send_datagram(&vec![5; max + 1000]),
        Err(DatagramError::TooLarge)
    );
    pair.until(|pair| !pair.server.datagrams().is_empty());
    let got = pair.server.datagrams().remove(0);
    let front = pair.server.session().datagram_front().clone();
    assert_eq!(got.len(), front.len() + max);
    assert!(got.starts_with(&front));
    // As it came, on to where it goes.
    pair.server
        .session()
        .send_fronted_datagram(got.clone())
        .unwrap();
    pair.until(|pair| !pair.client.datagrams().is_empty());
    assert_eq!(pair.client.datagrams(), [got]);
}

#[test]
fn resets_and_stops_keep_their_codes() {
    // The edges of the ranges that WebTransport codes are mapped into.
    for code in [0, 1, 29, 30, 31, 77, u32::MAX] {
        let mut pair = Pair::open();
        let one = pair.server.session().open_uni(0);
        let two = pair.server.session().open_uni(0);
        for stream in [one, two] {
            pair.server
                .session()
                .write(stream, Bytes::from_static(b"half"));
        }
        pair.until(|pair| pair.client.read.len() == 2);
        pair.server.session().reset(one, code);
        let mut there: Vec<_> = pair.client.read.keys().copied().collect();
        there.sort();
        pair.client.session().stop(there[1], code);
        pair.until(|pair| {
            pair.client
                .read
                .values()
                .any(|(_, p)| *p == Progress::Reset(Some(code)))
        });
        pair.until(|pair| {
            pair.server.events.iter().any(
                |e| matches!(e, Event::Stopped { stream, code: Some(c) } if *stream == two && *c == code),
            )
        });
        // Nothing happens on a stream that is over.
        assert_eq!(
            pair.server
                .session()
                .write(two, Bytes::from_static(b"more")),
            0
        );
        pair.server.session().finish(one);
        pair.server.session().reset(two, 3);
    }
}

#[test]
fn a_close_tells_code_and_reason_both_ways() {
    for server_closes in [true, false] {
        for code in [0, 4242, u32::MAX] {
            let mut pair = Pair::open();
            let now = pair.now;
            let closer = match server_closes {
                true => &mut pair.server,
                false => &mut pair.client,
            };
            // Whatever else waits does not hold it up.
            let stream = closer.session().open_uni(7);
            closer
                .session()
                .write(stream, Bytes::from(vec![1; 1 << 20]));
            closer.session().close(now, code, "bye");
            closer.session().close(now, 1, "too late");
            pair.until(|pair| pair.server.closed().is_some() && pair.client.closed().is_some());
            let (here, there) = match server_closes {
                true => (&pair.server, &pair.client),
                false => (&pair.client, &pair.server),
            };
            let told = |by| CloseReason {
                code,
                reason: "bye".into(),
                by,
            };
            assert_eq!(here.closed(), Some(&told(ClosedBy::Here)));
            assert_eq!(there.closed(), Some(&told(ClosedBy::Peer)));
            pair.until(|pair| {
                pair.server.endpoint.connections() + pair.client.endpoint.connections() == 0
            });
        }
    }
}
