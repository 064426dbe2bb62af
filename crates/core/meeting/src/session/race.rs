//! Another connection beside one that is silent: the network may be back and the silent one live, or its peer be gone.

use core::time::Duration;

/// How far it is. The link that races opens, gives up or takes over as [`Race::turn`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Race {
    /// Being opened since.
    Opening(Duration),
    /// Stands since.
    Standing(Duration),
    /// It takes the place of the silent one.
    Won,
}

impl Race {
    /// How long one attempt may take: its packets come ever more rarely, too. Chromium makes a page that lets handshakes
    /// fail wait the longer before each new one (ten in five minutes: 5 s), so they come no more often than this.
    pub const ATTEMPT: Duration = Duration::from_millis(3200);

    /// What the silent one has left once another stands beside it: a ping that just missed the network's return is
    /// followed by the next, and what was lost before it has to be sent again.
    pub const HANDICAP: Duration = Duration::from_millis(400);

    /// The other one stands.
    pub fn stands(&mut self, now: Duration) {
        if matches!(self, Race::Opening(_)) {
            *self = Race::Standing(now);
        }
    }

    /// When it has to be asked for its next turn.
    pub fn at(self) -> Option<Duration> {
        match self {
            Race::Opening(since) => Some(since + Self::ATTEMPT),
            Race::Standing(since) => Some(since + Self::HANDICAP),
            Race::Won => None,
        }
    }

    /// What it comes to at [`Race::at`]: another attempt, or the end.
    #[must_use]
    pub fn turn(self, now: Duration) -> Race {
        match self {
            Race::Opening(_) => Race::Opening(now),
            Race::Standing(_) | Race::Won => Race::Won,
        }
    }

    /// The silent one is gone for good: since when the other one, which takes its place, is on its way.
    pub fn under_way(self) -> Option<Duration> {
        match self {
            Race::Opening(since) | Race::Standing(since) => Some(since),
            Race::Won => None,
        }
    }
}
