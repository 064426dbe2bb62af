//! Who may start a handshake: pure counting, no socket.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::server::Limits;

/// What to do with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admit,
    /// Make it prove its address first (RFC 9000 §8.1.2).
    Retry,
    Refuse,
}

/// Counts of what is open.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: Limits,
    handshakes: usize,
    connections: BTreeMap<IpAddr, usize>,
}

impl Admission {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            handshakes: 0,
            connections: BTreeMap::new(),
        }
    }

    /// Judges a new connection and, if admitted, counts it as a handshake of its address.
    pub(crate) fn arrive(&mut self, from: IpAddr, validated: bool) -> Verdict {
        let held = self.connections.get(&key(from)).copied().unwrap_or(0);
        if self.handshakes >= self.limits.handshakes || held >= self.limits.per_address {
            return Verdict::Refuse;
        }
        if !validated && self.handshakes >= self.limits.retry_above {
            return Verdict::Retry;
        }
        self.handshakes += 1;
        self.connections.insert(key(from), held + 1);
        Verdict::Admit
    }

    /// An admitted connection finished its handshake or failed in it.
    pub(crate) fn shook(&mut self) {
        self.handshakes = self.handshakes.saturating_sub(1);
    }

    /// An admitted connection is gone.
    pub(crate) fn left(&mut self, from: IpAddr) {
        let key = key(from);
        match self.connections.get_mut(&key) {
            Some(n) if *n > 1 => *n -= 1,
            _ => {
                self.connections.remove(&key);
            }
        }
    }
}

/// An IPv6 subscriber holds a whole /64.
fn key(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            handshakes: 4,
            retry_above: 2,
            per_address: 3,
            ..Limits::default()
        }
    }

    #[test]
    fn retry_then_refuse_as_handshakes_pile_up() {
        let mut a = Admission::new(limits());
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        assert_eq!(a.arrive(ip(1), false), Verdict::Admit);
        assert_eq!(a.arrive(ip(2), false), Verdict::Admit);
        assert_eq!(a.arrive(ip(3), false), Verdict::Retry);
        assert_eq!(a.arrive(ip(3), true), Verdict::Admit);
        assert_eq!(a.arrive(ip(4), true), Verdict::Admit);
        assert_eq!(a.arrive(ip(5), true), Verdict::Refuse);
        a.shook();
        assert_eq!(a.arrive(ip(5), true), Verdict::Admit);
    }

    #[test]
    fn an_address_is_capped_until_one_of_its_connections_leaves() {
        let mut a = Admission::new(limits());
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::3"] {
            assert_eq!(a.arrive(ip(host), true), Verdict::Admit);
            a.shook();
        }
        assert_eq!(a.arrive(ip("2001:db8::4"), true), Verdict::Refuse);
        assert_eq!(a.arrive(ip("2001:db8:0:1::4"), true), Verdict::Admit);
        a.shook();
        a.left(ip("2001:db8::1"));
        assert_eq!(a.arrive(ip("2001:db8::4"), true), Verdict::Admit);
    }
}
