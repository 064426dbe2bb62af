//! One participant: says Hello, sends what it has to send, checks and counts what comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use darktower_media::Kind;
use darktower_net::wt::{Progress, Session, StreamId};
use darktower_wire::datagram::Datagram;
use darktower_wire::framing;
use darktower_wire::ids::TrackId;
use darktower_wire::media::{
    Frame, GroupDecoder, Header, MAX_FRAME, STREAM_GROUP, put_entry_length,
};
use darktower_wire::media_control::{
    ClientControl, Demand, Hello, ServerControl, View, client_control, server_control,
};

use super::abuse::{self, Abuse};
use super::scene::{Member, Track};
use super::stamp::{self, Stamp};
use super::tally::{Faults, Seen, Tally};

/// Frames from key frame to key frame: two seconds of a camera.
const GROUP: u64 = 60;
/// Group numbers begin at the tenths of a second since 2026-01-01 (docs/protocol/media.md).
const EPOCH_2026_S: u64 = 1_767_225_600;
/// Periods of which frames may still come.
const KEPT: u32 = 16;

/// All that the participants of one thread have counted.
pub(super) struct Ledger {
    pub(super) origin: Instant,
    pub(super) period: u32,
    pub(super) periods: BTreeMap<u32, Tally>,
    /// Whole video and audio frames received, whenever they were sent.
    pub(super) whole: [u64; 2],
    pub(super) faults: Faults,
    /// Why sessions ended, as far as anybody will read on.
    pub(super) endings: Vec<String>,
}

impl Ledger {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            period: 0,
            periods: BTreeMap::new(),
            whole: [0; 2],
            faults: Faults::default(),
            endings: Vec::new(),
        }
    }

    /// Frames sent from now on belong to this period.
    pub(super) fn begin(&mut self, period: u32) {
        self.period = period;
        self.periods.retain(|it, _| it + KEPT > period);
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The tracks of a meeting.
pub(super) type Known = BTreeMap<TrackId, Track>;

/// A group that is being received.
#[derive(Default)]
struct Group {
    decoder: GroupDecoder,
    last: Option<u64>,
}

/// A track that is being sent.
struct Sending {
    track: Track,
    sequence: u64,
    group: u64,
    number: u64,
    stream: Option<StreamId>,
    key_wanted: bool,
}

/// What has become of a participant's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing in particular.
    Nothing,
    /// The handler has said Welcome.
    Welcome,
}

pub(super) struct Participant {
    pub(super) member: Member,
    known: Arc<Known>,
    sending: Vec<Sending>,
    control: Option<StreamId>,
    /// It does what it must not, now.
    pub(super) abuses: bool,
    /// Streams of which a byte is sent in turn.
    drips: VecDeque<StreamId>,
    /// Something that it wrote has not been taken.
    is_full: bool,
    messages: framing::Decoder,
    groups: BTreeMap<StreamId, Group>,
    seen: BTreeMap<TrackId, Seen>,
    /// Tracks that the handler does not forward because it believes the path too narrow.
    pub(super) held_back: u64,
    /// What it believes of the path, where it has said so.
    pub(super) estimate_bps: Option<u64>,
}

