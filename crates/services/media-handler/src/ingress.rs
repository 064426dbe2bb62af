//! What one participant sends, taken in: streams cut into frames, datagrams, and bounds on both.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use darktower_media::Kind;
use darktower_media::allowance::{Allowance, Check};
use darktower_media::arrivals::Arrivals;
use darktower_net::wt::{Progress, Session, StreamId};
use darktower_wire::Code;
use darktower_wire::datagram::Datagram;
use darktower_wire::media::{GroupDecoder, Header};

use crate::measure::Tally;
use crate::packet::Packet;
use crate::{Direction, Shared, measure};

/// Bytes of frames that are not whole yet, on all streams of a session.
const MAX_PARTIAL: usize = 8 * 1024 * 1024;
/// Streams that lied before the session is closed for it.
const MAX_LIES: usize = 64;

/// A frame to be forwarded.
pub(crate) struct Taken {
    pub(crate) kind: Kind,
    pub(crate) header: Header,
    pub(crate) packet: Packet,
}

/// A stream that carries a group.
#[derive(Default)]
struct Group {
    decoder: GroupDecoder,
    /// Since when a frame, or the first one, has not been whole.
    since: Option<Duration>,
}

/// The reading side of a session.
pub(crate) struct Ingress {
    groups: BTreeMap<StreamId, Group>,
    partial: usize,
    lies: usize,
    allowance: Allowance,
    /// What the participant is told of it.
    pub(crate) arrivals: Arrivals,
    /// Streams that are read again once the allowance permits it.
    paused: Vec<StreamId>,
    /// When something may have waited too long, or may be read again.
    look: Option<Duration>,
}

impl Ingress {
    pub(crate) fn new(now: Duration, shared: &Shared) -> Self {
        Self {
            groups: BTreeMap::new(),
            partial: 0,
            lies: 0,
            allowance: Allowance::new(
                now,
                shared.config.publish_bytes_per_second,
                shared.config.rate_patience,
            ),
            arrivals: Arrivals::new(),
            paused: Vec::new(),
            look: None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.look
    }

    /// The participant has opened a stream: a group, as every one in one direction is. QUIC bounds how many are open.
    pub(crate) fn opened(&mut self, now: Duration, stream: StreamId) {
        let since = Some(now);
        let group = Group {
            since,
            ..Group::default()
        };
        self.groups.insert(stream, group);
    }

    /// Whether more may be taken in now. An error is the session's end.
    fn permits(&mut self, now: Duration) -> Result<bool, Code> {
        match self.allowance.check(now) {
            Check::Left => return Ok(true),
            Check::JustOver => measure::refused("publisher", Code::RateLimited),
            Check::Over => {}
            Check::OverTooLong => return Err(Code::RateLimited),
        }
        self.look_at(self.allowance.refilled(now));
        Ok(false)
    }

    fn look_at(&mut self, at: Duration) {
        self.look = Some(self.look.map_or(at, |look| look.min(at)));
    }

    /// What a control message costs.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.allowance.spend(bytes);
    }

