//! Media handlers of which participants hear nothing, though they hear this controller: those that are well to whoever
//! asks from here, and not to people.

use core::time::Duration;
use std::collections::BTreeMap;

use darktower_wire::ids::ParticipantId;

use super::api::Output;
use super::{From, Meeting};

/// What was said longer ago may be over.
const WITHIN: Duration = Duration::from_secs(2);
/// What is said sooner after people were sent to a handler is of the one before.
const SETTLES: Duration = Duration::from_secs(1);

/// Who said so, and when, since the meeting was last sent to a handler.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    said: BTreeMap<ParticipantId, Duration>,
    sent: Option<Duration>,
}

impl Unheard {
    /// People were sent to a handler.
    pub(super) fn sent(&mut self, now: Duration) {
        self.said.clear();
        self.sent = Some(now);
    }
}

impl Meeting {
    /// Somebody hears nothing of its handler. Where that is so for half of those on it, the handler is to be left: a
    /// single one of many may have a network that keeps it from there, and cannot send the others about.
    pub(super) fn media_silent(&mut self, from: From) {
        self.done(from);
        let now = self.now;
        if self.unheard.sent.is_some_and(|sent| now < sent + SETTLES) {
            return;
        }
        let Some(node) = self.home_by_id(from.participant) else {
            return;
        };
        self.unheard.said.insert(from.participant, now);
        let here = self.seated.keys();
        let here = here.filter(|id| self.home_by_id(**id) == Some(node));
        let (mut all, mut deaf) = (0, 0);
        for id in here {
            let said = self.unheard.said.get(id);
            all += 1;
            deaf += usize::from(said.is_some_and(|said| now <= *said + WITHIN));
        }
        if deaf * 2 >= all {
            self.unheard.said.clear();
            self.outputs.push_back(Output::Unheard { node });
        }
    }
}
