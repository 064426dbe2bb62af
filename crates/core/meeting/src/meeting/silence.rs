//! Who says nothing: away in the eyes of the others first, then gone.

use core::time::Duration;

use darktower_wire::Code;

use super::api::{Config, SessionId};
use super::{Meeting, Session};

/// Before somebody is called silent, what may have come meanwhile is taken in for so long: a controller that stood still,
/// or waited for its store, finds it all at once when it goes on.
const HEAR_OUT: Duration = Duration::from_secs(1);

/// What is thought of a session's silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// There is none worth a thought.
    None,
    /// It may be silent, or not have been listened to; waited for since.
    Doubted(Duration),
    /// It is silent, and the others know.
    Known,
}

impl Session {
    /// When its silence means something else than now, unless something is heard.
    pub(super) fn judged_at(&self, config: &Config) -> Duration {
        match self.silence {
            Silence::None => self.heard + config.away_after.saturating_sub(HEAR_OUT),
            Silence::Doubted(since) => since + HEAR_OUT,
            Silence::Known => self.heard + config.silent_after,
        }
    }
}

impl Meeting {
    /// A session said something.
    pub(super) fn heard(&mut self, session: SessionId) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.heard = self.now;
        let was = std::mem::replace(&mut entry.silence, Silence::None);
        let id = entry.participant;
        if was == Silence::Known && self.seated.get(&id) == Some(&session) {
            self.is_back(id);
        }
    }

    pub(super) fn judge_silence(&mut self) {
        let is_due = |entry: &Session| self.now >= entry.judged_at(&self.config);
        let due = self.sessions.iter().filter(|(_, entry)| is_due(entry));
        let due: Vec<_> = due.map(|(session, _)| *session).collect();
        for session in due {
            let Some(entry) = self.sessions.get_mut(&session) else {
                continue;
            };
            match entry.silence {
                Silence::None => entry.silence = Silence::Doubted(self.now),
                Silence::Doubted(_) => {
                    entry.silence = Silence::Known;
                    let (id, heard) = (entry.participant, entry.heard);
                    if self.seated.get(&id) == Some(&session) {
                        self.went_away(id, heard);
                    }
                }
                Silence::Known => self.close(session, Code::ConnectionLost),
            }
        }
    }
}