    /// Reads a group. What is wrong with the stream alone ends the stream alone; an error is the session's end.
    pub(crate) fn read(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        wt: &mut Session,
        stream: StreamId,
        taken: &mut Vec<Taken>,
    ) -> Result<(), Code> {
        if !self.groups.contains_key(&stream) {
            return Ok(());
        }
        // Not to read makes the sender wait, and costs nobody else anything.
        if !self.permits(now)? {
            if !self.paused.contains(&stream) {
                self.paused.push(stream);
            }
            return Ok(());
        }
        let Some(group) = self.groups.get_mut(&stream) else {
            return Ok(());
        };
        let before = group.decoder.pending();
        let (allowance, arrivals) = (&mut self.allowance, &mut self.arrivals);
        let progress = wt.read(stream, |chunk| {
            shared.tap(Direction::Ingress, || chunk.clone());
            allowance.spend(chunk.len());
            arrivals.piece(now, chunk.len());
            group.decoder.push(&chunk);
        });
        let refused = loop {
            match group.decoder.next_frame() {
                Ok(None) => break None,
                Ok(Some(frame)) => {
                    arrivals.frame(now, &frame.header);
                    tally.received(frame.bytes.len());
                    group.since = None;
                    taken.push(Taken {
                        kind: Kind::Video,
                        header: frame.header,
                        packet: Packet::entry(&frame),
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a stream lies");
                    break Some(Code::BadFrameHeader);
                }
            }
        };
        if let Some(header) = group.decoder.partial() {
            arrivals.frame(now, &header);
        }
        let after = group.decoder.pending();
        self.partial = self.partial + after - before;
        // Between frames a picture may stand still for as long as it likes.
        if after > 0 && group.since.is_none() {
            group.since = Some(now);
        }
        if group.since.is_some() {
            self.look_at(now + shared.config.stream_patience);
        }
        let cut = progress == Progress::Ended && after > 0;
        let refused = refused
            .or(cut.then_some(Code::BadFrameHeader))
            .or((self.partial > MAX_PARTIAL).then_some(Code::TooLarge));
        if let Some(code) = refused {
            return self.refuse(wt, stream, code);
        }
        if progress != Progress::Waits {
            // Whole, or a stale group, taken back by its publisher.
            self.forget(stream);
        }
        Ok(())
    }

    fn forget(&mut self, stream: StreamId) {
        if let Some(group) = self.groups.remove(&stream) {
            self.partial -= group.decoder.pending();
        }
        self.paused.retain(|paused| *paused != stream);
    }

    fn refuse(&mut self, wt: &mut Session, stream: StreamId, code: Code) -> Result<(), Code> {
        self.forget(stream);
        wt.stop(stream, code.number());
        measure::refused("stream", code);
        tracing::debug!(code = code.name(), "stream stopped");
        if code == Code::BadFrameHeader || code == Code::TooLarge {
            self.lies += 1;
            if self.lies >= MAX_LIES {
                return Err(Code::BadFrameHeader);
            }
        }
        Ok(())
    }

    /// A datagram, with a front of so many bytes. An error is the session's end.
    pub(crate) fn datagram(
        &mut self,
        now: Duration,
        shared: &Shared,
        tally: &mut Tally,
        (bytes, front): (Bytes, usize),
        taken: &mut Vec<Taken>,
    ) -> Result<(), Code> {
        if !self.permits(now)? {
            return Ok(());
        }
        self.allowance.spend(bytes.len());
        shared.tap(Direction::Ingress, || bytes.slice(front..));
        let datagram = match Datagram::parse(bytes.slice(front..)) {
            Ok(datagram) => datagram,
            Err(_) => {
                measure::refused("datagram", Code::BadFrameHeader);
                return Ok(());
            }
        };
        self.arrivals.datagram(now, &datagram);
        let mut take = |header, packet: Packet| {
            tally.received(packet.frame_len());
            let kind = Kind::Audio;
            taken.push(Taken {
                kind,
                header,
                packet,
            });
        };
        match datagram {
            Datagram::Frame(frame) => take(frame.header, Packet::datagram(bytes, front)),
            datagram => {
                for frame in datagram.into_frames() {
                    take(frame.header, Packet::fronted(&bytes[..front], &frame.bytes));
                }
            }
        }
        Ok(())
    }

    /// Stops streams that have waited too long for the rest of a frame; returns those to be read again.
    pub(crate) fn tick(
        &mut self,
        now: Duration,
        shared: &Shared,
        wt: &mut Session,
    ) -> Result<Vec<StreamId>, Code> {
        if self.look.is_none_or(|at| now < at) {
            return Ok(Vec::new());
        }
        self.look = None;
        let patience = shared.config.stream_patience;
        let mut late = Vec::new();
        for (&stream, group) in &self.groups {
            let Some(since) = group.since else { continue };
            match now >= since + patience {
                true => late.push(stream),
                false => self.look = Some(self.look.unwrap_or(Duration::MAX).min(since + patience)),
            }
        }
        for stream in late {
            self.refuse(wt, stream, Code::TimedOut)?;
        }
        Ok(std::mem::take(&mut self.paused))
    }
}
