//! What is seen of a run, virtual or real, before anything is concluded from it.
//! All times are since the run's beginning, on one clock.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// How long it ran.
    pub length: Duration,
    /// Who was there, in the order of the scenario's cast.
    pub people: Vec<Person>,
    /// What packets waited for the rate of each observed link: when they arrived and how long.
    pub queues: Vec<Vec<(Duration, Duration)>>,
}

/// One participant, as receiver and as sender.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Person {
    /// Pictures that came to decoders, by track.
    pub pictures: BTreeMap<u32, Vec<Picture>>,
    /// Sound that came to decoders, by track.
    pub sounds: BTreeMap<u32, Vec<Sound>>,
    /// Which tracks the handler said it cannot carry, each time it said so.
    pub paused: Vec<(Duration, Vec<u32>)>,
    /// The tracks of speakers, the active one's first, each time they were said.
    pub speakers: Vec<(Duration, Vec<u32>)>,
    /// What was said at the own microphone, by track.
    pub said: BTreeMap<u32, Vec<Said>>,
    /// Settings of the own camera's encoders.
    pub encode: Vec<Setting>,
    /// Times at which a media session came up.
    pub connected: Vec<Duration>,
    /// Bytes that came, padding and repetitions included, at the end of each tenth of a second.
    pub bytes: Vec<(Duration, u64)>,
    /// What was believed and used over time.
    pub curve: Vec<Sample>,
}

/// A picture that came to a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// When.
    pub at: Duration,
    /// When it was captured.
    pub captured: Duration,
    /// Its layer.
    pub layer: u8,
    /// Its temporal layer.
    pub temporal: u8,
    /// Whether it needs no other.
    pub key: bool,
    /// Its size.
    pub bytes: usize,
}

/// A packet of sound that came to a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// When.
    pub at: Duration,
    /// When it was captured.
    pub captured: Duration,
    /// The sender's running number.
    pub counter: u64,
}

/// A packet that a microphone made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Said {
    /// When it was captured.
    pub captured: Duration,
    /// The running number.
    pub counter: u64,
    /// Somebody spoke.
    pub voice: bool,
}

/// A setting of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// When it was made.
    pub at: Duration,
    /// The layer.
    pub layer: u8,
    /// Bits a second; `None`: paused.
    pub bps: Option<u64>,
}

/// One moment of a participant's downlink.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// What the handler believes the path to carry.
    pub estimate_bps: u64,
    /// What came in the tenth of a second before.
    pub rate_bps: u64,
    /// The layer last seen of the first camera.
    pub layer: Option<u8>,
    /// How long packets waited for the link's rate, the longest of the last tenth of a second.
    pub queue: Duration,
}

/// What happened, a line each: decisions first, then the first participant's downlink.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, person) in self.people.iter().enumerate() {
            for (at, tracks) in &person.speakers {
                writeln!(f, "{number} {at:.3?} speakers {tracks:?}")?;
            }
            for (at, tracks) in &person.paused {
                writeln!(f, "{number} {at:.3?} paused {tracks:?}")?;
            }
            for Setting { at, layer, bps } in &person.encode {
                writeln!(f, "{number} {at:.3?} encode layer {layer} {bps:?}")?;
            }
        }
        for (number, person) in self.people.iter().enumerate() {
            for (track, pictures) in &person.pictures {
                for pair in pictures.windows(2) {
                    let (last, next) = (pair[0], pair[1]);
                    let gap = next.at.saturating_sub(last.at);
                    if gap > Duration::from_millis(200) || next.layer != last.layer {
                        writeln!(
                            f,
                            "{number} {:.3?} picture of {track} after {gap:.0?}: layer {} to {}, captured {:.3?}",
                            next.at, last.layer, next.layer, next.captured
                        )?;
                    }
                }
            }
            for (track, sounds) in &person.sounds {
                for pair in sounds.windows(2) {
                    let (last, next) = (pair[0], pair[1]);
                    let gap = next.at.saturating_sub(last.at);
                    let lost = next.counter.saturating_sub(last.counter + 1);
                    if gap > Duration::from_millis(100) || lost > 0 {
                        writeln!(
                            f,
                            "{number} {:.3?} sound of {track} after {gap:.0?}, {lost} lost, captured {:.3?}",
                            next.at, next.captured
                        )?;
                    }
                }
            }
        }
        let samples = self.people.first().map_or(&[][..], |one| &one.curve);
        for sample in samples {
            writeln!(
                f,
                "{:6.1} estimate {:8} came {:8} layer {:?} queue {:.0?}",
                sample.at.as_secs_f64(),
                sample.estimate_bps,
                sample.rate_bps,
                sample.layer,
                sample.queue
            )?;
        }
        Ok(())
    }
}