impl Participant {
    pub(super) fn new(member: Member, known: Arc<Known>) -> Self {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_2026_S);
        let tenths = since.elapsed().map_or(0, |since| since.as_millis() / 100);
        let sending = member.tracks.iter().map(|track| Sending {
            track: *track,
            sequence: 0,
            group: u64::try_from(tenths).unwrap_or(0),
            number: 0,
            stream: None,
            key_wanted: false,
        });
        Self {
            sending: sending.collect(),
            member,
            known,
            control: None,
            abuses: false,
            drips: VecDeque::new(),
            is_full: false,
            messages: framing::Decoder::new(framing::MAX_MEDIA_CONTROL),
            groups: BTreeMap::new(),
            seen: BTreeMap::new(),
            held_back: 0,
            estimate_bps: None,
        }
    }

    /// The session is open.
    pub(super) fn greet(&mut self, session: &mut Session) {
        let stream = session.open_bi(i32::MAX);
        let body = Some(client_control::Body::Hello(Hello {}));
        session.write(stream, framing::encode(&ClientControl { body }));
        self.control = Some(stream);
    }

    /// Says what it wants to see, if it is its own to say.
    pub(super) fn demand(&mut self, session: &mut Session, period: u32) {
        let (watch, Some(stream)) = (self.member.watch, self.control) else {
            return;
        };
        if !watch.is_said_by_subscriber() {
            return;
        }
        let tracks = self
            .known
            .values()
            .filter(|track| track.kind == Kind::Video && watch.wants(track.id, period));
        let views = tracks.filter_map(|track| {
            let layer = track.layer()?;
            Some(View {
                track: track.id.0,
                width_px: layer.width_px,
                height_px: layer.height_px,
                pinned: false,
            })
        });
        let demand = Demand {
            views: views.collect(),
        };
        let body = Some(client_control::Body::Demand(demand));
        session.write(stream, framing::encode(&ClientControl { body }));
    }

    /// A stream has something to read.
    pub(super) fn read(
        &mut self,
        session: &mut Session,
        stream: StreamId,
        ledger: &mut Ledger,
    ) -> anyhow::Result<Heard> {
        if self.control == Some(stream) {
            let messages = &mut self.messages;
            session.read(stream, |bytes| messages.push(&bytes));
            return self.listen();
        }
        if self.abuses && self.member.abuse == Some(Abuse::Deafness) {
            return Ok(Heard::Nothing);
        }
        let mut group = self.groups.remove(&stream).unwrap_or_default();
        let progress = session.read(stream, |bytes| group.decoder.push(&bytes));
        while let Some(frame) = group.decoder.next_frame()? {
            let number = frame.header.frame;
            if number != group.last.map_or(0, |last| last + 1) {
                ledger.faults.gaps += 1;
            }
            group.last = Some(number);
            self.take(&frame, ledger);
        }
        match progress {
            Progress::Waits => {
                self.groups.insert(stream, group);
            }
            Progress::Ended => ledger.faults.broken += u64::from(group.decoder.pending() > 0),
            Progress::Reset(_) | Progress::Gone => ledger.faults.resets += 1,
        }
        Ok(Heard::Nothing)
    }

    /// A datagram came.
    pub(super) fn datagram(&mut self, bytes: Bytes, ledger: &mut Ledger) {
        match Datagram::parse(bytes) {
            Ok(datagram) => {
                let mut again = false;
                for frame in datagram.into_frames() {
                    let repeated = ledger.faults.repeated;
                    self.take(&frame, ledger);
                    // Behind the newest, a bundle holds what was sent before.
                    if std::mem::replace(&mut again, true) {
                        ledger.faults.repeated = repeated;
                    }
                }
            }
            Err(_) => ledger.faults.broken += 1,
        }
    }

    fn listen(&mut self) -> anyhow::Result<Heard> {
        let mut heard = Heard::Nothing;
        while let Some(message) = self.messages.next_message::<ServerControl>()? {
            match message.body {
                Some(server_control::Body::Welcome(_)) => heard = Heard::Welcome,
                Some(server_control::Body::KeyFrameWanted(wanted)) => {
                    let mut sending = self.sending.iter_mut();
                    if let Some(of) = sending.find(|it| it.track.id.0 == wanted.track) {
                        of.key_wanted = true;
                    }
                }
                Some(server_control::Body::Allocation(it)) => {
                    self.held_back = it.shares.iter().filter(|share| share.paused).count() as u64;
                    self.estimate_bps = Some(it.estimate_bps);
                }
                _ => {}
            }
        }
        Ok(heard)
    }

    /// Counts a frame, if it is one that was sent, whole, and new.
    fn take(&mut self, frame: &Frame, ledger: &mut Ledger) {
        let track = frame.header.track;
        let Some(&Track {
            kind,
            bytes: size,
            audience,
            ..
        }) = self.known.get(&track)
        else {
            ledger.faults.broken += 1;
            return;
        };
        let Ok(stamp) = stamp::read(frame, size) else {
            ledger.faults.broken += 1;
            return;
        };
        if !self.seen.entry(track).or_default().take(stamp.sequence) {
            ledger.faults.repeated += 1;
            return;
        }
        let [video, audio] = &mut ledger.whole;
        match kind {
            Kind::Video => *video += 1,
            Kind::Audio => *audio += 1,
        }
        if audience > 0 && self.member.watch.must_bring(track, stamp.period) {
            let delay = ledger.now_us().saturating_sub(stamp.sent_us);
            let count = ledger.periods.entry(stamp.period).or_default().of(kind);
            count.got += 1;
            count.delays.add(delay);
        }
    }

    /// Sends the next frame of one of its tracks; says when the one after is due.
    pub(super) fn send(
        &mut self,
        session: &mut Session,
        of: usize,
        ledger: &mut Ledger,
    ) -> Duration {
        let Some(sending) = self.sending.get_mut(of) else {
            return Duration::MAX;
        };
        let track = sending.track;
        let stamp = Stamp {
            period: ledger.period,
            sequence: sending.sequence,
            sent_us: ledger.now_us(),
        };
        sending.sequence += 1;
        match track.kind {
            Kind::Video => {
                sending.video(session, &stamp);
            }
            Kind::Audio => sending.audio(session, &stamp),
        }
        let count = ledger
            .periods
            .entry(stamp.period)
            .or_default()
            .of(track.kind);
        count.sent += 1;
        count.expected += track.audience;
        track.every
    }
}

