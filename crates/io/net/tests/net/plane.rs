//! Shards on real sockets.

use std::net::UdpSocket;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use darktower_net::plane::{App, Io, Plane};
use darktower_net::wt::{Calling, Endpoint, Event, Progress, Received, Serving, SessionKey};

use crate::*;

/// Accepts everybody, says on which shard they are, and answers each stream with what came on it.
struct Echo;

/// Makes a shard ask another to answer.
struct Ask(tokio::sync::mpsc::UnboundedSender<(usize, usize)>, usize);

impl App for Echo {
    type Message = Ask;

    fn event(&mut self, io: &mut Io<'_, Ask>, key: SessionKey, event: Event) {
        let (now, shard) = (io.now(), io.shard() as u8);
        let Some(session) = io.session(key) else {
            return;
        };
        match event {
            Event::Requested(_) => session.accept(),
            Event::Stream { stream, .. } | Event::Readable(stream) => {
                let mut got = BytesMut::new();
                let progress = session.read(stream, |bytes| got.extend_from_slice(&bytes));
                assert_ne!(progress, Progress::Reset(None));
                if !got.is_empty() {
                    let back = session.open_uni(0);
                    session.write(back, Bytes::from(vec![shard]));
                    session.write(back, got.freeze());
                    session.finish(back);
                }
            }
            Event::Datagram(bytes) if bytes.ends_with(b"close") => session.close(now, 7, "asked"),
            _ => {}
        }
    }

    fn message(&mut self, io: &mut Io<'_, Ask>, Ask(answer, hops): Ask) {
        let here = io.shard();
        if hops == 0 {
            answer.send((here, io.shards())).unwrap();
        } else {
            let next = (here + 1) % io.shards();
            assert!(io.offer(next, Ask(answer, hops - 1)).is_ok());
        }
    }

    fn settle(&mut self, _: &mut Io<'_, Ask>) {}

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// A client on a socket that it can leave for another.
struct Caller {
    endpoint: Endpoint,
    socket: UdpSocket,
    to: SocketAddr,
    key: SessionKey,
}

impl Caller {
    fn new(certs: &Certs, to: SocketAddr) -> Self {
        let calling = Calling::new(ServerTrust::Hashes(certs.hashes()), &Tuning::default());
        let mut endpoint = calling.unwrap().endpoint().unwrap();
        let target = url(to, "/");
        let key = endpoint
            .connect(Instant::now(), to, &target, Default::default())
            .unwrap();
        let socket = UdpSocket::bind(ANY).unwrap();
        Self {
            endpoint,
            socket,
            to,
            key,
        }
    }

    /// Lets things happen until one of them is what is waited for.
    fn until<T>(&mut self, mut found: impl FnMut(&mut Endpoint, Event) -> Option<T>) -> T {
        let late = Instant::now() + Duration::from_secs(10);
        let mut buffer = Vec::new();
        let mut datagram = [0; 65536];
        loop {
            let now = Instant::now();
            assert!(now < late, "not within 10 s");
            self.endpoint.timeout(now);
            while let Some((_, event)) = self.endpoint.poll(now) {
                if let Some(found) = found(&mut self.endpoint, event) {
                    return found;
                }
            }
            buffer.clear();
            while self.endpoint.poll_transmit(now, 1, &mut buffer).is_some() {
                self.socket.send_to(&buffer, self.to).unwrap();
                buffer.clear();
            }
            let wait = self.endpoint.deadline().map_or(late, |at| at.min(late));
            let wait = wait.saturating_duration_since(now);
            let wait = wait.max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(wait)).unwrap();
            if let Ok((len, from)) = self.socket.recv_from(&mut datagram) {
                let received = Received {
                    from,
                    to: None,
                    ecn: None,
                    payload: BytesMut::from(&datagram[..len]),
                };
                self.endpoint.receive(Instant::now(), received);
            }
        }
    }

    /// What comes back for something that is said, and from which shard.
    fn echo(&mut self, said: &'static [u8]) -> u8 {
        let key = self.key;
        let session = self.endpoint.session(key).unwrap();
        let stream = session.open_uni(0);
        session.write(stream, Bytes::from_static(said));
        session.finish(stream);
        let mut all = Vec::new();
        self.until(|endpoint, event| {
            let (Event::Stream { stream, .. } | Event::Readable(stream)) = event else {
                return None;
            };
            let session = endpoint.session(key).unwrap();
            let progress = session.read(stream, |bytes| all.extend_from_slice(&bytes));
            (progress == Progress::Ended).then_some(())
        });
        assert_eq!(&all[1..], said);
        all[0]
    }
}

fn plane(certs: &Certs, shards: usize) -> Plane<Ask> {
    let serving = Serving::new(&Config::new(ANY, certs.clone())).unwrap();
    Plane::start("test", ANY, shards, &serving, |_| Echo).unwrap()
}

#[test]
fn a_peer_that_moves_stays_on_its_shard() {
    let certs = certs();
    let plane = plane(&certs, 4);
    let mut caller = Caller::new(&certs, plane.addr());
    caller.until(|_, event| matches!(event, Event::Opened).then_some(()));
    let home = caller.echo(b"hello");
    // The kernel spreads ports over sockets: among so many, most go to another than ours.
    for _ in 0..12 {
        caller.socket = UdpSocket::bind(ANY).unwrap();
        assert_eq!(caller.echo(b"still me"), home);
    }
    plane.stop();
    let reason = caller.until(|_, event| match event {
        Event::Closed(reason) => Some(reason),
        _ => None,
    });
    assert_eq!(reason.by, darktower_net::ClosedBy::Peer);
}

#[test]
fn many_peers_are_spread_over_all_shards() {
    let certs = certs();
    let plane = plane(&certs, 2);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let mut caller = Caller::new(&certs, plane.addr());
        caller.until(|_, event| matches!(event, Event::Opened).then_some(()));
        seen.insert(caller.echo(b"hello"));
        let session = caller.endpoint.session(caller.key).unwrap();
        session.send_datagram(b"close").unwrap();
        let reason = caller.until(|_, event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        });
        assert_eq!(reason.code, 7);
        if seen.len() == 2 {
            break;
        }
    }
    assert_eq!(seen.len(), 2);
    plane.stop();
}

#[tokio::test]
async fn shards_are_told_things_and_tell_one_another() {
    let plane = plane(&certs(), 3);
    let (answer, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for round in 0..100 {
        let from = round % 3;
        let ask = Ask(answer.clone(), round);
        assert!(plane.inlets()[from].send(ask).await.is_ok());
        let heard = soon("an answer", answers.recv()).await;
        assert_eq!(heard, Some(((from + round) % 3, 3)));
    }
    let inlet = plane.inlets()[0].clone();
    let stopping = tokio::task::spawn_blocking(move || plane.stop());
    soon("the stop", stopping).await.unwrap();
    assert!(inlet.send(Ask(answer, 0)).await.is_err());
}

#[test]
fn a_port_that_is_taken_is_not_shared() {
    let certs = certs();
    let plane = plane(&certs, 2);
    let serving = Serving::new(&Config::new(ANY, certs)).unwrap();
    let second = Plane::start("second", plane.addr(), 2, &serving, |_| Echo);
    assert!(second.is_err());
}
