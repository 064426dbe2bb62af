//! What the handler says of this end's two paths: what it gets, who is heard, how
//! its own frames arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_media::Bitrate;
use darktower_wire::media_control::{Allocation, Feedback, Share};

/// Loss is smoothed over about so many feedbacks, which come ten a second: long
/// enough that one lost datagram of five is no figure to show.
const SMOOTHING: f64 = 30.0;

/// Between two tellings of an estimate that moves.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// The newest word on each; nothing of it outlives a connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reception {
    pub(crate) down_bps: Option<u64>,
    pub(crate) shares: BTreeMap<u32, Share>,
    pub(crate) speakers: Vec<u32>,
    up_loss: Option<f64>,
    has_feedback: bool,
    /// When the screen was last told of a feedback, and with which estimate and
    /// hundredths of loss.
    shown: Option<(Duration, Bitrate, Option<u32>)>,
}

impl Reception {
    pub(crate) fn allocated(&mut self, allocation: Allocation) {
        self.down_bps = Some(allocation.estimate_bps);
        let shares = allocation.shares.into_iter();
        self.shares = shares.map(|share| (share.track, share)).collect();
    }

    pub(crate) fn fed_back(&mut self, feedback: &Feedback) {
        self.has_feedback = true;
        let sent = f64::from(feedback.datagrams) + f64::from(feedback.datagrams_lost);
        if sent > 0.0 {
            let lost = f64::from(feedback.datagrams_lost) / sent;
            let known = self.up_loss.unwrap_or(0.0);
            self.up_loss = Some(known + (lost - known) / SMOOTHING);
        }
    }

    /// Whether the screen is to be told what a feedback has changed. Each telling is the
    /// whole picture of the meeting, so it is told no oftener than a person reads.
    pub(crate) fn is_news(&mut self, now: Duration, estimate: Bitrate) -> bool {
        let percent = self.up_loss().map(|thousandths| thousandths / 10);
        let due = match self.shown {
            None => true,
            Some((at, before, lost)) => {
                now >= at + SHOW_EVERY && (before, lost) != (estimate, percent)
            }
        };
        if due {
            self.shown = Some((now, estimate, percent));
        }
        due
    }

    /// The publisher's estimate rests on something.
    pub(crate) fn has_feedback(&self) -> bool {
        self.has_feedback
    }

    /// In thousandths.
    pub(crate) fn up_loss(&self) -> Option<u32> {
        self.up_loss.map(|share| (share * 1000.0).round() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback(datagrams: u32, datagrams_lost: u32) -> Feedback {
        Feedback {
            datagrams,
            datagrams_lost,
            ..Feedback::default()
        }
    }

    #[test]
    fn loss_is_smoothed_and_unknown_while_nothing_is_sent() {
        let mut reception = Reception::default();
        reception.fed_back(&feedback(0, 0));
        assert_eq!(reception.up_loss(), None);
        reception.fed_back(&feedback(5, 0));
        assert_eq!(reception.up_loss(), Some(0));
        for _ in 0..300 {
            reception.fed_back(&feedback(4, 1));
        }
        assert_eq!(reception.up_loss(), Some(200));
    }

    #[test]
    fn a_screen_is_told_once_a_second_at_most() {
        let mut reception = Reception::default();
        let told = (0..50u32).filter(|n| {
            let now = Duration::from_millis(100) * *n;
            reception.is_news(now, Bitrate::from_kbps(u64::from(*n)))
        });
        assert_eq!(told.count(), 5);
        let same = Bitrate::from_kbps(40);
        assert!(!reception.is_news(Duration::from_millis(4900), same));
        assert!(reception.is_news(Duration::from_secs(6), Bitrate::from_kbps(50)));
        assert!(!reception.is_news(Duration::from_secs(60), Bitrate::from_kbps(50)));
    }

    #[test]
    fn an_allocation_takes_the_place_of_the_one_before() {
        let mut reception = Reception::default();
        let share = |track| Share {
            track,
            ..Share::default()
        };
        for tracks in [vec![1, 2], vec![2, 3]] {
            reception.allocated(Allocation {
                estimate_bps: 7,
                shares: tracks.into_iter().map(share).collect(),
            });
        }
        assert!(reception.shares.keys().eq([&2, &3]));
        assert_eq!(reception.down_bps, Some(7));
    }
}
