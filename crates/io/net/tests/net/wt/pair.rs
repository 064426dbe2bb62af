//! Two ends, a link and a clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use darktower_media::{Bitrate, path};
use darktower_net::CloseReason;
use darktower_net::wt::{
    Calling, Endpoint, Event, Progress, Received, Serving, SessionKey, StreamId, Transmit,
};

use crate::*;

pub(super) const SERVER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 443);
pub(super) const CLIENT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 999);
pub(super) const DELAY: Duration = Duration::from_millis(20);

/// One end of a session: its endpoint, and what happened.
pub(super) struct End {
    pub(super) endpoint: Endpoint,
    pub(super) key: Option<SessionKey>,
    pub(super) events: Vec<Event>,
    /// What has been read of each stream, and how it ended.
    pub(super) read: BTreeMap<StreamId, (Vec<u8>, Progress)>,
    pub(super) reads: bool,
    pub(super) segments: usize,
}

impl End {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            key: None,
            events: Vec::new(),
            read: BTreeMap::new(),
            reads: true,
            segments: 40,
        }
    }

    pub(super) fn session(&mut self) -> &mut darktower_net::wt::Session {
        self.endpoint.session(self.key.unwrap()).unwrap()
    }

    pub(super) fn take_events(&mut self, now: Instant) {
        while let Some((key, event)) = self.endpoint.poll(now) {
            self.key = Some(key);
            match &event {
                Event::Stream { stream, .. } | Event::Readable(stream) if self.reads => {
                    let mut bytes = Vec::new();
                    let progress = self
                        .session()
                        .read(*stream, |chunk| bytes.extend_from_slice(&chunk));
                    let (all, last) = self
                        .read
                        .entry(*stream)
                        .or_insert((Vec::new(), Progress::Waits));
                    all.extend_from_slice(&bytes);
                    if progress != Progress::Gone {
                        *last = progress;
                    }
                }
                _ => {}
            }
            self.events.push(event);
        }
    }

    pub(super) fn closed(&self) -> Option<&CloseReason> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    pub(super) fn datagrams(&self) -> Vec<Bytes> {
        let datagrams = self.events.iter().filter_map(|event| match event {
            Event::Datagram(datagram) => Some(datagram.clone()),
            _ => None,
        });
        datagrams.collect()
    }
}

pub(super) struct Pair {
    pub(super) now: Instant,
    pub(super) server: End,
    pub(super) client: End,
    pub(super) wire: VecDeque<(Instant, SocketAddr, Received)>,
    /// Where the client's packets seem to come from.
    pub(super) client_from: SocketAddr,
    /// Of so many datagrams one is lost; 0: none.
    pub(super) lose: usize,
    pub(super) sent: usize,
    pub(super) transmits: usize,
    pub(super) cut: bool,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self::with(|_| {}, Tuning::default(), None)
    }

    pub(super) fn with(
        change: impl FnOnce(&mut Config),
        tuning: Tuning,
        path: Option<path::Config>,
    ) -> Self {
        let now = Instant::now();
        let certs = certs();
        let mut config = Config::new(SERVER, certs.clone());
        change(&mut config);
        let mut serving = Serving::new(&config).unwrap();
        if let Some(config) = path {
            serving = serving.with_paths(now, config);
        }
        let calling = Calling::new(ServerTrust::Hashes(certs.hashes()), &tuning).unwrap();
        let mut pair = Self {
            now,
            server: End::new(serving.endpoint(3).unwrap()),
            client: End::new(calling.endpoint().unwrap()),
            wire: VecDeque::new(),
            client_from: CLIENT,
            lose: 0,
            sent: 0,
            transmits: 0,
            cut: false,
        };
        let url = url(SERVER, "/v1/media?token=a%2Bb");
        let mut headers = ::http::HeaderMap::new();
        headers.insert("origin", "https://example.org".parse().unwrap());
        let key = pair.client.endpoint.connect(now, SERVER, &url, headers);
        pair.client.key = Some(key.unwrap());
        pair
    }

    /// Both ends of an open session.
    pub(super) fn open() -> Self {
        Self::new().opened()
    }

    pub(super) fn opened(mut self) -> Self {
        self.until(|pair| pair.server.key.is_some());
        self.server.session().accept();
        self.until(|pair| pair.client.session().is_open());
        self.server.events.clear();
        self.client.events.clear();
        self
    }

    pub(super) fn transmit(&mut self) {
        let mut buffer = Vec::new();
        for server in [true, false] {
            loop {
                let (end, other, from) = match server {
                    true => (&mut self.server, self.client_from, SERVER),
                    false => (&mut self.client, SERVER, self.client_from),
                };
                buffer.clear();
                let transmit = end
                    .endpoint
                    .poll_transmit(self.now, end.segments, &mut buffer);
                let Some(Transmit { len, segment, .. }) = transmit else {
                    break;
                };
                assert_eq!(len, buffer.len());
                self.transmits += 1;
                for datagram in buffer.chunks(segment.unwrap_or(len)) {
                    self.sent += 1;
                    if self.cut || (self.lose > 0 && self.sent.is_multiple_of(self.lose)) {
                        continue;
                    }
                    let received = Received {
                        from,
                        to: None,
                        ecn: None,
                        payload: BytesMut::from(datagram),
                    };
                    self.wire.push_back((self.now + DELAY, other, received));
                }
            }
        }
    }

    /// Lets happen what happens next; false if nothing ever will.
    pub(super) fn step(&mut self) -> bool {
        self.server.take_events(self.now);
        self.client.take_events(self.now);
        self.transmit();
        let arrives = self.wire.front().map(|(at, _, _)| *at);
        let next = [
            arrives,
            self.server.endpoint.deadline(),
            self.client.endpoint.deadline(),
        ];
        let Some(next) = next.into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.server.endpoint.timeout(self.now);
        self.client.endpoint.timeout(self.now);
        while let Some((at, _, _)) = self.wire.front()
            && *at <= self.now
        {
            let (_, to, received) = self.wire.pop_front().unwrap();
            match to == SERVER {
                true => self.server.endpoint.receive(self.now, received),
                false => self.client.endpoint.receive(self.now, received),
            }
        }
        self.server.take_events(self.now);
        self.client.take_events(self.now);
        true
    }

    /// Ten seconds at most of the link's own time.
    pub(super) fn until(&mut self, mut reached: impl FnMut(&mut Self) -> bool) -> Duration {
        let begun = self.now;
        while !reached(self) {
            let goes_on = self.step();
            assert!(goes_on || reached(self), "nothing happens any more");
            assert!(
                self.now < begun + Duration::from_secs(60),
                "not in time: {} and {} connections, {:?} and {:?}",
                self.server.endpoint.connections(),
                self.client.endpoint.connections(),
                self.server.endpoint.deadline().map(|at| at - self.now),
                self.client.endpoint.deadline().map(|at| at - self.now),
            );
        }
        self.now - begun
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until && self.step() {}
    }
}

/// A path of which nothing but this many bits a second is ever believed.
pub(super) fn steady(bps: u64, initial_window: u64) -> path::Config {
    let rate = Bitrate::from_bps(bps);
    path::Config {
        initial: rate,
        min: rate,
        max: rate,
        initial_window,
    }
}
