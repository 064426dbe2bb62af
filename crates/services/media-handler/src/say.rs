//! What a meeting decides, in the words of the control stream.

use darktower_media::Bitrate;
use darktower_media::allocate::Share;
use darktower_wire::ids::TrackId;
use darktower_wire::media_control as wire;
use darktower_wire::media_control::server_control::Body;

use crate::reach::ToSession;

pub(crate) fn key_frame_wanted(track: TrackId, layer: u8) -> ToSession {
    ToSession::Say(Body::KeyFrameWanted(wire::KeyFrameWanted {
        track: track.0,
        layer: layer.into(),
    }))
}

pub(crate) fn layers_wanted(track: TrackId, layers: u16) -> ToSession {
    ToSession::Say(Body::LayersWanted(wire::LayersWanted {
        track: track.0,
        layers: layers.into(),
    }))
}

/// The same in the words of one handler to another, where there are such.
pub(crate) fn by_trunk(what: ToSession) -> Option<wire::client_control::Body> {
    use wire::client_control::Body as Word;
    match what {
        ToSession::Say(Body::KeyFrameWanted(wanted)) => Some(Word::KeyFrameWanted(wanted)),
        ToSession::Say(Body::LayersWanted(wanted)) => Some(Word::LayersWanted(wanted)),
        _ => None,
    }
}

pub(crate) fn speakers(tracks: &[TrackId]) -> ToSession {
    ToSession::Say(Body::Speakers(wire::Speakers {
        tracks: tracks.iter().map(|track| track.0).collect(),
    }))
}

pub(crate) fn allocation(estimate: Bitrate, shares: &[Share]) -> ToSession {
    let shares = shares.iter().map(|share| wire::Share {
        track: share.track.0,
        layer: share.layer.into(),
        temporal: share.temporal.into(),
        paused: share.paused,
    });
    ToSession::Say(Body::Allocation(wire::Allocation {
        estimate_bps: estimate.bps(),
        shares: shares.collect(),
    }))
}
