//! A queue that marks.

use std::time::Duration;

use super::{Discipline, Link};
use crate::{Conditions, Queue};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A packet that says whether its sender understands marks, and whether it bears one.
type Marked = (u64, bool, bool);

fn mark(packet: &mut Marked) -> bool {
    packet.2 = packet.1;
    packet.1
}

/// 10 ms a packet, marks above 20 ms, room for 100.
fn marking() -> Link<Marked> {
    let conditions = Conditions {
        rate_bps: Some(1_000_000),
        queue: Queue::Time(ms(100)),
        mark_above: Some(ms(20)),
        ..Conditions::default()
    };
    Link::new(Discipline::Datagram, conditions, 7).with_marks(mark)
}

fn numbers(link: &mut Link<Marked>, until: Duration) -> Vec<(u64, bool)> {
    std::iter::from_fn(|| link.poll(until))
        .map(|(number, _, marked)| (number, marked))
        .collect()
}

#[test]
fn a_long_queue_marks_what_would_wait_longer_and_drops_nothing() {
    let mut link = marking();
    for packet in 1..=5 {
        link.send(ms(0), 1250, (packet, true, false));
    }
    // Whoever finds 30 ms or more.
    let all = [(1, false), (2, false), (3, false), (4, true), (5, true)];
    assert_eq!(numbers(&mut link, ms(100)), all);
    let counters = link.counters();
    assert_eq!((counters.marked, counters.overflowed), (2, 0));
    // Short again, it marks no more.
    link.send(ms(200), 1250, (6, true, false));
    assert_eq!(numbers(&mut link, ms(300)), [(6, false)]);
}

#[test]
fn a_long_queue_drops_what_cannot_be_marked_and_a_full_one_everything() {
    let mut link = marking();
    for packet in 1..=20 {
        link.send(ms(0), 1250, (packet, packet % 2 == 0, false));
    }
    let got = numbers(&mut link, ms(1000));
    let all: Vec<_> = got.iter().map(|(number, _)| *number).collect();
    // The fourth and all even ones after it bear a mark, until 110 ms wait.
    assert_eq!(all, [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18]);
    assert!(got.iter().all(|(number, marked)| *marked == (*number > 3)));
    let counters = link.counters();
    assert_eq!((counters.marked, counters.overflowed), (8, 9));
}
