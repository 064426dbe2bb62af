//! What was heard, through the very jitter buffer that ships.

use std::collections::BTreeSet;
use std::time::Duration;

use darktower_sound::playout::{Packet, Play, Playout};

use super::Span;
use crate::record::{Said, Sound};

/// How much sound a packet holds.
const LENGTH: Duration = Duration::from_millis(20);
/// Before so much has been played the buffer is still finding its delay.
const SETTLE: Duration = Duration::from_secs(2);

/// How well sound came.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Listening {
    /// What was said with a voice, as far as it had to be heard.
    pub said: Duration,
    /// Of it, what was never played.
    pub missed: Duration,
    /// What was made up instead of sound that was not there.
    pub made_up: Duration,
    /// The longest time in the span between two packets that were played, after the first: the gap that is heard.
    pub gap: Duration,
    /// The greatest delay beyond that of the fastest packet, at the end of each second
    /// after the first two.
    pub delay: Duration,
}

impl Listening {
    /// What was missing or made up, whichever is more, in percent of what was said.
    pub fn concealed_percent(&self) -> f64 {
        let faults = self.missed.max(self.made_up).as_secs_f64();
        100.0 * faults / self.said.as_secs_f64().max(1e-3)
    }
}

/// Plays what came of a track, and counts what of it was said in the span.
pub fn listen(said: &[Said], heard: &[Sound], span: Span) -> Listening {
    let mut found = Listening::default();
    let mut played = BTreeSet::new();
    let mut playout = Playout::new();
    let mut now = heard.first().map_or(span.to, |first| first.at);
    let settled = now + SETTLE;
    let mut second = settled;
    let mut waiting = heard.iter().peekable();
    // When the last packet that was played ended.
    let mut heard_until = None;
    // What was said last in the span is heard a moment after its end.
    while now < span.to + SETTLE {
        while let Some(sound) = waiting.next_if(|sound| sound.at <= now) {
            playout.push(sound.at, packet(sound), sound.counter);
        }
        let lasts = match playout.pull(now) {
            Play::Packet { sound, speed } => {
                played.insert(sound);
                let length = LENGTH.div_f32(speed);
                let before = heard_until.replace(now + length);
                if span.holds(now) {
                    found.gap = found.gap.max(now.saturating_sub(before.unwrap_or(now)));
                }
                length
            }
            Play::Conceal(time) => {
                if span.holds(now) {
                    found.made_up += time;
                }
                time
            }
            Play::Silence(time) => time,
        };
        if now >= second && now < span.to {
            second += Duration::from_secs(1);
            let delay = Duration::from_micros(playout.report(now).delay_us);
            found.delay = found.delay.max(delay);
        }
        now += lasts;
    }
    for packet in said.iter().filter(|it| it.voice && span.holds(it.captured)) {
        found.said += LENGTH;
        if !played.contains(&packet.counter) {
            found.missed += LENGTH;
        }
    }
    found
}

fn packet(sound: &Sound) -> Packet {
    Packet {
        number: sound.counter,
        capture_us: u64::try_from(sound.captured.as_micros()).unwrap_or(u64::MAX),
        length_us: LENGTH.as_micros() as u32,
        rest: false,
    }
}

/// The longest time in the span in which no packet came.
pub fn longest_silence(heard: &[Sound], span: Span) -> Duration {
    let inside = heard.iter().map(|it| it.at).filter(|at| span.holds(*at));
    let mut last = span.from;
    let mut longest = Duration::ZERO;
    for at in inside.chain([span.to]) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
    }
    longest
}
