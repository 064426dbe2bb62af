//! Meetings that were read lately, for when the database does not answer: a
//! meeting that runs, and whoever comes back to it, does not lean on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darktower_store::Error as StoreError;
use darktower_store::database::Meeting;
use darktower_wire::ids::{MeetingCode, MeetingId};

use crate::problem::Problem;

/// Meetings remembered, some hundred bytes each; the one that was read longest
/// ago goes first.
const ROOM: usize = 10_000;

/// What was read is believed for so long. It may have ended meanwhile, by
/// another instance: then its controller says so, or a meeting that nobody
/// else comes to is open for a while.
const BELIEVED: Duration = Duration::from_secs(60 * 60);

/// A database that failed is not asked for so long about what is known here:
/// its silence costs more time than a participant has.
const AWAY: Duration = Duration::from_secs(1);

/// What a meeting is asked for by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    Id(MeetingId),
    Code(MeetingCode),
}

/// The memory.
#[derive(Debug, Default)]
pub(crate) struct Known {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    meetings: BTreeMap<MeetingId, Entry>,
    codes: BTreeMap<MeetingCode, MeetingId>,
    /// By the number of their last reading.
    order: BTreeMap<u64, MeetingId>,
    readings: u64,
    away_until: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    meeting: Meeting,
    reading: u64,
    read: Instant,
}

impl Tables {
    fn get(&self, name: Name, now: Instant) -> Option<Meeting> {
        let id = match name {
            Name::Id(id) => id,
            Name::Code(code) => *self.codes.get(&code)?,
        };
        let entry = self.meetings.get(&id)?;
        (now - entry.read < BELIEVED).then(|| entry.meeting.clone())
    }

    fn remove(&mut self, id: MeetingId) {
        if let Some(entry) = self.meetings.remove(&id) {
            self.codes.remove(&entry.meeting.code);
            self.order.remove(&entry.reading);
        }
    }
}

impl Known {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change below is complete before anything can panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database has said this.
    pub(crate) fn remember(&self, meeting: &Meeting) {
        let mut tables = self.tables();
        tables.remove(meeting.id);
        tables.readings += 1;
        let reading = tables.readings;
        let entry = Entry {
            meeting: meeting.clone(),
            reading,
            read: Instant::now(),
        };
        tables.codes.insert(meeting.code, meeting.id);
        tables.order.insert(reading, meeting.id);
        tables.meetings.insert(meeting.id, entry);
        if tables.meetings.len() > ROOM
            && let Some((_, oldest)) = tables.order.pop_first()
        {
            tables.remove(oldest);
        }
    }

    /// The meeting, where the database failed a moment ago.
    pub(crate) fn instead(&self, name: Name) -> Option<Meeting> {
        let now = Instant::now();
        let tables = self.tables();
        let is_away = tables.away_until.is_some_and(|until| now < until);
        is_away.then(|| tables.get(name, now)).flatten()
    }

    /// The database has failed now: the meeting, where it is known.
    pub(crate) fn after(&self, error: StoreError, name: Name) -> Result<Meeting, Problem> {
        let now = Instant::now();
        let mut tables = self.tables();
        tables.away_until = Some(now + AWAY);
        let known = tables.get(name, now);
        drop(tables);
        match known {
            Some(meeting) => {
                tracing::info!(%error, meeting_id = %meeting.id, "a meeting is answered for from memory");
                Ok(meeting)
            }
            None => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meeting(n: u32) -> Meeting {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let mut letters = [0; 10];
        for (at, letter) in letters.iter_mut().enumerate() {
            *letter = (n / 26_u32.pow(at as u32 % 6) % 26) as u8;
        }
        Meeting {
            id: MeetingId(id),
            code: MeetingCode::from_letters(letters),
            title: String::new(),
            max_participants: 2,
            key_in_link: false,
            host_key_sha256: [0; 32],
            created_ms: 0,
            ended_ms: None,
        }
    }

    #[test]
    fn it_is_bounded_and_forgets_what_was_read_longest_ago() {
        let known = Known::default();
        known.remember(&meeting(0));
        for n in 1..=ROOM as u32 {
            known.remember(&meeting(n));
            if n == 5 {
                known.remember(&meeting(0));
            }
        }
        let of = |n| {
            known
                .after(StoreError::TimedOut, Name::Code(meeting(n).code))
                .ok()
        };
        assert_eq!(of(0), Some(meeting(0)), "read again since");
        assert_eq!(of(1), None);
        assert_eq!(of(2), Some(meeting(2)));
        let tables = known.tables();
        let sizes = (
            tables.meetings.len(),
            tables.codes.len(),
            tables.order.len(),
        );
        assert_eq!(sizes, (ROOM, ROOM, ROOM));
    }

    #[test]
    fn memory_is_asked_after_a_failure_alone() {
        let known = Known::default();
        let name = Name::Id(meeting(1).id);
        known.remember(&meeting(1));
        assert_eq!(known.instead(name), None);
        assert!(
            known
                .after(StoreError::TimedOut, Name::Id(meeting(2).id))
                .is_err()
        );
        assert_eq!(known.instead(name), Some(meeting(1)));
    }
}
