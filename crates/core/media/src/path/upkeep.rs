//! What a shell does about the path of a session, and when.

use core::time::Duration;

use super::{Loss, Path};
use crate::Bitrate;

/// Beyond what is in flight QUIC keeps so much, so that it never waits for the egress;
/// everything else waits where it can still be given up.
const SEND_AHEAD: u64 = 32 << 10;

/// The meeting learns of the path no more often than this: as often as sound is sent, for it
/// is soon too late to send again what a path that becomes slow has dropped.
const TELL: Duration = Duration::from_millis(20);

/// Two looks at a path that nothing has happened to are at least so far apart.
const SOON: Duration = Duration::from_millis(1);

/// Padding in one datagram, so that it fits a packet.
const MAX_PADDING: usize = 1100;

/// When the path of one session is looked at, and what its meeting has been told of it.
///
/// [`Upkeep::attend`] is called whenever something has been done for the session, and at
/// [`Upkeep::deadline`].
#[derive(Debug, Clone)]
pub struct Upkeep {
    wish: Option<Bitrate>,
    told: Option<(Bitrate, Loss)>,
    tell_at: Duration,
    look_at: Option<Duration>,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chores {
    /// A datagram of so many bytes of padding is to be sent, where it is not 0.
    pub padding: usize,
    /// Bytes that QUIC may hold, unacknowledged and unsent ones together.
    pub hold: u64,
    /// What is now believed of the path, for the egress, where it is time to say so.
    pub belief: Option<(Bitrate, Loss)>,
    /// Whether the meeting is to be told of that, too.
    pub is_news: bool,
}

impl Upkeep {
    /// Of a path that begins now.
    pub fn new(now: Duration) -> Self {
        Self {
            wish: None,
            told: None,
            tell_at: now,
            look_at: None,
        }
    }

    /// The meeting would use so much: the path is tested at the next call of
    /// [`Upkeep::attend`], which is due at once.
    pub fn probe(&mut self, to: Bitrate) {
        self.wish = Some(to);
        self.look_at = Some(Duration::ZERO);
    }

    /// Looks after the path; nothing where it is too soon.
    pub fn attend(&mut self, now: Duration, path: &mut Path) -> Option<Chores> {
        if !self.is_due(now) {
            return None;
        }
        if let Some(to) = self.wish.take() {
            path.probe(now, to);
        }
        let padding = path.padding(now).min(MAX_PADDING);
        self.look_at = path.deadline().map(|at| at.max(now + SOON));
        let belief = (now >= self.tell_at).then(|| (path.estimate(), path.loss()));
        let is_news = belief.is_some() && self.told != belief;
        if belief.is_some() {
            self.tell_at = now + TELL;
            self.told = belief;
        }
        Some(Chores {
            padding,
            hold: path.window() + SEND_AHEAD,
            belief,
            is_news,
        })
    }

    /// Whether [`Upkeep::attend`] would do anything now.
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.tell_at || self.look_at.is_some_and(|at| now >= at)
    }

    /// When [`Upkeep::attend`] is to be called at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        self.look_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{Config, Rtt};

    const MS: Duration = Duration::from_millis(1);

    fn path() -> Path {
        Path::new(Config::default(), Duration::ZERO)
    }

    #[test]
    fn the_meeting_is_told_once_of_what_does_not_change() {
        let (mut path, mut upkeep) = (path(), Upkeep::new(Duration::ZERO));
        let first = upkeep.attend(Duration::ZERO, &mut path).unwrap();
        assert!(first.is_news && first.belief.is_some());
        assert_eq!(first.hold, path.window() + SEND_AHEAD);
        assert_eq!(upkeep.attend(19 * MS, &mut path), None);
        let second = upkeep.attend(20 * MS, &mut path).unwrap();
        assert_eq!((second.belief, second.is_news), (first.belief, false));
        // Nothing is on the way: nothing has to be looked at.
        assert_eq!(upkeep.deadline(), None);
    }

    #[test]
    fn a_wish_is_tested_at_once_and_padded_piece_by_piece() {
        let (mut path, mut upkeep) = (path(), Upkeep::new(Duration::ZERO));
        // Acknowledgements, so that there is an estimate to test.
        path.sent(Duration::ZERO, 1200);
        let rtt = Rtt {
            min: 10 * MS,
            smoothed: 10 * MS,
        };
        for at in 1..6 {
            path.sent(at * 25 * MS, 1200);
            path.acked(at * 25 * MS + 10 * MS, at * 25 * MS, 1200, true, rtt);
        }
        let mut now = 140 * MS;
        upkeep.attend(now, &mut path).unwrap();
        now += MS;
        assert_eq!(upkeep.attend(now, &mut path), None);
        upkeep.probe(Bitrate::from_kbps(2_000));
        assert!(upkeep.deadline().is_some_and(|at| at <= now));
        let chores = upkeep.attend(now, &mut path).unwrap();
        assert!(chores.padding > 0 && chores.padding <= MAX_PADDING);
        assert_eq!(chores.belief, None, "told a moment ago");
        let (mut padded, until) = (0, now + 190 * MS);
        let mut on_the_way = Vec::new();
        while now < until {
            now = upkeep.deadline().unwrap().max(now);
            while let Some(&(sent_at, bytes)) = on_the_way.first()
                && sent_at + 10 * MS <= now
            {
                path.acked(now, sent_at, bytes, true, rtt);
                on_the_way.remove(0);
            }
            let chores = upkeep.attend(now, &mut path).unwrap();
            if chores.padding > 0 {
                path.sent(now, chores.padding as u64);
                on_the_way.push((now, chores.padding as u64));
                padded += chores.padding;
            }
        }
        assert!((40_000..=50_000).contains(&padded), "{padded}");
    }
}
