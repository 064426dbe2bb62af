//! What of a meeting outlives its controller: the records, and the changes that
//! are appended to the recoverable log. Applying the same changes to the same
//! records gives the same records.

use bytes::Bytes;
use darktower_wire::ids::ParticipantId;
use darktower_wire::signal::{self, Layer};

use crate::fingerprint;

/// How many commits are kept for ends that come back.
pub(super) const KEPT_COMMITS: usize = 64;

/// How many removed participants are remembered: their tokens live 5 minutes.
const KEPT_REMOVED: usize = 1024;

/// A meeting's records: its snapshot is this, encoded.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Records {
    #[prost(message, optional, tag = "1")]
    pub(super) meeting: Option<signal::Meeting>,
    /// Counts changes; what the participants see as `sequence`.
    #[prost(uint64, tag = "2")]
    pub(super) sequence: u64,
    #[prost(uint32, tag = "3")]
    pub(super) last_track: u32,
    /// The code it ended with, plus one; 0 while it goes on.
    #[prost(uint32, tag = "4")]
    pub(super) ended: u32,
    /// By id.
    #[prost(message, repeated, tag = "5")]
    pub(super) seats: Vec<Seat>,
    #[prost(message, optional, tag = "6")]
    pub(super) keys: Option<Keys>,
    #[prost(message, repeated, tag = "9")]
    pub(super) removed: Vec<Removed>,
    /// Of the last commit; never goes back, so that a voided one stays voided.
    #[prost(uint64, tag = "8")]
    pub(super) last_serial: u64,
    /// The node of the media handler that newcomers go to; empty where there was none yet.
    #[prost(bytes = "bytes", tag = "10")]
    pub(super) handler: Bytes,
}

/// Somebody who may not come back, and why: whoever did not hear it when the
/// connection was closed asks again and is to hear the same.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Removed {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    /// A code's number.
    #[prost(uint32, tag = "2")]
    pub(super) code: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Seat {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(enumeration = "signal::Role", tag = "3")]
    pub(super) role: i32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) resume_sha256: Bytes,
    #[prost(bytes = "bytes", tag = "5")]
    pub(super) ticket_sha256: Bytes,
    /// When the seat is given up, unix milliseconds; 0 where somebody is on it.
    #[prost(uint64, tag = "6")]
    pub(super) away_until_ms: u64,
    #[prost(message, repeated, tag = "7")]
    pub(super) tracks: Vec<Track>,
    #[prost(uint32, repeated, tag = "8")]
    pub(super) unwanted: Vec<u32>,
    /// The media handler it is on; empty where that is the meeting's.
    #[prost(bytes = "bytes", tag = "9")]
    pub(super) handler: Bytes,
    /// When it was taken first, unix milliseconds; 0 in what a former release wrote.
    #[prost(uint64, tag = "10")]
    pub(super) joined_ms: u64,
    /// Codec strings that its participant decodes; empty where it has not said.
    #[prost(string, repeated, tag = "11")]
    pub(super) decodes: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Track {
    #[prost(uint32, tag = "1")]
    pub(super) id: u32,
    #[prost(uint32, tag = "2")]
    pub(super) handle: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) description: Bytes,
    #[prost(bool, tag = "4")]
    pub(super) muted: bool,
    #[prost(bool, tag = "5")]
    pub(super) video: bool,
    #[prost(bool, tag = "7")]
    pub(super) screen: bool,
    /// Of video at least one, the smallest first.
    #[prost(message, repeated, tag = "8")]
    pub(super) layers: Vec<Layer>,
}

/// The key group as far as the controller can see it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Keys {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) group: Bytes,
    /// The newest confirmed epoch and its public state.
    #[prost(uint64, tag = "2")]
    pub(super) confirmed_epoch: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) confirmed_info: Bytes,
    /// Commits up to this serial are confirmed.
    #[prost(uint64, tag = "4")]
    pub(super) confirmed: u64,
    /// The last commits, each building on the one before.
    #[prost(message, repeated, tag = "5")]
    pub(super) log: Vec<Commit>,
    #[prost(message, repeated, tag = "6")]
    pub(super) members: Vec<Member>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Member {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) id: Bytes,
    #[prost(uint32, tag = "2")]
    pub(super) leaf: u32,
    /// It may have followed a commit that was voided: it has to join again.
    #[prost(bool, tag = "3")]
    pub(super) astray: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Commit {
    #[prost(uint64, tag = "1")]
    pub(super) serial: u64,
    /// The epoch it leads to.
    #[prost(uint64, tag = "2")]
    pub(super) epoch: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(super) commit: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) by: Bytes,
    /// The committer's leaf after it.
    #[prost(uint32, tag = "5")]
    pub(super) leaf: u32,
    /// Made by somebody who joined by it.
    #[prost(bool, tag = "6")]
    pub(super) external: bool,
    /// Kept while tentative.
    #[prost(bytes = "bytes", tag = "7")]
    pub(super) group_info: Bytes,
    /// The committer as a member before it.
    #[prost(message, optional, tag = "8")]
    pub(super) before: Option<Member>,
    /// Whom it removed.
    #[prost(message, repeated, tag = "9")]
    pub(super) removed: Vec<Member>,
}

