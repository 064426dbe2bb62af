//! What holds whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use darktower_media::egress::{self, Egress};
use darktower_media::forwarder::{Command, Config, Forwarder, Input, Output};
use darktower_media::subscriber::{self, Subscriber};
use darktower_media::{Kind, Shape};
use darktower_wire::Code;
use darktower_wire::ids::{Fence, ParticipantId, TrackId};
use darktower_wire::media::{Header, STREAM_GROUP, put_entry_length};
use proptest::prelude::*;

use crate::forwarding::{Sized, seat, session};
use crate::pair::ms;
use crate::sealing::{ALICE, BOB, Keys};

#[derive(Debug, Clone)]
enum Step {
    Seat(u8, bool),
    SeatGone(u8),
    Open(u8),
    Close(u8),
    Track(u32, u8, bool),
    TrackGone(u32),
    Subscription(u8, u32, bool),
    Sync,
    Over,
    Want(u8, u32),
    Frame(u8, bool, Header),
    Later(u64),
}

fn header() -> impl Strategy<Value = Header> {
    (0..4u32, 0..3u8, 0..5u64, 0..5u64, any::<bool>()).prop_map(
        |(track, layer, group, frame, key)| Header {
            track: TrackId(track),
            layer,
            group,
            frame,
            key,
            ..Header::default()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let who = 1..5u8;
    let what = 0..4u32;
    prop_oneof![
        1 => (who.clone(), any::<bool>()).prop_map(|(who, joined)| Step::Seat(who, joined)),
        1 => who.clone().prop_map(Step::SeatGone),
        1 => who.clone().prop_map(Step::Open),
        1 => who.clone().prop_map(Step::Close),
        1 => (what.clone(), who.clone(), any::<bool>()).prop_map(|(t, who, v)| Step::Track(t, who, v)),
        1 => what.clone().prop_map(Step::TrackGone),
        1 => (who.clone(), what.clone(), any::<bool>())
            .prop_map(|(who, track, wanted)| Step::Subscription(who, track, wanted)),
        1 => Just(Step::Sync),
        1 => Just(Step::Over),
        1 => (who.clone(), what).prop_map(|(who, track)| Step::Want(who, track)),
        12 => (who, any::<bool>(), header()).prop_map(|(who, v, h)| Step::Frame(who, v, h)),
        1 => (0..700u64).prop_map(Step::Later),
    ]
}

/// What the controller has said, kept the simplest way.
#[derive(Default)]
struct Model {
    joined: BTreeMap<u8, bool>,
    tracks: BTreeMap<u32, u8>,
    unwanted: Vec<(u8, u32)>,
    connected: Vec<u8>,
}

impl Model {
    fn may_get(&self, who: u8, track: u32) -> bool {
        let owner = self.tracks.get(&track);
        self.connected.contains(&who)
            && self.joined.get(&who) == Some(&true)
            && owner.is_some_and(|owner| *owner != who)
            && !self.unwanted.contains(&(who, track))
    }

    fn leave(&mut self, who: u8) {
        self.joined.remove(&who);
        self.tracks.retain(|_, owner| *owner != who);
        self.unwanted.retain(|(one, _)| *one != who);
        self.connected.retain(|one| *one != who);
    }
}

proptest! {
    /// Whatever is said and sent: nothing goes to who must not have it, everything to
    /// who must, memory stays bounded, and a deadline is settled by a tick.
    #[test]
    fn the_forwarder_gives_to_whom_it_should(steps in prop::collection::vec(step(), 0..200)) {
        let config = Config { cache_per_layer: 3000, cache_total: 5000, ..Config::default() };
        let mut forwarder: Forwarder<Sized> = Forwarder::new(config);
        let mut model = Model::default();
        let (mut at, mut out) = (0, Vec::new());
        for step in steps {
            let say = |command| Input::Command { fence: Fence(1), command };
            let place = |who: u8| ParticipantId([who; 16]);
            let input = match step {
                Step::Seat(who, joined) => {
                    model.joined.insert(who, joined);
                    say(seat(place(who), joined))
                }
                Step::SeatGone(who) if model.joined.contains_key(&who) => {
                    model.leave(who);
                    say(Command::SeatGone { seat: place(who), code: Code::Left })
                }
                Step::SeatGone(_) => continue,
                Step::Open(who) => {
                    // A session is never used twice; closing it first keeps the model simple.
                    let (session, seat, code) = (session(place(who)), place(who), Code::Left);
                    forwarder.handle(ms(at), Input::SessionClosed { session, code });
                    model.connected.retain(|one| *one != who);
                    model.connected.push(who);
                    Input::SessionOpened { session, seat }
                }
                Step::Close(who) => {
                    model.connected.retain(|one| *one != who);
                    let (session, code) = (session(place(who)), Code::Left);
                    Input::SessionClosed { session, code }
                }
                Step::Track(id, who, video) => {
                    let kind = if video { Kind::Video } else { Kind::Audio };
                    model.tracks.insert(id, who);
                    let (id, seat, shape) = (TrackId(id), place(who), Shape::of_layers(2));
                    say(Command::Track { id, seat, kind, shape, via: None })
                }
                Step::TrackGone(id) => {
                    model.tracks.remove(&id);
                    model.unwanted.retain(|(_, track)| *track != id);
                    say(Command::TrackGone { id: TrackId(id) })
                }
                Step::Subscription(who, track, wanted) => {
                    if model.joined.contains_key(&who) {
                        model.unwanted.retain(|one| *one != (who, track));
                        if !wanted {
                            model.unwanted.push((who, track));
                        }
                    }
                    let (seat, track) = (place(who), TrackId(track));
                    say(Command::Subscription { seat, track, wanted })
                }
                Step::Sync => {
                    // A controller that says nothing: everything goes.
                    forwarder.handle(ms(at), say(Command::SyncBegin));
                    for who in model.joined.keys().copied().collect::<Vec<_>>() {
                        model.leave(who);
                    }
                    model.tracks.clear();
                    say(Command::SyncEnd)
                }
                Step::Over => {
                    model = Model::default();
                    say(Command::Over)
                }
                Step::Want(who, track) => {
                    let (session, track) = (session(place(who)), TrackId(track));
                    Input::KeyFrameWanted { session, track, layer: 0 }
                }
                Step::Later(by) => {
                    at += by;
                    Input::Tick
                }
                Step::Frame(who, video, header) => {
                    let kind = if video { Kind::Video } else { Kind::Audio };
                    let from = session(place(who));
                    out.clear();
                    let size = Sized(700);
                    let taken = forwarder.on_frame(ms(at), from, kind, &header, &size, &mut out);
                    for delivery in &out {
                        let to = delivery.session.0 as u8;
                        prop_assert!(model.may_get(to, header.track.0), "{header:?} to {to}");
                        prop_assert_eq!(model.tracks.get(&header.track.0), Some(&who));
                    }
                    if taken.is_ok() && header.key && header.layer == 1 {
                        for to in (1..5).filter(|to| model.may_get(*to, header.track.0)) {
                            let got = out.iter().any(|one| one.session.0 == u64::from(to));
                            prop_assert!(got || header.frame > 0, "{to} lacks {header:?}");
                        }
                    }
                    prop_assert!(taken.is_ok() || out.is_empty());
                    prop_assert!(forwarder.sizes().2 <= 5000);
                    continue;
                }
            };
            forwarder.handle(ms(at), input);
            while let Some(output) = forwarder.poll() {
                if let Output::Deliver(delivery) = output {
                    let to = delivery.session.0 as u8;
                    prop_assert!(model.may_get(to, delivery.header.track.0));
                }
            }
            if let Some(due) = forwarder.deadline().filter(|due| *due <= ms(at)) {
                forwarder.handle(ms(at), Input::Tick);
                while forwarder.poll().is_some() {}
                prop_assert!(forwarder.deadline().is_none_or(|next| next > due));
            }
        }
    }

    /// Whatever is taken or not: what waits is bounded, streams are opened before they
    /// are written and never after they ended.
    #[test]
    fn the_egress_is_bounded_and_orderly(
        steps in prop::collection::vec((header(), 0..2000usize, 0..3u8), 0..300),
    ) {
        let config = egress::Config { max_queued: 8000, ..egress::Config::default() };
        let mut egress: Egress<Sized> = Egress::new(config);
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        let mut finished = BTreeSet::new();
        for (at, (header, size, what)) in (0u64..).zip(steps) {
            let now = ms(at * 10);
            match what {
                0 | 1 => egress.push(now, Kind::Video, &header, Sized(size)),
                _ => {
                    if let Some((&stream, &bytes)) = open.iter().next() {
                        egress.handle(now, egress::Input::Drained { stream, bytes });
                    }
                }
            }
            egress.handle(now, egress::Input::Tick);
            prop_assert!(egress.queued_bytes() <= 8000);
            while let Some(output) = egress.poll() {
                match output {
                    egress::Output::Open { stream, .. } => {
                        prop_assert!(open.insert(stream, 0).is_none());
                    }
                    egress::Output::Write { stream, payload } => {
                        prop_assert!(!finished.contains(&stream));
                        let bytes = open.get_mut(&stream);
                        prop_assert!(bytes.is_some());
                        *bytes.unwrap_or(&mut 0) += payload.0;
                    }
                    egress::Output::Finish { stream } => {
                        prop_assert!(finished.insert(stream));
                    }
                    egress::Output::Reset { stream, .. } => {
                        prop_assert!(open.remove(&stream).is_some());
                    }
                    egress::Output::Datagram(_) | egress::Output::Close(_) => {}
                }
            }
        }
    }

    /// Whatever comes in, whole, cut or mixed up: the subscriber keeps a bounded
    /// amount, delivers no frame twice and none out of order, and has no deadline that
    /// a tick does not settle.
    #[test]
    fn the_subscriber_is_total(
        steps in prop::collection::vec((0..6u64, header(), 0..8u8, 0..200usize, 0..3u8), 0..300),
    ) {
        let config = subscriber::Config {
            hold_bytes: 2000,
            partial_bytes: 2000,
            streams: 4,
            ..subscriber::Config::default()
        };
        let mut subscriber = Subscriber::new(config);
        let mut keys = Keys::of(BOB);
        subscriber.handle(ms(0), subscriber::Input::Connected, &mut keys);
        for (id, kind) in [(1, Kind::Video), (2, Kind::Audio)] {
            let (id, owner, muted) = (TrackId(id), ALICE, false);
            let track = subscriber::Track { id, owner, kind, muted };
            subscriber.handle(ms(0), subscriber::Input::Track(track), &mut keys);
        }
        let mut last: BTreeMap<(TrackId, u8), (u64, u64)> = BTreeMap::new();
        for (at, (stream, header, what, cut, epoch)) in (0u64..).zip(steps) {
            let now = ms(at * 7);
            let mut frame = Vec::new();
            header.encode(&mut frame);
            let clear = frame.clone();
            let mut owner = Keys { epoch: Some(epoch), ..Keys::of(ALICE) };
            darktower_media::Sealer::seal(&mut owner, &clear, &[7; 40], &mut frame);
            let mut whole = vec![STREAM_GROUP];
            put_entry_length(&mut whole, frame.len());
            whole.extend(&frame);
            let input = match what {
                0..=2 => {
                    let (bytes, fin) = (whole.into(), what == 1);
                    subscriber::Input::StreamData { stream, bytes, fin }
                }
                3 => {
                    whole.truncate(cut);
                    let (bytes, fin) = (whole.into(), false);
                    subscriber::Input::StreamData { stream, bytes, fin }
                }
                4 | 5 => subscriber::Input::Datagram(frame.into()),
                6 => subscriber::Input::StreamReset { stream },
                _ => subscriber::Input::Tick,
            };
            subscriber.handle(now, input, &mut keys);
            subscriber.handle(now, subscriber::Input::Tick, &mut keys);
            prop_assert!(subscriber.deadline().is_none_or(|due| due > now));
            prop_assert!(subscriber.kept_bytes() <= 4000, "{}", subscriber.kept_bytes());
            while let Some(output) = subscriber.poll() {
                if let subscriber::Output::Frame(opened) = output {
                    let header = opened.header;
                    let place = (header.group, header.frame);
                    let before = last.insert((header.track, header.layer), place);
                    prop_assert!(before.is_none_or(|before| before < place));
                }
            }
        }
    }
}
