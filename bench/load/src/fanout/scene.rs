//! Who is in which meeting, sends what, and gets what.

use std::time::Duration;

use darktower_cluster::rpc::TrackLayer;
use darktower_media::Kind;
use darktower_wire::ids::{MeetingId, ParticipantId, TrackId};
use darktower_wire::media::AudioLevel;

use super::abuse::Abuse;

/// A video frame of 1.5 Mbit/s at 30 frames a second, header included.
pub const VIDEO_BYTES: usize = 6250;
/// Opus at about 40 kbit/s with header and seal.
pub const AUDIO_BYTES: usize = 120;
/// A small tile's frame: 150 kbit/s at 15 frames a second.
pub const TILE_BYTES: usize = 1250;
const THIRTY: Duration = Duration::from_nanos(1_000_000_000 / 30);
const FIFTEEN: Duration = Duration::from_nanos(1_000_000_000 / 15);
const AUDIO_EVERY: Duration = Duration::from_millis(20);

/// A track and how it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Its id in the meeting.
    pub id: TrackId,
    /// Video or audio.
    pub kind: Kind,
    /// Size of each frame, header included.
    pub bytes: usize,
    /// From frame to frame.
    pub every: Duration,
    /// When it begins, within `every`: cameras do not tick together.
    pub phase: Duration,
    /// What its headers say of its loudness.
    pub level: Option<AudioLevel>,
    /// Subscribers that must get each of its frames; nobody's where a handler may leave it out.
    pub audience: u64,
}

impl Track {
    /// Its one layer, as its publisher describes it; none for audio.
    pub fn layer(&self) -> Option<TrackLayer> {
        if self.kind == Kind::Audio {
            return None;
        }
        let (width_px, height_px) = match self.bytes {
            TILE_BYTES => (320, 180),
            _ => (640, 360),
        };
        let bits_per_second = self.bytes as f64 * 8.0 / self.every.as_secs_f64();
        Some(TrackLayer {
            width_px,
            height_px,
            max_bitrate_bps: bits_per_second as u32,
            temporal_layers: 1,
        })
    }
}

/// Which tracks a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Those of all others.
    All,
    /// `size` of them at a time, the ones after its own in order of their ids; one leaves and one comes each period.
    Window {
        /// Its own track's place.
        own: u32,
        /// Tracks in the meeting; ids are 1 to this.
        total: u32,
        /// Tracks it gets.
        size: u32,
        /// Who says so to the handler.
        steering: Steering,
    },
    /// Those before this one, as the controller says.
    Before(TrackId),
    /// Whatever comes, and nobody counts it.
    Uncounted,
}

/// Who tells a handler which tracks a subscriber gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// The subscriber, by `Demand`.
    Demand,
    /// The meeting controller, by `Subscription`.
    Subscription,
}

impl Watch {
    /// Whether the subscriber itself says what it gets.
    pub fn is_said_by_subscriber(&self) -> bool {
        let by = Steering::Demand;
        matches!(self, Self::Window { steering, .. } if *steering == by)
    }

    /// Whether the controller says what the subscriber gets.
    pub fn is_said_by_controller(&self) -> bool {
        let by = Steering::Subscription;
        match self {
            Self::Window { steering, .. } => *steering == by,
            Self::Before(_) => true,
            Self::All | Self::Uncounted => false,
        }
    }
}

impl Watch {
    /// Whether the track is wanted in this period.
    pub fn wants(&self, track: TrackId, period: u32) -> bool {
        match *self {
            Self::All | Self::Uncounted => true,
            Self::Before(first) => track < first,
            Self::Window {
                own, total, size, ..
            } => {
                let after = (track.0 + 2 * total - 1 - own - 1 - period % total) % total;
                after < size
            }
        }
    }

    /// Whether the track was wanted in the period before, too: then each of its frames must come.
    pub fn must_bring(&self, track: TrackId, period: u32) -> bool {
        let counts = *self != Self::Uncounted;
        counts && self.wants(track, period) && self.wants(track, period.saturating_sub(1))
    }
}