impl Participant {
    /// Does what it must not; says when the next time is.
    pub(super) fn misbehave(&mut self, session: &mut Session, ledger: &Ledger) -> Duration {
        let Some(abuse) = self.member.abuse.filter(|_| self.abuses) else {
            return abuse::EVERY;
        };
        let (kind, times) = match abuse {
            Abuse::Overload => (Kind::Video, abuse::FRAMES),
            Abuse::Datagrams => (Kind::Audio, abuse::DATAGRAMS),
            Abuse::Demands => {
                let views = self.known.values().filter_map(|track| {
                    let layer = track.layer()?;
                    Some(View {
                        track: track.id.0,
                        width_px: layer.width_px,
                        height_px: layer.height_px,
                        pinned: true,
                    })
                });
                let views = views.collect();
                let body = Some(client_control::Body::Demand(Demand { views }));
                if let (Some(stream), false) = (self.control, self.is_full) {
                    let bytes = framing::encode(&ClientControl { body });
                    let len = bytes.len();
                    self.is_full = session.write(stream, bytes) < len;
                }
                return abuse::EVERY;
            }
            Abuse::Deafness => return abuse::EVERY,
            Abuse::Lies => {
                self.lie(session);
                return abuse::EVERY;
            }
            Abuse::SlowLoris => {
                self.drip(session);
                return abuse::EVERY;
            }
        };
        let sending = self.sending.iter_mut().find(|it| it.track.kind == kind);
        let Some(sending) = sending else {
            return abuse::EVERY;
        };
        for _ in 0..times {
            let stamp = Stamp {
                period: ledger.period,
                sequence: sending.sequence,
                sent_us: ledger.now_us(),
            };
            sending.sequence += 1;
            match kind {
                // It sends as fast as it is let, and keeps nothing for later.
                Kind::Video if self.is_full => break,
                Kind::Video => self.is_full = !sending.video(session, &stamp),
                Kind::Audio => sending.audio(session, &stamp),
            }
        }
        abuse::EVERY
    }

    /// A stream with one frame of its camera, of whose header one thing is not true.
    fn lie(&mut self, session: &mut Session) {
        let Some(sending) = self.sending.first_mut() else {
            return;
        };
        let number = sending.sequence;
        sending.sequence += 1;
        let mut header = Header {
            track: sending.track.id,
            group: sending.group + number,
            key: true,
            ..Header::default()
        };
        let mut length = None;
        match number % 6 {
            // Of the first who is there, and of nobody.
            0 => header.track = TrackId(1),
            1 => header.track = TrackId(u32::MAX),
            2 => header.layer = 15,
            3 => (header.group, header.frame) = ((1 << 62) - 1, 1 << 40),
            4 => header.capture_us = (1 << 62) - 1,
            _ => length = Some(MAX_FRAME),
        }
        let mut frame = BytesMut::new();
        header.encode(&mut frame);
        frame.resize(frame.len() + 100, 0);
        let mut front = BytesMut::new();
        front.extend_from_slice(&[STREAM_GROUP]);
        put_entry_length(&mut front, length.unwrap_or(frame.len()));
        let stream = session.open_uni(0);
        session.write(stream, front.freeze());
        session.write(stream, frame.freeze());
        if length.is_none() {
            session.finish(stream);
        }
    }

    /// One byte more of one of many streams, of which none is ever whole.
    fn drip(&mut self, session: &mut Session) {
        if self.drips.len() < abuse::STREAMS {
            let stream = session.open_uni(0);
            let mut front = BytesMut::new();
            front.extend_from_slice(&[STREAM_GROUP]);
            put_entry_length(&mut front, MAX_FRAME);
            session.write(stream, front.freeze());
            self.drips.push_back(stream);
        } else if let Some(stream) = self.drips.pop_front() {
            session.write(stream, Bytes::from_static(&[0]));
            self.drips.push_back(stream);
        }
    }

    /// The connection has taken what had to wait.
    pub(super) fn drained(&mut self) {
        self.is_full = false;
    }
}

impl Sending {
    /// False: not all of it was taken at once.
    fn video(&mut self, session: &mut Session, stamp: &Stamp) -> bool {
        if self.number >= GROUP || std::mem::take(&mut self.key_wanted) {
            if let Some(stream) = self.stream.take() {
                session.finish(stream);
            }
            self.group += 1;
            self.number = 0;
        }
        let mut front = BytesMut::with_capacity(9);
        let stream = *self.stream.get_or_insert_with(|| {
            front.extend_from_slice(&[STREAM_GROUP]);
            // Newer groups go first.
            session.open_uni((self.group & 0x3fff_ffff) as i32)
        });
        let frame = stamp::write(&self.header(stamp), stamp, self.track.bytes);
        put_entry_length(&mut front, frame.len());
        let len = frame.len();
        session.write(stream, front.freeze());
        let taken = session.write(stream, frame);
        self.number += 1;
        taken == len
    }

    fn audio(&mut self, session: &mut Session, stamp: &Stamp) {
        let frame = stamp::write(&self.header(stamp), stamp, self.track.bytes);
        // One that is not taken is one that does not come.
        let _ = session.send_datagram(&frame);
        self.number += 1;
    }

    fn header(&self, stamp: &Stamp) -> Header {
        Header {
            track: self.track.id,
            group: self.group,
            frame: self.number,
            key: self.number == 0 || self.track.kind == Kind::Audio,
            capture_us: stamp.sent_us,
            level: self.track.level,
            ..Header::default()
        }
    }
}
