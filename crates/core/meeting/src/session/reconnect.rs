//! Connecting, losing the connection, coming back.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::signal::{self, client_message::Body};

use super::{Output, Phase, Session, What};

impl Session {
    pub(super) fn connect(&mut self, now: Duration) {
        self.connection.start(now);
        let patience = match self.state.phase {
            Phase::Reconnecting => self.seat_ttl,
            _ => Some(self.config.patience),
        };
        self.give_up_at = patience.map(|patience| now + patience);
    }

    pub(super) fn connected(&mut self, now: Duration) {
        if !self.connection.is_open() {
            return;
        }
        if self.connection.is_replaced() {
            self.lost(now);
        }
        self.connection.connected(now);
        self.give_up_at = None;
        match self.state.phase {
            Phase::Connecting | Phase::Lobby => {
                self.ask(What::Lobby, Body::Hello(signal::Hello {}), false);
            }
            Phase::Joining => self.send_join(),
            Phase::Reconnecting => {
                let body = Body::Resume(self.held.resume());
                self.ask(What::Join, body, false);
            }
            Phase::Left if self.farewell.is_some() => self.leave_again(now),
            Phase::Idle | Phase::Joined | Phase::Left | Phase::Ended | Phase::Failed => {}
        }
    }

    pub(super) fn disconnected(&mut self, now: Duration, code: Option<Code>) {
        if self.state.phase.is_final() {
            return self.unheard(now, code);
        }
        if !self.connection.is_open() {
            return;
        }
        let code = code.unwrap_or(Code::ConnectionLost);
        match code {
            Code::MeetingEnded => self.finish(Phase::Ended, Some(code), false),
            // It opens one session, which may have been one that this end never heard of.
            Code::TokenReplayed | Code::TokenExpired if !self.has_seat() => self.spent(now),
            code if !code.is_retryable() && code != Code::Left => {
                self.finish(Phase::Failed, Some(code), false);
            }
            code => {
                if matches!(code, Code::Draining | Code::NotOwner | Code::Unavailable) {
                    self.doors.leave_here();
                }
                self.lost(now);
            }
        }
    }

    /// The connection is gone; come back. Whether the one beside it takes its place.
    pub(super) fn lost(&mut self, now: Duration) -> bool {
        if self.state.phase.is_final() {
            self.unheard(now, None);
            return false;
        }
        self.asked.retain(|_, asked| asked.again.is_some());
        if self.state.phase == Phase::Joined {
            self.state.phase = Phase::Reconnecting;
        }
        if self.give_up_at.is_none() {
            self.give_up_at = match self.state.phase {
                // Nothing is known of the seat's time after a reload: the controller says. What it last heard of this end
                // may be newer than what this end heard.
                Phase::Reconnecting => self.seat_ttl.map(|held| now + held),
                _ => Some(now + self.config.patience),
            };
        }
        if self.may_race() && self.connection.fall_back() {
            self.outputs.push_back(Output::Replace);
            return true;
        }
        if !self.is_spent && self.doors.are_all_shut() {
            self.outputs.push_back(Output::LookUp);
        }
        self.connection.lost(now, &self.config);
        false
    }

    /// The API named a controller: the next attempt goes there, at once.
    pub(super) fn found(&mut self, now: Duration) {
        if self.state.phase.is_final() {
            return;
        }
        self.doors.found();
        self.connection.hurry(now);
    }

    /// A token opens one session at a controller, and the one that stands has it.
    pub(super) fn may_race(&self) -> bool {
        self.has_seat() || self.doors.is_choice() && !self.is_spent
    }

    pub(super) fn try_next_door(&mut self, beside: bool) {
        self.connection.allow(match self.doors.is_choice() {
            true => self.config.connect_timeout_choice,
            false => self.config.connect_timeout,
        });
        let to = self.doors.next();
        let farewell = self.farewell.as_ref().map(|it| it.resume.clone());
        let resume = farewell.or_else(|| self.state.resume_token.clone());
        let connect = Output::Connect { beside, resume, to };
        self.outputs.push_back(connect);
    }

    pub(super) fn disconnect(&mut self, code: Code) {
        self.outputs.push_back(Output::Disconnect { code });
    }
}