/// One entry of the recoverable log.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    #[prost(
        oneof = "Change",
        tags = "1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"
    )]
    pub(super) change: Option<Change>,
}

/// One change of the records.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Change {
    /// A seat is now like this.
    #[prost(message, tag = "1")]
    Seat(Seat),
    #[prost(bytes = "bytes", tag = "2")]
    SeatGone(Bytes),
    #[prost(message, tag = "12")]
    Removed(Removed),
    /// The code's number.
    #[prost(uint32, tag = "4")]
    Ended(u32),
    /// A key group was founded.
    #[prost(message, tag = "5")]
    Founded(Keys),
    #[prost(message, tag = "6")]
    Committed(Commit),
    /// All commits up to this serial are confirmed.
    #[prost(uint64, tag = "7")]
    Confirmed(u64),
    /// This commit and all on it are void.
    #[prost(uint64, tag = "8")]
    Voided(u64),
    /// Fresh public state of the newest epoch.
    #[prost(bytes = "bytes", tag = "9")]
    GroupInfo(Bytes),
    /// The group is forgotten.
    #[prost(bool, tag = "10")]
    Forgotten(bool),
    /// This member has to join the group again.
    #[prost(bytes = "bytes", tag = "11")]
    Astray(Bytes),
    /// All of the meeting is on this media handler.
    #[prost(bytes = "bytes", tag = "13")]
    Handler(Bytes),
    /// Newcomers go to this media handler; all others stay where they are.
    #[prost(bytes = "bytes", tag = "14")]
    Spread(Bytes),
    /// Those on one media handler are on another.
    #[prost(message, tag = "15")]
    Moved(Moved),
}

/// From one media handler to another.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Moved {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) from: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) to: Bytes,
}

impl Records {
    pub(super) fn apply(&mut self, change: Change) {
        self.sequence += 1;
        match change {
            Change::Seat(seat) => {
                let newest = seat.tracks.iter().map(|track| track.id).max();
                self.last_track = self.last_track.max(newest.unwrap_or_default());
                match self.place(&seat.id) {
                    Ok(at) => self.seats[at] = seat,
                    Err(at) => self.seats.insert(at, seat),
                }
            }
            Change::SeatGone(id) => {
                if let Ok(at) = self.place(&id) {
                    self.seats.remove(at);
                }
            }
            Change::Removed(one) => {
                if self.removed.len() >= KEPT_REMOVED {
                    self.removed.remove(0);
                }
                self.removed.push(one);
            }
            Change::Ended(code) => {
                self.ended = code.saturating_add(1);
                self.seats.clear();
                self.keys = None;
            }
            Change::Founded(keys) => self.keys = Some(keys),
            Change::Committed(commit) => {
                self.last_serial = self.last_serial.max(commit.serial);
                if let Some(keys) = &mut self.keys {
                    keys.commit(commit);
                }
            }
            Change::Confirmed(serial) => {
                if let Some(keys) = &mut self.keys {
                    keys.confirm(serial);
                }
            }
            Change::Voided(serial) => {
                if let Some(keys) = &mut self.keys {
                    keys.void(serial);
                }
            }
            Change::GroupInfo(info) => {
                if let Some(keys) = &mut self.keys {
                    match keys
                        .log
                        .last_mut()
                        .filter(|last| last.serial > keys.confirmed)
                    {
                        Some(tentative) => tentative.group_info = info,
                        None => keys.confirmed_info = info,
                    }
                }
            }
            Change::Forgotten(_) => self.keys = None,
            Change::Handler(node) => {
                self.handler = node;
                self.seats.iter_mut().for_each(|seat| seat.handler.clear());
            }
            Change::Spread(node) => {
                let former = std::mem::replace(&mut self.handler, node);
                self.settle_homes(|home| {
                    if home.is_empty() {
                        *home = former.clone()
                    }
                });
            }
            Change::Moved(Moved { from, to }) => {
                if self.handler == from {
                    self.handler = to.clone();
                }
                self.settle_homes(|home| {
                    if *home == from {
                        *home = to.clone()
                    }
                });
            }
            Change::Astray(id) => {
                let members = self.keys.iter_mut().flat_map(|keys| &mut keys.members);
                for member in members.filter(|member| member.id == id) {
                    member.astray = true;
                }
            }
        }
    }

