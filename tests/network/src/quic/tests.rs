use std::time::Duration;

use bytes::Bytes;
use darktower_link::{Conditions, Discipline, Link};

use super::*;

struct Pair {
    now: Duration,
    client: End,
    server: End,
    up: Link<Bytes>,
    down: Link<Bytes>,
}

impl Pair {
    fn new(conditions: Conditions) -> Self {
        let (clock, now) = (Clock::new(), Duration::ZERO);
        let configs = Configs::new().unwrap();
        let client = configs.client(&Congestion::Cubic, 1 << 20);
        Self {
            now,
            client: End::client(clock, now, 1, client).unwrap(),
            server: End::server(clock, 2, configs.server(&Congestion::Cubic)),
            up: Link::new(Discipline::Datagram, conditions, 3),
            down: Link::new(Discipline::Datagram, conditions, 4),
        }
    }

    /// Runs until `enough` of what the server heard, or for ten seconds.
    fn run(&mut self, mut enough: impl FnMut(&Heard) -> bool) -> Duration {
        while self.now < Duration::from_secs(10) {
            self.now += Duration::from_millis(1);
            let now = self.now;
            while let Some(packet) = self.up.poll(now) {
                self.server.receive(now, None, &packet).unwrap();
            }
            while let Some(packet) = self.down.poll(now) {
                self.client.receive(now, None, &packet).unwrap();
            }
            self.client.settle(now);
            self.server.settle(now);
            for (_, packet) in self.client.transmit(now) {
                self.up.send(now, packet.len(), packet);
            }
            for (_, packet) in self.server.transmit(now) {
                self.down.send(now, packet.len(), packet);
            }
            while self.client.heard().is_some() {}
            while let Some(heard) = self.server.heard() {
                if enough(&heard) {
                    return now;
                }
            }
        }
        panic!("not within ten seconds");
    }
}

#[test]
fn a_stream_takes_the_time_that_the_link_needs() {
    let mut pair = Pair::new(Conditions {
        rate_bps: Some(1_000_000),
        ..Conditions::delayed(Duration::from_millis(20))
    });
    let connected = pair.run(|heard| matches!(heard, Heard::Connected { .. }));
    pair.client.open(Stream(0), 1);
    pair.client
        .write(Stream(0), Bytes::from(vec![7; 125_000]), 125_000);
    pair.client.finish(Stream(0));
    let mut bytes = 0;
    let done = pair.run(|heard| match heard {
        Heard::Data {
            bytes: some, fin, ..
        } => {
            bytes += some.len();
            *fin
        }
        _ => false,
    });
    assert_eq!(bytes, 125_000);
    // A second for the bytes, and no more than QUIC's headers and acknowledgements above it.
    let took = done - connected;
    let bounds = Duration::from_millis(1000)..Duration::from_millis(1250);
    assert!(bounds.contains(&took), "{took:?}");
}

#[test]
fn a_lossy_link_delivers_streams_whole_and_datagrams_in_part() {
    let loss = darktower_link::Loss::Random(0.1);
    let mut pair = Pair::new(Conditions {
        loss,
        ..Conditions::delayed(Duration::from_millis(20))
    });
    pair.run(|heard| matches!(heard, Heard::Connected { .. }));
    pair.client.open(Stream(0), 1);
    pair.client
        .write(Stream(0), Bytes::from(vec![7; 300_000]), 300_000);
    pair.client.finish(Stream(0));
    for _ in 0..100 {
        pair.client.datagram(Bytes::from_static(&[1; 100]));
    }
    let (mut bytes, mut datagrams) = (0, 0);
    pair.run(|heard| match heard {
        Heard::Data {
            bytes: some, fin, ..
        } => {
            bytes += some.len();
            *fin
        }
        Heard::Datagram(_) => {
            datagrams += 1;
            false
        }
        _ => false,
    });
    assert_eq!(bytes, 300_000);
    assert!((50..100).contains(&datagrams), "{datagrams}");
}
