//! Meetings for when the database does not answer: a meeting that runs, and whoever comes to it, does not lean on it.
//!
//! Each instance remembers what it read lately. What it did not read is in a note in the state store, which whichever
//! instance creates, reads or ends a meeting leaves there for the others.

mod note;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darktower_store::database::Meeting;
use darktower_store::{Error as StoreError, StateStore};
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

/// A note is left again after so long at the earliest: it costs a write, and lives far longer.
const NOTED: Duration = Duration::from_secs(60 * 60);

/// What a meeting is asked for by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Name {
    Id(MeetingId),
    Code(MeetingCode),
}

/// The memory, and the notes that all instances share.
pub(crate) struct Known {
    tables: Mutex<Tables>,
    state: Arc<dyn StateStore>,
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
    /// When a note said the same.
    noted: Option<Instant>,
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

    fn put(&mut self, meeting: &Meeting, read: Instant, noted: Option<Instant>) {
        self.remove(meeting.id);
        self.readings += 1;
        let reading = self.readings;
        let entry = Entry {
            meeting: meeting.clone(),
            reading,
            read,
            noted,
        };
        self.codes.insert(meeting.code, meeting.id);
        self.order.insert(reading, meeting.id);
        self.meetings.insert(meeting.id, entry);
        if self.meetings.len() > ROOM
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(oldest);
        }
    }

    fn remove(&mut self, id: MeetingId) {
        if let Some(entry) = self.meetings.remove(&id) {
            self.codes.remove(&entry.meeting.code);
            self.order.remove(&entry.reading);
        }
    }
}

impl Known {
    /// Nothing yet; notes are in `state`.
    pub(crate) fn new(state: Arc<dyn StateStore>) -> Self {
        Self {
            tables: Mutex::default(),
            state,
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Every change below is complete before anything can panic.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The database has said this. Whether a note should be left of it, which is
    /// for one caller alone to do.
    pub(crate) fn remember(&self, meeting: &Meeting) -> bool {
        let now = Instant::now();
        let mut tables = self.tables();
        let before = tables.meetings.get(&meeting.id);
        let noted = before
            .filter(|entry| entry.meeting == *meeting)
            .and_then(|entry| entry.noted)
            .filter(|noted| now - *noted < NOTED);
        tables.put(meeting, now, noted.or(Some(now)));
        noted.is_none()
    }

    /// Leaves a note of it for the other instances.
    pub(crate) async fn leave_note(&self, meeting: &Meeting) {
        if let Err(error) = note::write(&*self.state, meeting).await {
            metrics::counter!("darktower_global_notes_lost_total").increment(1);
            tracing::info!(%error, meeting_id = %meeting.id, "no note of a meeting could be left");
            // Whoever reads the meeting next tries again.
            if let Some(entry) = self.tables().meetings.get_mut(&meeting.id) {
                entry.noted = None;
            }
        }
    }

    /// The meeting, where the database failed a moment ago.
    pub(crate) async fn instead(&self, name: Name) -> Option<Meeting> {
        let now = Instant::now();
        let away_until = self.tables().away_until;
        match away_until.is_some_and(|until| now < until) {
            true => self.recall(name).await,
            false => None,
        }
    }

    /// The database has failed now: the meeting, where it is known.
    pub(crate) async fn after(&self, error: StoreError, name: Name) -> Result<Meeting, Problem> {
        self.tables().away_until = Some(Instant::now() + AWAY);
        match self.recall(name).await {
            Some(meeting) => {
                tracing::info!(%error, meeting_id = %meeting.id, "a meeting is answered for without the database");
                Ok(meeting)
            }
            None => Err(error.into()),
        }
    }

    /// From memory, or from the note of whichever instance knew.
    async fn recall(&self, name: Name) -> Option<Meeting> {
        let now = Instant::now();
        let known = self.tables().get(name, now);
        if known.is_some() {
            return known;
        }
        let noted = note::read(&*self.state, name).await;
        let noted = noted.inspect_err(|error| tracing::info!(%error, "no note can be read"));
        let meeting = noted.ok().flatten()?;
        self.tables().put(&meeting, now, Some(now));
        Some(meeting)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use darktower_store::MemoryState;

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

    fn known() -> (Arc<MemoryState>, Known) {
        let state = Arc::new(MemoryState::new());
        (state.clone(), Known::new(state))
    }

    async fn after(known: &Known, name: Name) -> Option<Meeting> {
        known.after(StoreError::TimedOut, name).await.ok()
    }

    #[tokio::test]
    async fn it_is_bounded_and_forgets_what_was_read_longest_ago() {
        let (_, known) = known();
        known.remember(&meeting(0));
        for n in 1..=ROOM as u32 {
            known.remember(&meeting(n));
            if n == 5 {
                known.remember(&meeting(0));
            }
        }
        let of = async |n| after(&known, Name::Code(meeting(n).code)).await;
        assert_eq!(of(0).await, Some(meeting(0)), "read again since");
        assert_eq!(of(1).await, None);
        assert_eq!(of(2).await, Some(meeting(2)));
        let tables = known.tables();
        let sizes = (
            tables.meetings.len(),
            tables.codes.len(),
            tables.order.len(),
        );
        assert_eq!(sizes, (ROOM, ROOM, ROOM));
    }

    #[tokio::test]
    async fn memory_is_asked_after_a_failure_alone() {
        let (_, known) = known();
        let name = Name::Id(meeting(1).id);
        known.remember(&meeting(1));
        assert_eq!(known.instead(name).await, None);
        assert_eq!(after(&known, Name::Id(meeting(2).id)).await, None);
        assert_eq!(known.instead(name).await, Some(meeting(1)));
    }

    /// A note is left once, again where it failed or says something else, and is what other instances go by.
    #[tokio::test]
    async fn what_another_instance_noted_is_known() {
        let (state, first) = known();
        let whole = Meeting {
            title: "a \"title\" \u{1F600}".to_owned(),
            host_key_sha256: [200; 32],
            created_ms: 1_800_000_000_000,
            ..meeting(7)
        };
        assert!(first.remember(&whole));
        first.leave_note(&whole).await;
        assert!(!first.remember(&whole));
        let ended = Meeting {
            ended_ms: Some(5),
            ..meeting(8)
        };
        assert!(first.remember(&meeting(8)));
        assert!(first.remember(&ended), "it says something else");
        first.leave_note(&ended).await;
        let second = Known::new(state.clone());
        for name in [Name::Id(whole.id), Name::Code(whole.code)] {
            assert_eq!(after(&second, name).await, Some(whole.clone()));
        }
        assert_eq!(after(&second, Name::Id(ended.id)).await, Some(ended));

        let nonsense = [Bytes::from_static(b"{"), Bytes::from_static(b"\xff")];
        for bytes in nonsense {
            let key = format!("meeting:{}", meeting(9).id);
            let hour = Duration::from_secs(3600);
            state.put_note(&key, bytes, hour).await.unwrap();
            assert_eq!(after(&second, Name::Id(meeting(9).id)).await, None);
        }
    }

    #[tokio::test]
    async fn a_note_that_could_not_be_left_is_left_by_the_next_who_reads() {
        let (_, known) = known();
        let long = Meeting {
            title: "x".repeat(5000),
            ..meeting(1)
        };
        assert!(known.remember(&long));
        known.leave_note(&long).await;
        assert!(known.remember(&long));
    }
}