    /// Changes where seats are; nobody is away from the meeting's handler by name.
    fn settle_homes(&mut self, change: impl Fn(&mut Bytes)) {
        for seat in &mut self.seats {
            change(&mut seat.handler);
            if seat.handler == self.handler {
                seat.handler.clear();
            }
        }
    }

    pub(super) fn seat(&self, id: ParticipantId) -> Option<&Seat> {
        self.place(&id.0).ok().map(|at| &self.seats[at])
    }

    fn place(&self, id: &[u8]) -> Result<usize, usize> {
        self.seats.binary_search_by(|seat| seat.id[..].cmp(id))
    }
}

impl Seat {
    pub(super) fn participant(&self) -> ParticipantId {
        participant(&self.id)
    }
}

impl Keys {
    /// The newest epoch, tentative or not.
    pub(super) fn epoch(&self) -> u64 {
        self.log
            .last()
            .map_or(self.confirmed_epoch, |last| last.epoch)
    }

    /// Whether it went through `epoch` by the very commit that is known by `sha256`. A former owner that went on when it
    /// was one no more led to the same numbers in another group. Of what is older than the log nothing is known.
    pub(super) fn has(&self, epoch: u64, sha256: &[u8]) -> bool {
        match self.log.iter().find(|commit| commit.epoch == epoch) {
            Some(commit) => sha256 == fingerprint::sha256(&commit.commit),
            None => epoch == 0 && sha256 == fingerprint::sha256(&self.group),
        }
    }

    /// The public state of the newest epoch.
    pub(super) fn group_info(&self) -> &Bytes {
        self.tentative()
            .last()
            .map_or(&self.confirmed_info, |last| &last.group_info)
    }

    pub(super) fn tentative(&self) -> impl DoubleEndedIterator<Item = &Commit> {
        self.log
            .iter()
            .filter(|commit| commit.serial > self.confirmed)
    }

    pub(super) fn member(&self, id: ParticipantId) -> Option<&Member> {
        self.members.iter().find(|member| member.id[..] == id.0)
    }

    fn commit(&mut self, commit: Commit) {
        self.members.retain(|member| {
            member.id != commit.by && !commit.removed.iter().any(|gone| gone.id == member.id)
        });
        self.members.push(Member {
            id: commit.by.clone(),
            leaf: commit.leaf,
            astray: false,
        });
        self.members.sort_by_key(|member| member.leaf);
        self.log.push(commit);
        self.forget_old();
    }

    fn confirm(&mut self, serial: u64) {
        for commit in &mut self.log {
            if commit.serial > self.confirmed && commit.serial <= serial {
                self.confirmed_epoch = commit.epoch;
                self.confirmed_info = std::mem::take(&mut commit.group_info);
                commit.before = None;
                commit.removed.clear();
            }
        }
        self.confirmed = self.confirmed.max(serial);
        self.forget_old();
    }

    fn void(&mut self, serial: u64) {
        while self
            .log
            .last()
            .is_some_and(|last| last.serial >= serial && last.serial > self.confirmed)
        {
            let Some(commit) = self.log.pop() else {
                return;
            };
            self.members.retain(|member| member.id != commit.by);
            self.members.extend(commit.before.map(|before| Member {
                astray: true,
                ..before
            }));
            self.members.extend(commit.removed);
        }
        self.members.sort_by_key(|member| member.leaf);
    }

    fn forget_old(&mut self) {
        while self.log.len() > KEPT_COMMITS
            && self
                .log
                .first()
                .is_some_and(|first| first.serial <= self.confirmed)
        {
            self.log.remove(0);
        }
    }
}

/// The id in a record; records hold nothing but what was checked.
pub(super) fn participant(id: &[u8]) -> ParticipantId {
    ParticipantId::from_slice(id).unwrap_or_default()
}
