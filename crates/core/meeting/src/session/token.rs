//! A join token opens one session, for five minutes. Who is not in the meeting and has lost that session has to be let in
//! anew by the API.

use core::time::Duration;

use darktower_wire::signal::KeyCommit;

use super::Session;

impl Session {
    /// Its join token was used before or has run out, and it is not in the meeting: it waits for another.
    pub fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// The controller does not take the token; until there is another, nobody is asked but the API.
    pub(super) fn spent(&mut self, now: Duration) {
        self.is_spent = true;
        self.lost(now);
        self.connection.hurry(now);
    }

    /// The API lets this end come anew, at once.
    pub(super) fn admitted(&mut self, now: Duration, key: Option<KeyCommit>) {
        if self.state.phase.is_final() || !std::mem::take(&mut self.is_spent) {
            return;
        }
        self.state.me = None;
        self.commit = None;
        if let Some(join) = &mut self.join {
            join.key = key;
        }
        self.found(now);
    }

    /// It comes with a resume token, which is good for as long as the seat is.
    pub(super) fn has_seat(&self) -> bool {
        self.state.resume_token.is_some() || self.farewell.is_some()
    }
}
