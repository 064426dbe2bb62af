//! Sound where there is none: a lost packet is made up for by going on with the last
//! pitch period, which fades into comfort noise; a pause is that noise from the start.

use crate::noise::Noise;
use crate::{Sample, ms, pitch};

/// What a gap needs of the sound before it: the longest period and what is compared.
pub(crate) const HISTORY: usize = LONGEST + COMPARED;
const SHORTEST: usize = ms(5) / 2;
const LONGEST: usize = ms(15);
const COMPARED: usize = ms(10);
/// So long the repeated period keeps its loudness; longer it sounds like a robot.
const KEEP: usize = ms(10);
/// So long it fades, in a gap and into a pause.
const FADE: usize = ms(60);
const PAUSE_FADE: usize = ms(10);
/// A step at the gap's beginning is spread over so many samples.
const SMOOTH: usize = ms(3);

/// Why there is no sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Missing,
    Pause,
}

/// The continuation of one track's sound.
#[derive(Debug, Default)]
pub(crate) struct Gap {
    noise: Noise,
    /// The period that is repeated; its end leads into its beginning.
    cycle: Vec<Sample>,
    /// Samples since the gap began; `None` outside of one.
    age: Option<usize>,
    /// How loud the repetition still is, of 1.
    gain: f32,
    /// The step between the last true sample and the first made one.
    step: Sample,
}

impl Gap {
    /// Whether sound is being made up.
    pub(crate) fn is_open(&self) -> bool {
        self.age.is_some()
    }

    /// True sound goes on.
    pub(crate) fn close(&mut self) {
        self.age = None;
    }

    /// Takes the sound of a pause as the example of its noise.
    pub(crate) fn learn(&mut self, rest: &[Sample]) {
        self.noise.learn(rest);
    }

    /// Appends the next `count` samples after `history`, the last [`HISTORY`] samples
    /// that were heard.
    pub(crate) fn fill(
        &mut self,
        history: &[Sample],
        why: Why,
        count: usize,
        out: &mut Vec<Sample>,
    ) {
        if self.age.is_none() {
            self.begin(history);
        }
        let mut age = self.age.unwrap_or_default();
        for _ in 0..count {
            out.push(self.sample(why, age));
            age += 1;
        }
        self.age = Some(age);
    }

    fn begin(&mut self, history: &[Sample]) {
        self.age = Some(0);
        self.gain = 1.0;
        self.cycle.clear();
        let Some(from) = history.len().checked_sub(COMPARED) else {
            return;
        };
        let Some((lag, _)) = pitch::before(history, from, COMPARED, SHORTEST, LONGEST, 0.0) else {
            return;
        };
        let end = history.len();
        self.cycle.extend_from_slice(&history[end - lag..]);
        // Toward its end the cycle becomes what came before its beginning, so that it closes.
        let seam = lag / 4;
        for at in 0..seam {
            let t = (at + 1) as f32 / seam as f32;
            let kept = &mut self.cycle[lag - seam + at];
            let before = history[end - lag - seam + at];
            for ear in 0..2 {
                kept[ear] += (before[ear] - kept[ear]) * t;
            }
        }
        let (last, before) = (history[end - 1], history[end - lag - 1]);
        self.step = [last[0] - before[0], last[1] - before[1]];
    }

    fn sample(&mut self, why: Why, age: usize) -> Sample {
        let quiet = 1.0 - self.gain;
        let mut sample = self.noise.sample().map(|one| one * quiet);
        if self.gain > 0.0 && !self.cycle.is_empty() {
            let smooth = (1.0 - age as f32 / SMOOTH as f32).max(0.0);
            let cycle = self.cycle[age % self.cycle.len()];
            for ear in 0..2 {
                sample[ear] += (cycle[ear] + self.step[ear] * smooth) * self.gain;
            }
        }
        let slope = match why {
            Why::Missing if age < KEEP => 0.0,
            Why::Missing => 1.0 / FADE as f32,
            Why::Pause => 1.0 / PAUSE_FADE as f32,
        };
        self.gain = (self.gain - slope).max(0.0);
        sample
    }
}
