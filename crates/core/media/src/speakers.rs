//! Who is heard: the loudest few audio tracks of a meeting, and which of them is the
//! active speaker, told by the levels in the frames' clear headers.
//!
//! A place is kept for as long as its holder talks, and nobody who talks waits for one
//! that a silent track holds. While there are fewer tracks than places all are heard,
//! so a small meeting never loses the beginning of a word.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::TrackId;
use darktower_wire::media::AudioLevel;

/// Bounds of [`Speakers`].
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Audio tracks that are forwarded. Three can still be told apart by ear.
    pub loudest: usize,
    /// A holder that has not talked for so long gives its place to one who does.
    /// Longer than the pauses between sentences.
    pub hold: Duration,
    /// By so many dB must a challenger be louder than the quietest holder that talks.
    /// Twice as loud to the ear is about ten; less would swap on every word.
    pub louder_db: i32,
    /// The active speaker stays that for so long after its last word, so that the
    /// picture does not jump at every "yes".
    pub active_hold: Duration,
    /// Talking for so long makes a candidate for the active speaker: longer than a
    /// cough.
    pub active_after: Duration,
    /// Talking louder for so long takes the part even from one who goes on talking.
    pub active_over: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            loudest: 3,
            hold: Duration::from_millis(1000),
            louder_db: 6,
            active_hold: Duration::from_millis(600),
            active_after: Duration::from_millis(300),
            active_over: Duration::from_millis(1500),
        }
    }
}

/// Pauses inside of a word that do not end it.
const BREATH: Duration = Duration::from_millis(400);

/// The level that a track without levels is taken to have: quiet speech.
const UNSAID_DB: u8 = 50;

/// What is known of one audio track.
#[derive(Debug, Clone, Copy)]
struct Voice {
    /// Smoothed loudness of its voice in sixteenths of a dBov: 0 the loudest,
    /// -127 * 16 silence.
    level: i32,
    /// When it was last thought to talk, and since when without a pause.
    talked: Option<Duration>,
    began: Duration,
    holds: bool,
    /// Since when it has been louder than the active speaker.
    ahead: Option<Duration>,
}

/// The speakers of one meeting.
#[derive(Debug)]
pub struct Speakers {
    config: Config,
    voices: BTreeMap<TrackId, Voice>,
    /// Tracks that are forwarded, in the order in which they came in.
    holders: Vec<TrackId>,
    active: Option<TrackId>,
    /// Who was the active speaker before.
    previous: Option<TrackId>,
    changed: bool,
}

