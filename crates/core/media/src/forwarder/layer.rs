//! One layer of a track: the order of its groups, its newest group, and what it takes.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::media::Header;

use super::rates::Rates;
use super::{Payload, SessionId};
use crate::ask::Ask;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It begins a group.
    Begins,
    /// It continues the newest group.
    Continues,
    /// It is not to be forwarded.
    Refused(Code),
}

#[derive(Debug)]
pub(super) struct Layer<P> {
    /// Newest group, newest frame in it.
    newest: Option<(u64, u64)>,
    began: Duration,
    /// All of the newest group, or nothing where that is too much.
    cache: Vec<(Header, P)>,
    cached: usize,
    /// False: the newest group has outgrown the cache.
    complete: bool,
    /// Who was given the newest group, or some of it, and takes none of that again.
    given: Vec<SessionId>,
    /// Its publisher was told that nobody wants it. What still comes is neither
    /// measured nor kept.
    is_paused: bool,
    pub(super) ask: Ask,
    pub(super) rates: Rates,
    /// Since when nobody gets it.
    pub(super) idle: Option<Duration>,
    /// When its last frame came, and when it was wanted again.
    pub(super) last: Duration,
    pub(super) resumed: Duration,
    /// Beats for which it was silent while a smaller one was not.
    pub(super) lacks: u8,
}

impl<P> Default for Layer<P> {
    fn default() -> Self {
        Self {
            newest: None,
            began: Duration::ZERO,
            cache: Vec::new(),
            cached: 0,
            complete: false,
            given: Vec::new(),
            is_paused: false,
            ask: Ask::default(),
            rates: Rates::default(),
            idle: None,
            last: Duration::ZERO,
            resumed: Duration::ZERO,
            lacks: 0,
        }
    }
}

impl<P> Layer<P> {
    /// Bytes kept.
    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// The newest group, if all of it is kept, it did not begin before `oldest` and
    /// `session` has had nothing of it; else nothing.
    pub(super) fn newest_group(&self, session: SessionId, oldest: Duration) -> &[(Header, P)] {
        let had = self.given.contains(&session);
        match self.complete && self.began >= oldest && !had {
            true => &self.cache,
            false => &[],
        }
    }

    /// A session is given the newest group from here on.
    pub(super) fn give(&mut self, session: SessionId) {
        self.given.push(session);
    }

    /// It is to be paused: its newest picture is soon an old one.
    pub(super) fn pause(&mut self) {
        self.forget();
        self.cache = Vec::new();
        self.rates.forget();
        self.ask.answered();
        self.is_paused = true;
    }

    /// It is wanted again.
    pub(super) fn resume(&mut self, now: Duration) {
        self.idle = None;
        if core::mem::take(&mut self.is_paused) {
            self.resumed = now;
        }
    }

    fn forget(&mut self) {
        self.cache.clear();
        self.cached = 0;
        self.complete = false;
    }
}

impl<P: Payload> Layer<P> {
    /// Takes the next frame of a publisher, keeping at most `room` bytes of its
    /// group.
    pub(super) fn take(
        &mut self,
        now: Duration,
        header: &Header,
        payload: &P,
        room: usize,
    ) -> Taken {
        let newest_group = self.newest.map(|(group, _)| group);
        let begins = newest_group.is_none_or(|newest| header.group > newest);
        if begins && !header.key {
            return Taken::Refused(match self.newest {
                // Its beginning came before the track was known.
                None => Code::StaleGroup,
                Some(_) => Code::BadFrameHeader,
            });
        }
        let place = (header.group, header.frame);
        if !begins && self.newest.is_some_and(|newest| place <= newest) {
            return Taken::Refused(Code::StaleGroup);
        }
        self.newest = Some(place);
        self.last = now;
        if begins {
            self.forget();
            self.given.clear();
            self.began = now;
            self.complete = !self.is_paused;
            self.ask.answered();
        }
        let size = payload.size();
        if !self.is_paused {
            self.rates.add(now, header.temporal, size);
        }
        if self.complete && self.cached + size <= room {
            self.cached += size;
            self.cache.push((*header, payload.clone()));
        } else {
            self.forget();
        }
        match begins {
            true => Taken::Begins,
            false => Taken::Continues,
        }
    }
}
