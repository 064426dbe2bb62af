//! One track made audible: the decisions of [`Playout`] turned into samples.

use core::time::Duration;

use crate::gap::{Gap, HISTORY, Why};
use crate::playout::{Packet, Play, Playout, Report};
use crate::stretch::{Stretch, fade};
use crate::{Sample, ms, samples_in, time_of};

/// What was made up fades into true sound over so many samples.
const FADE: usize = ms(5);
/// Longest sound that one packet may bring: what Opus allows.
const LONGEST: usize = ms(120);

/// What the header of a packet says about its sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heading {
    /// Running number: one more for each packet of the track.
    pub number: u64,
    /// When its first sample was captured, in µs of the sender's clock.
    pub capture_us: u64,
    /// Whether its level is 127: nothing worth hearing follows until the next one.
    pub rest: bool,
}

/// The sound of one track. Packets come decoded, samples go out at [`crate::RATE`].
#[derive(Debug)]
pub struct Player {
    playout: Playout<Vec<Sample>>,
    stretch: Stretch,
    gap: Gap,
    /// Made and not yet heard, from `heard` on.
    ready: Vec<Sample>,
    heard: usize,
    /// The last [`HISTORY`] samples made.
    history: Vec<Sample>,
}

impl Default for Player {
    fn default() -> Self {
        Self::new()
    }
}

impl Player {
    /// A track that is silent.
    pub fn new() -> Self {
        Self {
            playout: Playout::new(),
            stretch: Stretch::new(),
            gap: Gap::default(),
            ready: Vec::new(),
            heard: 0,
            history: vec![[0.0; 2]; HISTORY],
        }
    }

    /// Takes the samples of a packet that came at `now`. Returns whether they may still
    /// be heard. Samples beyond 120 ms are cut off; what is no number is silence.
    pub fn push(&mut self, now: Duration, heading: Heading, mut samples: Vec<Sample>) -> bool {
        samples.truncate(LONGEST);
        for one in samples.iter_mut().flatten() {
            *one = if one.is_finite() { *one } else { 0.0 };
        }
        let packet = Packet {
            number: heading.number,
            capture_us: heading.capture_us,
            length_us: time_of(samples.len()).as_micros() as u32,
            rest: heading.rest,
        };
        let sound = heading.rest.then(|| samples.clone());
        let taken = self.playout.push(now, packet, samples);
        // The noise of the room is of use even where its packet is late.
        if let Some(rest) = sound {
            self.gap.learn(&rest);
        }
        taken
    }

    /// Adds what is heard from `now` on onto `out`.
    pub fn pull(&mut self, now: Duration, out: &mut [Sample]) {
        while self.ready.len() - self.heard < out.len() {
            let ahead = self.ready.len() - self.heard;
            self.make(now + time_of(ahead));
        }
        let ready = &self.ready[self.heard..];
        for (out, made) in out.iter_mut().zip(ready) {
            out[0] += made[0];
            out[1] += made[1];
        }
        self.heard += out.len();
        if self.heard > LONGEST {
            self.ready.drain(..self.heard);
            self.heard = 0;
        }
    }

    /// The track's account of itself at `now`.
    pub fn report(&self, now: Duration) -> Report {
        self.playout.report(now)
    }

    /// Makes the next sound, which is heard at `at`.
    fn make(&mut self, at: Duration) {
        let before = self.ready.len();
        match self.playout.pull(at) {
            Play::Packet { sound, speed } => self.sound(sound, speed),
            Play::Conceal(time) => self.fill(Why::Missing, samples_in(time).max(1)),
            Play::Silence(time) => self.fill(Why::Pause, samples_in(time).max(1)),
        }
        let made = &self.ready[before..];
        let kept = &made[made.len().saturating_sub(HISTORY)..];
        self.history.extend_from_slice(kept);
        self.history.drain(..self.history.len() - HISTORY);
    }

    fn sound(&mut self, mut sound: Vec<Sample>, speed: f32) {
        if self.gap.is_open() {
            let count = FADE.min(sound.len());
            let (mut made, mut faded) = (Vec::with_capacity(count), Vec::with_capacity(count));
            self.gap.fill(&self.history, Why::Missing, count, &mut made);
            fade(&made, &sound[..count], &mut faded);
            sound[..count].copy_from_slice(&faded);
            self.gap.close();
        }
        self.stretch.run(&sound, speed, &mut self.ready);
    }

    fn fill(&mut self, why: Why, count: usize) {
        self.gap.fill(&self.history, why, count, &mut self.ready);
    }
}
