//! What is on the screen, and what of it is to come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use darktower_media::{Kind, subscriber};
use darktower_wire::ids::TrackId;

use super::Attendance;
use super::tracks::demand_of;
use crate::command::View;

/// A track that was away for less comes back in the midst of a group that this end has
/// seen the beginning of: a publisher's groups are no longer, and half of it again.
const SAME_GROUP: Duration = Duration::from_secs(6);

/// The screen as it was last told of.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// Tracks that are seen; `None` until the screen has said: all are.
    seen: Option<BTreeSet<TrackId>>,
    /// When tracks that were seen went off the screen.
    gone: BTreeMap<TrackId, Duration>,
    /// Tracks of which the subscriber was told that nothing comes.
    quiet: BTreeSet<TrackId>,
}

impl Attendance {
    /// The screen shows these tracks, and no others.
    pub(super) fn show(&mut self, now: Duration, views: &[View]) {
        let seen: BTreeSet<_> = views.iter().map(|view| TrackId(view.track)).collect();
        let was_seen = |id: &TrackId, screen: &Screen| {
            screen.seen.as_ref().is_none_or(|seen| seen.contains(id))
        };
        let mut back = Vec::new();
        for id in self.followed.keys() {
            let was = was_seen(id, &self.screen);
            if was && !seen.contains(id) {
                self.screen.gone.insert(*id, now);
            } else if seen.contains(id)
                && let Some(gone) = self.screen.gone.remove(id)
                && now < gone + SAME_GROUP
            {
                back.push(*id);
            }
        }
        self.screen.seen = Some(seen);
        self.media.show(demand_of(views));
        self.say_what_comes(now);
        // The newest group is sent again from its beginning, and refused as far as it
        // was seen: only a new one can be decoded.
        for id in back {
            self.subscribed(now, subscriber::Input::DecoderFailed(id));
        }
    }

    /// Tells the subscriber of which tracks nothing is to come: those that are hidden,
    /// and those that the path does not carry.
    pub(super) fn say_what_comes(&mut self, now: Duration) {
        let shares = &self.reception.shares;
        let hidden = |id: &TrackId| match &self.screen.seen {
            Some(seen) => !seen.contains(id),
            None => false,
        };
        let paused = |id: &TrackId| shares.get(&id.0).is_some_and(|share| share.paused);
        let videos = self.followed.iter();
        let videos = videos.filter(|(_, track)| track.kind == Kind::Video);
        let quiet: BTreeSet<_> = videos
            .map(|(id, _)| *id)
            .filter(|id| hidden(id) || paused(id))
            .collect();
        let changed: Vec<_> = quiet
            .symmetric_difference(&self.screen.quiet)
            .copied()
            .collect();
        for track in changed {
            let shown = !quiet.contains(&track);
            self.subscribed(now, subscriber::Input::Shown { track, shown });
        }
        self.screen
            .gone
            .retain(|id, _| self.followed.contains_key(id));
        self.screen.quiet = quiet;
    }
}