/// Somebody with one session.
#[derive(Debug, Clone)]
pub struct Member {
    /// The seat.
    pub seat: ParticipantId,
    /// What it sends.
    pub tracks: Vec<Track>,
    /// What it gets.
    pub watch: Watch,
    /// What it does that it must not, once it is told to.
    pub abuse: Option<Abuse>,
}

/// A meeting.
#[derive(Debug, Clone)]
pub struct Meeting {
    /// Its id.
    pub id: MeetingId,
    /// Everybody in it.
    pub members: Vec<Member>,
}

impl Meeting {
    /// All tracks with their owners.
    pub fn tracks(&self) -> impl Iterator<Item = (TrackId, ParticipantId)> {
        let members = self.members.iter();
        members.flat_map(|member| member.tracks.iter().map(|track| (track.id, member.seat)))
    }
}

fn meeting_id(number: u32) -> MeetingId {
    let mut id = [0xb0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    MeetingId(id)
}

fn seat(meeting: u32, number: u32) -> ParticipantId {
    let mut id = [0xa0; 16];
    id[..4].copy_from_slice(&meeting.to_be_bytes());
    id[4..8].copy_from_slice(&number.to_be_bytes());
    ParticipantId(id)
}

/// Spreads beginnings evenly over `every`, in an order that leaves no two neighbours close (the golden section).
fn phase(every: Duration, number: u32) -> Duration {
    every.mul_f64((f64::from(number) * 0.618_033_988_749_895).fract())
}

fn video(id: u32, audience: u64) -> Track {
    Track {
        id: TrackId(id),
        kind: Kind::Video,
        bytes: VIDEO_BYTES,
        every: THIRTY,
        phase: Duration::ZERO,
        level: None,
        audience,
    }
}

/// Somebody talks.
const TALK: AudioLevel = AudioLevel {
    minus_dbov: 25,
    voice: true,
};

/// An open microphone in a silent room.
const SILENCE: AudioLevel = AudioLevel {
    minus_dbov: 127,
    voice: false,
};

/// Who talk in a meeting at once: as many as a handler lets be heard.
const TALKERS: u32 = 3;

fn audio(id: u32, audience: u64) -> Track {
    Track {
        level: Some(TALK),
        id: TrackId(id),
        kind: Kind::Audio,
        bytes: AUDIO_BYTES,
        every: AUDIO_EVERY,
        phase: Duration::ZERO,
        audience,
    }
}

/// One publisher with this track, `subscribers` that send nothing.
fn one_to_many(number: u32, track: Option<Track>, subscribers: u32) -> Meeting {
    let members = (0..=subscribers).map(|member| Member {
        seat: seat(number, member),
        tracks: track.filter(|_| member == 0).into_iter().collect(),
        watch: Watch::All,
        abuse: None,
    });
    Meeting {
        id: meeting_id(number),
        members: members.collect(),
    }
}

/// One camera, so many subscribers.
pub fn video_to_many(number: u32, subscribers: u32) -> Meeting {
    let track = video(1, u64::from(subscribers));
    one_to_many(number, Some(track), subscribers)
}

/// One microphone, so many subscribers.
pub fn audio_to_many(number: u32, subscribers: u32) -> Meeting {
    let track = audio(1, u64::from(subscribers));
    one_to_many(number, Some(track), subscribers)
}

/// So many who are there and neither send nor get anything.
pub fn idle(number: u32, members: u32) -> Meeting {
    one_to_many(number, None, members.saturating_sub(1))
}

/// `people` who all send camera and microphone to all others; three of them talk, so that nobody else's sound has to
/// arrive. Cameras and microphones tick together, or not.
pub fn everybody(number: u32, people: u32, together: bool) -> Meeting {
    let audience = u64::from(people - 1);
    let members = (0..people).map(|member| {
        let mut tracks = [
            video(2 * member + 1, audience),
            audio(2 * member + 2, audience),
        ];
        if member >= TALKERS {
            tracks[1].level = Some(SILENCE);
            tracks[1].audience = 0;
        }
        for track in tracks.iter_mut().filter(|_| !together) {
            track.phase = phase(track.every, number * people + member);
        }
        Member {
            seat: seat(number, member),
            tracks: tracks.to_vec(),
            watch: Watch::All,
            abuse: None,
        }
    });
    Meeting {
        id: meeting_id(number),
        members: members.collect(),
    }
}

/// A meeting of ten and one more, who is to misbehave. What that one sends nobody has to get.
pub fn with_abuser(number: u32, abuse: Abuse) -> Meeting {
    let mut meeting = everybody(number, 10, false);
    let first = meeting.members.len() as u32 * 2 + 1;
    for member in &mut meeting.members {
        member.watch = Watch::Before(TrackId(first));
    }
    let mut sound = audio(first + 1, 0);
    sound.level = Some(SILENCE);
    meeting.members.push(Member {
        seat: seat(number, first),
        tracks: vec![video(first, 0), sound],
        watch: Watch::Uncounted,
        abuse: Some(abuse),
    });
    meeting
}

/// `people` who all send a small picture, each of whom gets `size` at a time.
pub fn last_n(number: u32, people: u32, size: u32, steering: Steering) -> Meeting {
    let members = (0..people).map(|member| {
        let track = Track {
            bytes: TILE_BYTES,
            every: FIFTEEN,
            phase: phase(FIFTEEN, member),
            // One of them came in this period; its frames may miss the period's beginning.
            ..video(member + 1, u64::from(size - 1))
        };
        Member {
            seat: seat(number, member),
            tracks: vec![track],
            watch: Watch::Window {
                own: member,
                total: people,
                size,
                steering,
            },
            abuse: None,
        }
    });
    Meeting {
        id: meeting_id(number),
        members: members.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_moves_by_one_and_never_shows_oneself() {
        let meeting = last_n(1, 150, 25, Steering::Demand);
        for period in [0, 1, 7, 99] {
            for (own, member) in meeting.members.iter().enumerate() {
                let wanted = |period| {
                    let tracks = meeting.tracks().map(|(track, _)| track);
                    let wanted = tracks.filter(move |track| member.watch.wants(*track, period));
                    wanted.collect::<Vec<_>>()
                };
                let now = wanted(period);
                assert_eq!(now.len(), 25);
                assert!(!now.contains(&TrackId(own as u32 + 1)));
                let next = wanted(period + 1);
                assert_eq!(now.iter().filter(|track| next.contains(track)).count(), 24);
            }
        }
    }

    #[test]
    fn the_audience_is_what_watches_say() {
        for period in [3, 50] {
            for meeting in [
                last_n(1, 150, 25, Steering::Demand),
                everybody(2, 10, false),
                with_abuser(3, Abuse::Datagrams),
            ] {
                for member in &meeting.members {
                    for track in &member.tracks {
                        let others = meeting.members.iter().filter(|it| it.seat != member.seat);
                        let must = others.filter(|it| it.watch.must_bring(track.id, period));
                        let must = must.filter(|_| track.audience > 0).count() as u64;
                        assert_eq!(must, track.audience);
                    }
                }
            }
        }
    }

    #[test]
    fn meetings_and_seats_are_all_different() {
        let (one, two) = (everybody(1, 10, true), everybody(2, 10, true));
        assert_ne!(one.id, two.id);
        let seats = |it: &Meeting| it.members.iter().map(|m| m.seat).collect::<Vec<_>>();
        assert!(seats(&one).iter().all(|seat| !seats(&two).contains(seat)));
        assert_eq!(one.tracks().count(), 20);
        assert!(one.members.iter().all(|it| it.tracks[0].phase.is_zero()));
    }
}
