//! What the person, or the program that stands for one, wants.

use darktower_wire::Secret;
use darktower_wire::ids::ParticipantId;
use darktower_wire::media::MAX_LAYER;
use darktower_wire::signal::{Kind, Layer, Source, TrackDescription};
use serde::Deserialize;

use crate::access::Access;

/// A wish. Commands may come before the links are up; they are carried out when
/// they can be.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Command {
    /// Open both links and wait in the lobby.
    Enter {
        /// The API's answer.
        access: Box<Access>,
        /// Secret of the invitation link, base64url, where it had one.
        #[serde(default)]
        link_secret: Option<Secret<String>>,
        /// W3C trace context of the click.
        #[serde(default)]
        traceparent: String,
    },
    /// Take the seat of an earlier life again (a page that was reloaded).
    Resume {
        /// The API's answer.
        access: Box<Access>,
        /// [`State::resume`](crate::State::resume) of that life.
        resume: Secret<String>,
        /// Secret of the invitation link, base64url, where it had one.
        #[serde(default)]
        link_secret: Option<Secret<String>>,
        /// W3C trace context.
        #[serde(default)]
        traceparent: String,
    },
    /// The API's answer to [`Event::LookUp`](crate::Event::LookUp): which controller
    /// has the meeting now. One that is not in the meeting and whose token is spent comes anew as whom the answer names;
    /// else its tokens are not used. Only an answer for the same role lets it in.
    Found {
        /// The API's answer.
        access: Box<Access>,
    },
    /// Join under a name, with tracks to publish at once.
    Join {
        /// 1 to 64 characters.
        name: String,
        /// What to publish.
        #[serde(default)]
        tracks: Vec<TrackOffer>,
        /// W3C trace context of the click.
        #[serde(default)]
        traceparent: String,
    },
    /// Offer one more track.
    Publish {
        /// The track.
        track: TrackOffer,
    },
    /// Withdraw a track.
    Unpublish {
        /// The publisher's own name of the track.
        handle: u32,
    },
    /// Say that a track is silent or dark by will.
    Mute {
        /// The publisher's own name of the track.
        handle: u32,
        /// Muted or not.
        muted: bool,
    },
    /// Want a track of somebody else, or not any more.
    Subscribe {
        /// The track.
        track: u32,
        /// Wanted or not.
        wanted: bool,
    },
    /// What this end decodes, in place of what was said before. Whoever has said nothing for a while is taken for one that
    /// decodes "vp8" and no more. Good for all attendances, before the first one, too.
    Decodes {
        /// WebCodecs codec strings.
        codecs: Vec<String>,
    },
    /// What the screen shows, in place of what was said before. It is said to
    /// the media handler whenever there is one; video that is not named is not sent.
    Show {
        /// Each video track that is seen.
        views: Vec<View>,
    },
    /// Take somebody out of the meeting (hosts only).
    Remove {
        /// Whom.
        participant: ParticipantId,
    },
    /// End the meeting for everybody (hosts only).
    End,
    /// Leave.
    Leave,
}

/// A track as its publisher describes it.
#[derive(Debug, Clone, Deserialize)]
pub struct TrackOffer {
    /// The publisher's own name of it, until the controller names it for all.
    pub handle: u32,
    /// Where it comes from.
    pub source: TrackSource,
    /// WebCodecs codec string.
    pub codec: String,
    /// Starts muted.
    #[serde(default)]
    pub muted: bool,
    /// The device or window, as the person would call it.
    #[serde(default)]
    pub label: String,
    /// Layers of a video track, the smallest first. Where none is named it has
    /// one, of which nothing is known.
    #[serde(default)]
    pub layers: Vec<LayerOffer>,
    /// Handle of the own track that this one takes the place of: it stays until
    /// this one is seen.
    #[serde(default)]
    pub replaces: Option<u32>,
    /// Samples per second.
    #[serde(default)]
    pub sample_rate: u32,
    /// Audio channels.
    #[serde(default)]
    pub channels: u32,
}

/// One layer of a video track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct LayerOffer {
    /// Width in pixels.
    #[serde(default)]
    pub width: u32,
    /// Height in pixels.
    #[serde(default)]
    pub height: u32,
    /// Bits per second at most.
    #[serde(default)]
    pub bitrate: u32,
    /// Temporal layers, 1 to 8.
    #[serde(default)]
    pub temporal_layers: u32,
}

/// A video track on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct View {
    /// The track.
    pub track: u32,
    /// Width of its tile in device pixels.
    pub width: u32,
    /// Height of its tile in device pixels.
    pub height: u32,
    /// The person fixed it to the screen.
    #[serde(default)]
    pub pinned: bool,
}

/// Where a track comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrackSource {
    /// A microphone.
    Microphone,
    /// A camera.
    Camera,
    /// A screen, window or tab.
    Screen,
    /// What a shared tab sounds like.
    ScreenAudio,
}

impl TrackSource {
    /// The source in a description; `None` where it is unspecified or newer.
    pub fn of(description: &TrackDescription) -> Option<Self> {
        match description.source() {
            Source::Microphone => Some(Self::Microphone),
            Source::Camera => Some(Self::Camera),
            Source::Screen => Some(Self::Screen),
            Source::ScreenAudio => Some(Self::ScreenAudio),
            Source::Unspecified => None,
        }
    }

    /// Whether it is seen rather than heard.
    pub fn is_video(self) -> bool {
        matches!(self, Self::Camera | Self::Screen)
    }

    fn source(self) -> Source {
        match self {
            Self::Microphone => Source::Microphone,
            Self::Camera => Source::Camera,
            Self::Screen => Source::Screen,
            Self::ScreenAudio => Source::ScreenAudio,
        }
    }
}

impl TrackOffer {
    /// The layers as they are announced, at least one of video and none of audio.
    pub fn announced_layers(&self) -> Vec<LayerOffer> {
        match (self.source.is_video(), self.layers.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec![LayerOffer::default()],
            (true, false) => self
                .layers
                .iter()
                .copied()
                .take(usize::from(MAX_LAYER) + 1)
                .collect(),
        }
    }

    /// The description that travels to the others; `replaces` is the meeting's
    /// number of the track whose place it takes, 0 where it takes none; `decodes` is what this end decodes.
    pub fn description(&self, replaces: u32, decodes: &[String]) -> TrackDescription {
        let layers = (0..).zip(self.announced_layers()).map(|(id, layer)| Layer {
            id,
            width_px: layer.width,
            height_px: layer.height,
            max_bitrate_bps: layer.bitrate,
            temporal_layers: layer.temporal_layers.max(1),
        });
        let video = self.source.is_video();
        TrackDescription {
            kind: if video { Kind::Video } else { Kind::Audio }.into(),
            source: self.source.source().into(),
            codec: self.codec.clone(),
            label: self.label.clone(),
            layers: layers.collect(),
            sample_rate_hz: self.sample_rate,
            channels: self.channels,
            decodes: decodes.to_vec(),
            replaces,
        }
    }
}

/// One encoded picture or audio packet of an own track.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// The publisher's own name of the track.
    pub handle: u32,
    /// Layer, 0 the smallest.
    pub layer: u8,
    /// Temporal layer, 0 the one all others need.
    pub temporal: u8,
    /// Decodable on its own.
    pub key: bool,
    /// Capture time in microseconds of the participant's media clock.
    pub capture_us: u64,
    /// Loudness (audio).
    pub level: Option<darktower_wire::media::AudioLevel>,
    /// The chunk as the encoder made it.
    pub chunk: &'a [u8],
}
