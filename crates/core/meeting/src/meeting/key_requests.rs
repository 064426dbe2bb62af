//! What the controller asks of members and tells lobbies: removals, fresh public
//! state, the epoch's moves.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::ids::ParticipantId;
use darktower_wire::mls;
use darktower_wire::signal::{KeyGroupInfo, KeyWanted, server_message::Body};

use super::api::{Config, SessionId};
use super::keys::KeyRequests;
use super::record::{Change, participant};
use super::{From, Meeting, Stage};

impl KeyRequests {
    pub(super) fn deadline(&self, config: &Config) -> Option<Duration> {
        let lobby = self
            .lobby_stale
            .then(|| self.lobby_told.unwrap_or_default() + config.lobby_every);
        let removing = self.removing.as_ref().map(|(_, until)| *until);
        lobby.into_iter().chain(removing).min()
    }
}

impl Meeting {
    pub(super) fn review_keys(&mut self) {
        self.review_removals();
        let due = self
            .keys
            .lobby_told
            .is_none_or(|told| self.now >= told + self.config.lobby_every);
        if self.keys.lobby_stale && due {
            self.keys.lobby_stale = false;
            self.keys.lobby_told = Some(self.now);
            let waiting = self
                .sessions
                .iter()
                .filter(|(_, entry)| entry.stage == Stage::Lobby);
            let waiting: Vec<_> = waiting.map(|(session, _)| *session).collect();
            let state = self.key_state();
            for session in waiting {
                let state = Body::KeyState(state.clone());
                self.send(session, 0, self.records.sequence, state);
            }
        }
    }

    /// Members without a seat are to be removed from the group: one present
    /// member is asked, and the next one where it does not act in time.
    fn review_removals(&mut self) {
        let departed = self.departed();
        if departed.is_empty() {
            self.keys.removing = None;
            self.keys.remove_asked.clear();
            return;
        }
        match &self.keys.removing {
            Some((list, until)) if *list == departed && self.now < *until => return,
            Some((list, _)) if *list == departed => {}
            _ => self.keys.remove_asked.clear(),
        }
        let followers = self.followers();
        let until = self.now + self.config.remove_within;
        if followers.is_empty() {
            // Whoever comes back is asked then.
            self.keys.removing = Some((departed, until));
            return;
        }
        let fresh = followers
            .iter()
            .find(|(id, _)| !self.keys.remove_asked.contains(id));
        let asked = fresh.or(followers.first()).copied();
        if fresh.is_none() {
            self.keys.remove_asked.clear();
        }
        if let Some((id, session)) = asked {
            self.keys.remove_asked.insert(id);
            let wanted = KeyWanted {
                remove: departed.iter().map(|id| id.to_vec().into()).collect(),
                group_info: false,
            };
            self.send(session, 0, 0, Body::KeyWanted(wanted));
        }
        self.keys.removing = Some((departed, until));
    }

    /// Present members who follow the group, the lowest leaf first.
    fn followers(&self) -> Vec<(ParticipantId, SessionId)> {
        let members = self.records.keys.iter().flat_map(|keys| &keys.members);
        members
            .filter(|member| !member.astray)
            .filter_map(|member| {
                let id = participant(&member.id);
                let session = *self.seated.get(&id)?;
                (!self.is_resyncing(session)).then_some((id, session))
            })
            .collect()
    }

    pub(super) fn want_group_info(&mut self) {
        if let Some((id, session)) = self.followers().first().copied() {
            self.keys.info_asked.insert(id);
            let wanted = KeyWanted {
                remove: Vec::new(),
                group_info: true,
            };
            self.send(session, 0, 0, Body::KeyWanted(wanted));
        }
    }

    pub(super) fn key_group_info(&mut self, from: From, info: KeyGroupInfo) {
        let Ok((group, epoch)) = mls::group_info_frame(&info.group_info) else {
            return self.refuse(from, Code::KeyMalformed, "group_info has no readable frame");
        };
        // Taken only from those who were asked: others have no need to say it.
        if !self.keys.info_asked.remove(&from.participant) {
            return self.refuse(from, Code::OutOfOrder, "nobody asked for it");
        }
        let keys = self.records.keys.as_ref();
        let fits = keys.is_some_and(|keys| {
            keys.group == group && keys.epoch() == epoch && epoch == info.epoch
        });
        if !fits {
            return self.refuse(from, Code::EpochStale, "");
        }
        self.change(Change::GroupInfo(info.group_info));
        self.keys.lobby_stale = true;
        self.done(from);
    }
}
