//! What participants publish and want.

use darktower_wire::Code;
use darktower_wire::ids::{NodeId, TrackId};
use darktower_wire::media::MAX_LAYER;
use darktower_wire::signal::{self, Kind, Layer, Source, TrackDescription, server_message::Body};
use prost::Message as _;

use super::api::{Config, MediaOrder};
use super::record::{Change, Seat, Track};
use super::{From, Meeting};

/// What a track offered by `publish` would be: `None` where the seat has it
/// already (the answer got lost and it was offered again).
pub(super) fn judge(
    config: &Config,
    seat: &Seat,
    publish: &signal::Publish,
    next: u32,
) -> Result<Option<Track>, Code> {
    if publish.description.len() > config.max_description {
        return Err(Code::BadDescription);
    }
    let description =
        TrackDescription::decode(&publish.description[..]).map_err(|_| Code::BadDescription)?;
    let video = match description.kind() {
        Kind::Video => true,
        Kind::Audio => false,
        Kind::Unspecified => return Err(Code::BadDescription),
    };
    if description.codec.is_empty() {
        return Err(Code::BadDescription);
    }
    let screen = description.source() == Source::Screen;
    let layers = match video {
        true => layers(description.layers)?,
        false => Vec::new(),
    };
    if seat
        .tracks
        .iter()
        .any(|track| track.handle == publish.handle)
    {
        return Ok(None);
    }
    if seat.tracks.len() >= config.max_tracks {
        return Err(Code::TooManyTracks);
    }
    Ok(Some(Track {
        id: next,
        handle: publish.handle,
        description: publish.description.clone(),
        muted: publish.muted,
        video,
        screen,
        layers,
    }))
}

/// The layers of a video track in their order; one of which nothing is known where
/// none were described.
fn layers(mut described: Vec<Layer>) -> Result<Vec<Layer>, Code> {
    if described.len() > usize::from(MAX_LAYER) + 1 {
        return Err(Code::BadDescription);
    }
    if described.is_empty() {
        described.push(Layer::default());
    }
    described.sort_by_key(|layer| layer.id);
    if described.iter().zip(0..).any(|(layer, id)| layer.id != id) {
        return Err(Code::BadDescription);
    }
    Ok(described)
}

pub(super) fn public(track: &Track) -> signal::Track {
    signal::Track {
        id: track.id,
        description: track.description.clone(),
        muted: track.muted,
    }
}

pub(super) fn media_track(seat: &Seat, track: &Track, via: Option<NodeId>) -> MediaOrder {
    MediaOrder::Track {
        track: TrackId(track.id),
        seat: seat.participant(),
        video: track.video,
        screen: track.screen,
        layers: track.layers.clone(),
        via,
    }
}

pub(super) fn media_track_gone(track: &Track) -> MediaOrder {
    MediaOrder::TrackGone {
        track: TrackId(track.id),
    }
}

pub(super) fn media_unwanted(seat: &Seat) -> impl Iterator<Item = MediaOrder> {
    seat.unwanted.iter().map(|track| MediaOrder::Subscription {
        seat: seat.participant(),
        track: TrackId(*track),
        wanted: false,
    })
}

impl Meeting {
    pub(super) fn publish(&mut self, from: From, publish: signal::Publish) {
        let Some(mut seat) = self.records.seat(from.participant).cloned() else {
            return self.refuse(from, Code::NotJoined, "");
        };
        let next = self.records.last_track + 1;
        match judge(&self.config, &seat, &publish, next) {
            Err(code) => self.refuse(from, code, ""),
            Ok(None) => self.answer_published(from, from.request, publish.handle),
            Ok(Some(track)) => {
                seat.tracks.push(track.clone());
                self.change(Change::Seat(seat));
                self.tell_published(from, &track, false);
                self.answer_published(from, from.request, publish.handle);
            }
        }
    }

    /// Tells the handler, and the others unless `quiet`, of a new track.
    pub(super) fn tell_published(&mut self, from: From, track: &Track, quiet: bool) {
        if let Some(seat) = self.records.seat(from.participant).cloned() {
            self.media_track(&seat, track);
        }
        if !quiet {
            let published = signal::TrackPublished {
                participant_id: from.participant.to_vec().into(),
                track: Some(public(track)),
            };
            self.broadcast(Some(from.participant), &Body::TrackPublished(published));
        }
    }

    /// Tells the publisher its track's id.
    pub(super) fn answer_published(&mut self, from: From, reply_to: u64, handle: u32) {
        let track = self
            .records
            .seat(from.participant)
            .and_then(|seat| seat.tracks.iter().find(|track| track.handle == handle))
            .map(|track| track.id);
        if let Some(track) = track {
            let published = signal::Published { handle, track };
            self.send(from.session, reply_to, 0, Body::Published(published));
        }
    }

    pub(super) fn unpublish(&mut self, from: From, unpublish: signal::Unpublish) {
        let track = unpublish.track;
        let Some(mut seat) = self.own(from, track) else {
            return;
        };
        seat.tracks.retain(|own| own.id != track);
        self.change(Change::Seat(seat));
        self.media_everywhere(&MediaOrder::TrackGone {
            track: TrackId(track),
        });
        self.done(from);
        let unpublished = signal::TrackUnpublished { track };
        self.broadcast(Some(from.participant), &Body::TrackUnpublished(unpublished));
    }

    pub(super) fn set_muted(&mut self, from: From, set: signal::SetMuted) {
        let Some(mut seat) = self.own(from, set.track) else {
            return;
        };
        let mut changed = false;
        for track in seat.tracks.iter_mut().filter(|track| track.id == set.track) {
            changed = track.muted != set.muted;
            track.muted = set.muted;
        }
        if !changed {
            return self.done(from);
        }
        self.change(Change::Seat(seat));
        self.done(from);
        let changed = signal::TrackChanged {
            track: set.track,
            muted: set.muted,
        };
        self.broadcast(Some(from.participant), &Body::TrackChanged(changed));
    }

    pub(super) fn subscribe(&mut self, from: From, subscribe: signal::Subscribe) {
        let track = subscribe.track;
        let Some(owner) = self.owner(track) else {
            return self.refuse(from, Code::TrackUnknown, "");
        };
        if owner.id[..] == from.participant.0 {
            return self.refuse(from, Code::OwnTrack, "");
        }
        let Some(mut seat) = self.records.seat(from.participant).cloned() else {
            return self.refuse(from, Code::NotJoined, "");
        };
        if seat.unwanted.contains(&track) == subscribe.wanted {
            // Tracks that are no more are forgotten on the way.
            seat.unwanted
                .retain(|unwanted| *unwanted != track && self.owner(*unwanted).is_some());
            if !subscribe.wanted {
                seat.unwanted.push(track);
            }
            self.change(Change::Seat(seat));
            let order = MediaOrder::Subscription {
                seat: from.participant,
                track: TrackId(track),
                wanted: subscribe.wanted,
            };
            let home = self.home_by_id(from.participant);
            self.media_at(home, order);
        }
        self.done(from);
    }

    fn owner(&self, track: u32) -> Option<&Seat> {
        let has = |seat: &&Seat| seat.tracks.iter().any(|own| own.id == track);
        self.records.seats.iter().find(has)
    }

    /// The asker's seat where the track is on it; else the asker is told.
    fn own(&mut self, from: From, track: u32) -> Option<Seat> {
        let code = match self.owner(track) {
            Some(seat) if seat.id[..] == from.participant.0 => return Some(seat.clone()),
            Some(_) => Code::NotYourTrack,
            None => Code::TrackUnknown,
        };
        self.refuse(from, code, "");
        None
    }
}
