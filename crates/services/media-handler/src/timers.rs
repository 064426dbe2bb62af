//! Many deadlines that are put off all the time: only the earliest entry of each is kept up to date.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Deadlines of things with names. Each thing keeps an [`Armed`].
pub(crate) struct Timers<K>(BinaryHeap<Reverse<(Duration, K)>>);

/// The earliest entry of a thing.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Armed(Option<Duration>);

impl<K: Ord + Copy> Default for Timers<K> {
    fn default() -> Self {
        Self(BinaryHeap::new())
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// The thing is due then. Nothing happens where it is looked at before anyway.
    pub(crate) fn arm(&mut self, armed: &mut Armed, at: Option<Duration>, key: K) {
        if let Some(at) = at
            && armed.0.is_none_or(|earliest| at < earliest)
        {
            armed.0 = Some(at);
            self.0.push(Reverse((at, key)));
        }
    }

    /// When something may be due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    /// A thing to look at: whoever gets it says when it is due next ([`Armed::looked`], [`Timers::arm`]).
    pub(crate) fn due(&mut self, now: Duration) -> Option<(Duration, K)> {
        match self.next() {
            Some(at) if at <= now => self.0.pop().map(|Reverse(entry)| entry),
            _ => None,
        }
    }
}

impl Armed {
    /// The entry of this time has come out.
    pub(crate) fn looked(&mut self, at: Duration) {
        if self.0 == Some(at) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_put_off_is_looked_at_once_and_kept() {
        let ms = Duration::from_millis;
        let mut timers = Timers::default();
        let mut armed = Armed::default();
        for at in [30, 40, 50, 20] {
            timers.arm(&mut armed, Some(ms(at)), 'a');
        }
        assert_eq!(timers.next(), Some(ms(20)));
        assert_eq!(timers.due(ms(19)), None);
        assert_eq!(timers.due(ms(25)), Some((ms(20), 'a')));
        armed.looked(ms(20));
        timers.arm(&mut armed, Some(ms(50)), 'a');
        // The older entry comes out as well, and changes nothing.
        assert_eq!(timers.due(ms(60)), Some((ms(30), 'a')));
        armed.looked(ms(30));
        assert_eq!(timers.due(ms(60)), Some((ms(50), 'a')));
        armed.looked(ms(50));
        assert_eq!(timers.due(ms(60)), None);
        timers.arm(&mut armed, None, 'a');
        assert_eq!(timers.next(), None);
    }
}
