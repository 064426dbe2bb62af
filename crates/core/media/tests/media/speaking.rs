//! Who is heard and who is the active speaker, as scripts of who talks when.

use darktower_media::speakers::{Config, Speakers};
use darktower_wire::ids::TrackId;
use darktower_wire::media::AudioLevel;

use crate::pair::ms;

/// A stretch of time: until when, and how loud each track talks (0: it is silent).
type Stretch<'a> = (u64, &'a [(u32, u8)]);

struct Talk {
    speakers: Speakers,
    at: u64,
    /// Each change: when, who is forwarded, and whether the first talks actively.
    changes: Vec<(u64, Vec<u32>, Option<u32>)>,
    forwarded: u64,
    refused: u64,
}

impl Talk {
    fn new() -> Self {
        Self {
            speakers: Speakers::new(Config::default()),
            at: 0,
            changes: Vec::new(),
            forwarded: 0,
            refused: 0,
        }
    }

    /// Fifty packets a second of each.
    fn run(&mut self, (until, tracks): Stretch<'_>) {
        while self.at < until {
            for &(track, loud) in tracks {
                let level = AudioLevel {
                    minus_dbov: 127 - loud,
                    voice: loud > 0,
                };
                let heard = self
                    .speakers
                    .heard(ms(self.at), TrackId(track), Some(level));
                match heard {
                    true => self.forwarded += 1,
                    false => self.refused += 1,
                }
            }
            if self.speakers.take_changed() {
                let mut tracks: Vec<_> = self.speakers.forwarded().map(|one| one.0).collect();
                tracks.sort_unstable();
                let active = self.speakers.active().0.map(|one| one.0);
                self.changes.push((self.at, tracks, active));
            }
            self.at += 20;
        }
    }

    fn last(&self) -> (Vec<u32>, Option<u32>) {
        let last = self.changes.last().cloned().unwrap_or_default();
        (last.1, last.2)
    }
}

#[test]
fn as_many_as_there_are_places_are_all_heard_from_their_first_word() {
    let mut talk = Talk::new();
    talk.run((1000, &[(1, 0), (2, 0), (3, 0)]));
    assert_eq!(talk.last(), (vec![1, 2, 3], None));
    talk.run((3000, &[(1, 0), (2, 90), (3, 0)]));
    assert_eq!(talk.last(), (vec![1, 2, 3], Some(2)));
    assert_eq!(talk.refused, 0);
}

#[test]
fn one_who_talks_takes_the_place_of_a_silent_one_at_once() {
    let mut talk = Talk::new();
    talk.run((2000, &[(1, 0), (2, 0), (3, 0), (4, 0)]));
    assert_eq!(talk.last().0, [1, 2, 3]);
    talk.run((2020, &[(1, 0), (2, 0), (3, 0), (4, 80)]));
    assert_eq!(talk.last(), (vec![2, 3, 4], Some(4)));
}

#[test]
fn three_who_talk_keep_their_places_from_one_who_is_no_louder() {
    let mut talk = Talk::new();
    talk.run((2000, &[(1, 80), (2, 80), (3, 80), (4, 0)]));
    let changes = talk.changes.len();
    talk.run((5000, &[(1, 80), (2, 82), (3, 78), (4, 82)]));
    assert_eq!(talk.changes.len(), changes, "{:?}", talk.changes);
    // Much louder than the quietest of them.
    talk.run((5200, &[(1, 80), (2, 82), (3, 78), (4, 100)]));
    assert_eq!(talk.last().0, [1, 2, 4]);
}

#[test]
fn a_pause_between_sentences_costs_nobody_the_place() {
    let mut talk = Talk::new();
    talk.run((2000, &[(1, 80), (2, 80), (3, 80), (4, 0)]));
    talk.run((2900, &[(1, 0), (2, 80), (3, 80), (4, 80)]));
    assert_eq!(talk.last().0, [1, 2, 3]);
    talk.run((3100, &[(1, 0), (2, 80), (3, 80), (4, 80)]));
    assert_eq!(talk.last().0, [2, 3, 4], "silent for more than a second");
}

#[test]
fn the_active_speaker_does_not_change_with_every_yes() {
    let mut talk = Talk::new();
    talk.run((3000, &[(1, 80), (2, 0)]));
    assert_eq!(talk.last().1, Some(1));
    // A word by the way, and a cough, louder than the speech.
    talk.run((3300, &[(1, 80), (2, 90)]));
    talk.run((6000, &[(1, 80), (2, 0)]));
    talk.run((6200, &[(1, 0), (2, 110)]));
    talk.run((8000, &[(1, 80), (2, 0)]));
    assert_eq!(talk.last().1, Some(1), "{:?}", talk.changes);
    // An answer.
    talk.run((9000, &[(1, 0), (2, 80)]));
    assert_eq!(talk.last().1, Some(2));
    assert_eq!(talk.speakers.active(), (Some(TrackId(2)), Some(TrackId(1))));
    // Talking over somebody takes longer.
    talk.run((10_000, &[(1, 95), (2, 80)]));
    assert_eq!(talk.last().1, Some(2));
    talk.run((11_000, &[(1, 95), (2, 80)]));
    assert_eq!(talk.last().1, Some(1));
}

#[test]
fn of_a_hundred_tracks_three_are_forwarded() {
    let mut talk = Talk::new();
    let hall: Vec<_> = (0..100)
        .map(|id| (id, if id % 30 == 7 { 85 } else { 0 }))
        .collect();
    talk.run((10_000, &hall));
    // 7, 37, 67 and 97 talk, as loud as one another.
    let (tracks, active) = talk.last();
    assert_eq!(tracks, [7, 37, 67]);
    assert_eq!(active, Some(7));
    // Three of each hundred packets, and one each of those who were first and silent.
    assert_eq!((talk.forwarded, talk.refused), (1503, 48_497));
}

#[test]
fn a_level_that_lies_takes_one_place_and_no_more() {
    let mut talk = Talk::new();
    let liar = AudioLevel {
        minus_dbov: 0,
        voice: true,
    };
    for at in 0..500 {
        talk.speakers.heard(ms(at * 20), TrackId(66), Some(liar));
        talk.at = at * 20;
        talk.run((at * 20 + 20, &[(1, 80), (2, 80), (3, 70)]));
    }
    assert_eq!(talk.last().0, [1, 2, 66]);
    talk.speakers.gone(TrackId(66));
    talk.run((11_000, &[(1, 80), (2, 80), (3, 70)]));
    assert_eq!(talk.last().0, [1, 2, 3]);
}

#[test]
fn silence_with_a_flag_is_silence() {
    let mut talk = Talk::new();
    let nothing = AudioLevel {
        minus_dbov: 127,
        voice: true,
    };
    talk.run((1000, &[(1, 80), (2, 80), (3, 80)]));
    assert!(!talk.speakers.heard(ms(1000), TrackId(4), Some(nothing)));
}