impl Speakers {
    /// A meeting in which nobody has talked.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            voices: BTreeMap::new(),
            holders: Vec::new(),
            active: None,
            previous: None,
            changed: false,
        }
    }

    /// A frame of an audio track came. True: it is to be forwarded.
    pub fn heard(&mut self, now: Duration, track: TrackId, level: Option<AudioLevel>) -> bool {
        let voice = self.voices.entry(track).or_insert(Voice {
            level: -127 * 16,
            talked: None,
            began: now,
            holds: false,
            ahead: None,
        });
        voice.take(now, level);
        let voice = *voice;
        let holds = voice.holds || self.challenge(now, track, voice);
        if holds && voice.talks(now) {
            self.weigh(now, track);
        }
        holds
    }

    /// Whether a track is forwarded.
    pub fn holds(&self, track: TrackId) -> bool {
        self.voices.get(&track).is_some_and(|voice| voice.holds)
    }

    /// The track is there no more.
    pub fn gone(&mut self, track: TrackId) {
        if self.voices.remove(&track).is_some_and(|voice| voice.holds) {
            self.holders.retain(|one| *one != track);
            self.changed = true;
        }
        if self.previous == Some(track) {
            self.previous = None;
        }
        if self.active == Some(track) {
            self.active = self.previous.take();
            self.changed = true;
        }
    }

    /// Tracks that are forwarded, the active speaker's first.
    pub fn forwarded(&self) -> impl Iterator<Item = TrackId> + '_ {
        let active = self.active.filter(|active| self.holders.contains(active));
        let others = self.holders.iter().copied();
        active
            .into_iter()
            .chain(others.filter(move |one| Some(*one) != active))
    }

    /// The active speaker and the one before: the second counts for the first, who
    /// is not shown to itself.
    pub fn active(&self) -> (Option<TrackId>, Option<TrackId>) {
        (self.active, self.previous)
    }

    /// Whether tracks or active speaker have changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Gives a place to a track without one, where it may have one.
    fn challenge(&mut self, now: Duration, track: TrackId, voice: Voice) -> bool {
        if self.holders.len() >= self.config.loudest {
            if !voice.talks(now) {
                return false;
            }
            let Some(weakest) = self.weakest(now) else {
                return false;
            };
            let Some(holder) = self.voices.get_mut(&weakest) else {
                return false;
            };
            let louder = holder.level + self.config.louder_db * 16;
            if holder.rests(now, self.config.hold) || voice.level > louder {
                holder.holds = false;
                holder.ahead = None;
            } else {
                return false;
            }
            self.holders.retain(|one| *one != weakest);
        }
        if let Some(voice) = self.voices.get_mut(&track) {
            voice.holds = true;
        }
        self.holders.push(track);
        self.changed = true;
        true
    }

    /// The holder to lose its place first: who has been silent longest, else the
    /// quietest; never the active speaker while it talks.
    fn weakest(&self, now: Duration) -> Option<TrackId> {
        let hold = self.config.hold;
        let holders = self.holders.iter().filter_map(|id| {
            let voice = self.voices.get(id)?;
            let rests = voice.rests(now, hold);
            let is_active = self.active == Some(*id) && !rests;
            let talked = voice.talked.filter(|_| rests);
            Some(((is_active, !rests, talked, voice.level), *id))
        });
        holders.min().map(|(_, id)| id)
    }

    /// Whether a holder that talks becomes the active speaker.
    fn weigh(&mut self, now: Duration, track: TrackId) {
        if self.active == Some(track) {
            return;
        }
        let active = self.active.and_then(|id| self.voices.get(&id)).copied();
        let Some(voice) = self.voices.get_mut(&track) else {
            return;
        };
        let talked_for = now.saturating_sub(voice.began);
        let wins = match active {
            None => true,
            Some(active) if active.rests(now, self.config.active_hold) => {
                talked_for >= self.config.active_after
            }
            Some(active) => {
                let is_ahead = voice.level > active.level + self.config.louder_db * 16;
                voice.ahead = is_ahead.then(|| voice.ahead.unwrap_or(now));
                let over = self.config.active_over;
                voice.ahead.is_some_and(|since| now >= since + over)
            }
        };
        if wins {
            voice.ahead = None;
            self.previous = self.active.replace(track);
            self.changed = true;
        }
    }
}

impl Voice {
    fn take(&mut self, now: Duration, level: Option<AudioLevel>) {
        let level = level.unwrap_or(AudioLevel {
            minus_dbov: UNSAID_DB,
            voice: true,
        });
        // 127 is silence by definition, whatever the flag says.
        if !level.voice || level.minus_dbov == 127 {
            return;
        }
        // Rises within two packets, falls within a dozen: words count, not what is
        // between them.
        let heard = -i32::from(level.minus_dbov) * 16;
        self.level += match heard > self.level {
            true => (heard - self.level) / 2,
            false => (heard - self.level) / 12,
        };
        if self.rests(now, BREATH) {
            self.began = now;
        }
        self.talked = Some(now);
    }

    fn talks(&self, now: Duration) -> bool {
        !self.rests(now, BREATH)
    }

    /// It has not talked for so long.
    fn rests(&self, now: Duration, time: Duration) -> bool {
        self.talked.is_none_or(|last| now >= last + time)
    }
}
