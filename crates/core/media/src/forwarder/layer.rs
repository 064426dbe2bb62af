//! One layer of a track: the order of its groups, and its newest group.

use core::time::Duration;

use darktower_wire::Code;
use darktower_wire::media::Header;

use super::Payload;
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
    pub(super) ask: Ask,
}

impl<P> Default for Layer<P> {
    fn default() -> Self {
        Self {
            newest: None,
            began: Duration::ZERO,
            cache: Vec::new(),
            cached: 0,
            complete: false,
            ask: Ask::default(),
        }
    }
}

impl<P> Layer<P> {
    /// Bytes kept.
    pub(super) fn cached(&self) -> usize {
        self.cached
    }

    /// The newest group, if all of it is kept and it began no longer than `grace`
    /// before its receiver `joined`; else nothing.
    pub(super) fn newest_group(&self, joined: Duration, grace: Duration) -> &[(Header, P)] {
        match self.complete && self.began + grace >= joined {
            true => &self.cache,
            false => &[],
        }
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
        if begins {
            self.forget();
            self.began = now;
            self.complete = true;
            self.ask.answered();
        }
        let size = payload.size();
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

    fn forget(&mut self) {
        self.cache = Vec::new();
        self.cached = 0;
        self.complete = false;
    }
}
