//! What goes to one participant, written out.
//!
//! How much may wait at all, and what becomes stale, `darktower_media::Egress` decides; here each of its decisions
//! has its effect on the session's streams.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use darktower_media::Bitrate;
use darktower_media::egress::{Config, Egress, Input, Output};
use darktower_media::forwarder::Delivery;
use darktower_media::path::{Loss, redundancy};
use darktower_net::DatagramError;
use darktower_net::wt::{Session, StreamId};
use darktower_wire::Code;
use darktower_wire::ids::TrackId;
use darktower_wire::media::STREAM_GROUP;

use crate::measure::Tally;
use crate::packet::Packet;
use crate::{Direction, Shared, measure};

/// Puts a group stream's type in front.
const GROUP_FRONT: Bytes = Bytes::from_static(&[STREAM_GROUP]);

/// The writing side of a session.
pub(crate) struct Outgoing {
    core: Egress<Packet>,
    /// The core's streams, and the session's names for them.
    streams: BTreeMap<u64, Stream>,
    names: BTreeMap<StreamId, u64>,
    /// Finished, and until when they must have been delivered; oldest first.
    finished: VecDeque<(Duration, StreamId)>,
}

/// A group on its way.
struct Stream {
    id: StreamId,
    /// Frames that the connection has not taken whole: their sizes, oldest first, and what it has taken of them. Only
    /// whole ones count as taken: a window's worth of each new group goes to one who never reads as well.
    waiting: VecDeque<usize>,
    taken: usize,
    /// Bytes of the group's own front that have not been taken.
    front: usize,
}

impl Stream {
    /// The connection has taken bytes. Returns those of frames that are now whole.
    fn drained(&mut self, bytes: usize) -> usize {
        let front = self.front.min(bytes);
        self.front -= front;
        self.taken += bytes - front;
        let mut whole = 0;
        while let Some(&size) = self.waiting.front()
            && size <= self.taken
        {
            self.waiting.pop_front();
            self.taken -= size;
            whole += size;
        }
        whole
    }
}

impl Outgoing {
    pub(crate) fn new(shared: &Shared, layers_together: bool) -> Self {
        let config = Config {
            patience: shared.config.reader_patience,
            layers_together,
            ..Config::default()
        };
        Self {
            core: Egress::new(config),
            streams: BTreeMap::new(),
            names: BTreeMap::new(),
            finished: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, now: Duration, delivery: Delivery<Packet>) {
        let Delivery {
            kind,
            header,
            payload,
            ..
        } = delivery;
        self.core.push(now, kind, &header, payload);
    }

    /// What is believed of the path.
    pub(crate) fn path(&mut self, estimate: Bitrate, loss: Loss) {
        self.core.estimate(estimate);
        self.core.redundancy(redundancy(loss));
    }

    /// No more of this track is forwarded.
    pub(crate) fn end(&mut self, now: Duration, track: TrackId) {
        self.core.handle(now, Input::End { track });
    }

    /// The connection has taken what had to wait.
    pub(crate) fn drained(&mut self, now: Duration, stream: StreamId, bytes: usize) {
        if let Some(&name) = self.names.get(&stream)
            && let Some(stream) = self.streams.get_mut(&name)
        {
            let (stream, bytes) = (name, stream.drained(bytes));
            self.core.handle(now, Input::Drained { stream, bytes });
        }
    }

    /// The participant wants no more of a stream.
    pub(crate) fn stopped(&mut self, now: Duration, stream: StreamId) {
        if let Some(stream) = self.forget(stream) {
            self.core.handle(now, Input::Stopped { stream });
        }
    }

    /// All of a finished stream has arrived.
    pub(crate) fn delivered(&mut self, stream: StreamId) {
        self.forget(stream);
    }

    fn forget(&mut self, stream: StreamId) -> Option<u64> {
        let name = self.names.remove(&stream)?;
        self.streams.remove(&name);
        Some(name)
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        let finished = self.finished.front().map(|(until, _)| *until);
        self.core.deadline().into_iter().chain(finished).min()
    }

    pub(crate) fn tick(&mut self, now: Duration, wt: &mut Session) {
        if self.core.deadline().is_some_and(|at| at <= now) {
            self.core.handle(now, Input::Tick);
        }
        // What QUIC still holds of a finished group is stale before long.
        while let Some(&(until, stream)) = self.finished.front()
            && until <= now
        {
            self.finished.pop_front();
            if self.forget(stream).is_some() {
                measure::group_reset();
                wt.reset(stream, Code::StaleGroup.number());
            }
        }
    }

    /// Performs what has been decided. An error is the session's end.
    pub(crate) fn perform(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &mut Session,
    ) -> Result<(), Code> {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Open { stream, priority } => {
                    let id = wt.open_uni(priority);
                    let front = GROUP_FRONT.len() - wt.write(id, GROUP_FRONT);
                    let opened = Stream {
                        id,
                        waiting: VecDeque::new(),
                        taken: 0,
                        front,
                    };
                    self.streams.insert(stream, opened);
                    self.names.insert(id, stream);
                }
                Output::Write { stream, payload } => {
                    let Some(opened) = self.streams.get_mut(&stream) else {
                        continue;
                    };
                    shared.tap(Direction::Egress, || payload.frame());
                    tally.forwarded(payload.frame_len());
                    let size = payload.whole().len();
                    let taken = wt.write(opened.id, payload.whole().clone());
                    let bytes = match taken == size && opened.waiting.is_empty() {
                        true => size,
                        false => {
                            opened.waiting.push_back(size);
                            opened.drained(taken)
                        }
                    };
                    if bytes > 0 {
                        self.core.handle(now, Input::Drained { stream, bytes });
                    }
                }
                Output::Finish { stream } => {
                    if let Some(opened) = self.streams.get(&stream) {
                        wt.finish(opened.id);
                        let until = now + shared.config.stream_patience;
                        self.finished.push_back((until, opened.id));
                    }
                }
                Output::Reset { stream, code } => {
                    measure::group_reset();
                    if let Some(opened) = self.streams.remove(&stream) {
                        self.names.remove(&opened.id);
                        wt.reset(opened.id, code.number());
                    }
                }
                Output::Datagram(payload) => datagram(shared, tally, wt, &payload),
                Output::Close(code) => return Err(code),
            }
        }
        Ok(())
    }
}

fn datagram(shared: &Shared, tally: &mut Tally, wt: &mut Session, payload: &Packet) {
    shared.tap(Direction::Egress, || payload.frame());
    let sent = match payload.front() == &wt.datagram_front()[..] {
        true => wt.send_fronted_datagram(payload.whole().clone()),
        false => wt.send_datagram(&payload.frame()),
    };
    match sent {
        Ok(()) => tally.forwarded(payload.frame_len()),
        Err(DatagramError::TooLarge) => measure::refused("datagram", Code::TooLarge),
        Err(DatagramError::Unsupported) => measure::refused("datagram", Code::Unsupported),
        // The session's end is noticed elsewhere.
        Err(DatagramError::Session(_)) => {}
    }
}
