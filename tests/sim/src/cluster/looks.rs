//! What participants show: whether they are in, what of the others, and whether all are together.

use std::collections::BTreeMap;
use std::time::Duration;

use darktower_participant::{LinkState, Phase, TrackState};

use super::{Cluster, Happening};

impl Cluster {
    /// Who is not together with the others, and why; pictures have to have come since `before`.
    pub(super) fn apart(&self, before: Option<&[BTreeMap<u32, u64>]>) -> Option<String> {
        let Some(before) = before else {
            return Some("nothing was looked at yet".to_owned());
        };
        for (at, person) in self.persons.iter().enumerate() {
            let (place, state) = (person.place, person.core.state());
            if !person.wants {
                if !matches!(
                    state.phase,
                    Phase::Idle | Phase::Left | Phase::Ended | Phase::Failed
                ) {
                    return Some(format!("{place:?} has left and is {:?}", state.phase));
                }
                continue;
            }
            let is_up = state.links.signal == LinkState::Up && state.links.media == LinkState::Up;
            if state.phase != Phase::Joined || !is_up || !state.e2ee.ready {
                let links = (state.links.signal, state.links.media);
                return Some(format!(
                    "{place:?} is {:?} {links:?} {:?}",
                    state.phase, state.e2ee
                ));
            }
            let others = self.persons.iter();
            let others = others.filter(|it| it.meeting == person.meeting && it.wants);
            for other in others.clone() {
                let theirs = other.core.state().e2ee;
                if (theirs.epoch, &theirs.code) != (state.e2ee.epoch, &state.e2ee.code) {
                    return Some(format!(
                        "{place:?} is in another epoch than {:?}",
                        other.place
                    ));
                }
            }
            for shown in state.participants.iter().filter(|it| !it.me) {
                let wish = shown
                    .id
                    .parse()
                    .ok()
                    .and_then(|id| self.model.mutes.wish(id));
                let is_other = |it: &&TrackState| it.kind == "audio" && Some(it.muted) != wish;
                if wish.is_some() && shown.tracks.iter().any(|it| is_other(&it)) {
                    let word = "is not shown as muted as it wishes";
                    return Some(format!("to {place:?} {} {word}", shown.name));
                }
            }
            let seen = person.pictures.iter();
            let seen = seen
                .filter(|(track, n)| before[at].get(track) < Some(n))
                .count();
            if seen + 1 < others.count() {
                return Some(format!("{place:?} sees {seen} of the others"));
            }
        }
        None
    }

    pub(super) fn look_after(&mut self, at: usize) {
        self.look_at_mutes(at);
        let person = &self.persons[at];
        let is_in = person.phase == Phase::Joined;
        if is_in {
            self.last_in[at] = self.now;
        }
        let failure = person.failure().filter(|_| person.wants);
        let waits = person.wants && !is_in && failure.is_none();
        self.model.asks(self.now, person.id, waits);
        let Some(code) = failure else {
            return;
        };
        let (meeting, id) = (person.meeting, person.id);
        let silent = self.now - self.last_in[at];
        self.note(format!("person-{at} is out: {code}"));
        self.model.told_out(self.now, meeting, id, code, silent);
        self.persons[at].wants = false;
        let again = self.now + Duration::from_secs(1);
        self.queue.send(again, Happening::ComeAgain(at));
    }

    /// What it is shown of the others' microphones.
    fn look_at_mutes(&mut self, at: usize) {
        if !std::mem::take(&mut self.persons[at].has_news) {
            return;
        }
        let person = &self.persons[at];
        for other in person.core.state().participants {
            let microphone = other.tracks.iter().find(|track| track.kind == "audio");
            let (Some(track), Ok(id)) = (microphone, other.id.parse()) else {
                continue;
            };
            let (meeting, me) = (person.meeting, person.id);
            // Its own it is shown as it wishes at once, as far as it is published.
            if other.me {
                continue;
            }
            let mutes = &mut self.model.mutes;
            if let Some(what) = mutes.sees(self.now, meeting, me, id, track.muted) {
                self.model.break_rule(what);
            }
        }
    }
}
