//! Those who ask the API for the same again and again, and how long they are not answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darktower_client::{Api, ApiError, CreateMeeting};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How often each asks.
const EVERY: Duration = Duration::from_millis(50);
/// What is answered later is not answered.
const WITHIN: Duration = Duration::from_secs(2);
/// Who was answered each time for so long is well.
const STEADY: Duration = Duration::from_secs(2);

/// One who asks until it is dropped, by a new connection each time.
pub(crate) struct Asker {
    told: Arc<Mutex<Told>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Told {
    /// When it was answered first after the last failure, and when last.
    well: Option<(Instant, Instant)>,
    failed: Option<String>,
    /// The meetings that it was told are created.
    codes: Vec<String>,
}

#[derive(Debug, Clone)]
enum Question {
    Lookup(String),
    Create,
}

impl Asker {
    /// One who comes to a meeting.
    pub(crate) fn newcomer(server: String, code: String) -> Self {
        Self::start(server, Question::Lookup(code))
    }

    /// One who creates meetings.
    pub(crate) fn writer(server: String) -> Self {
        Self::start(server, Question::Create)
    }

    fn start(server: String, question: Question) -> Self {
        let told: Arc<Mutex<Told>> = Arc::default();
        let noted = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let mut due = interval(EVERY);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                due.tick().await;
                let answer = timeout(WITHIN, question.ask(&server)).await;
                let answer = answer.unwrap_or(Err(ApiError::TimedOut));
                noted
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note(answer);
            }
        });
        Self { told, task }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was answered counts from now.
    pub(crate) fn reset(&self) {
        let mut told = self.told();
        told.well = None;
        told.failed = None;
    }

    /// Since when it is answered each time, if that is well now.
    pub(crate) fn well_since(&self) -> Option<Instant> {
        let (first, last) = self.told().well?;
        (last - first >= STEADY).then_some(first)
    }

    /// Why it was not answered last, since the reset.
    pub(crate) fn failed(&self) -> Option<String> {
        self.told().failed.clone()
    }

    /// The meetings that it was told are created, all the time.
    pub(crate) fn codes(&self) -> Vec<String> {
        self.told().codes.clone()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Told {
    fn note(&mut self, answer: Result<Option<String>, ApiError>) {
        match answer {
            Ok(code) => {
                let now = Instant::now();
                let (first, _) = self.well.unwrap_or((now, now));
                self.well = Some((first, now));
                self.codes.extend(code);
            }
            Err(error) => {
                self.well = None;
                self.failed = Some(error.to_string());
            }
        }
    }
}

impl Question {
    /// The code of the meeting that was created.
    async fn ask(&self, server: &str) -> Result<Option<String>, ApiError> {
        let api = Api::new(server)?;
        match self {
            Self::Lookup(code) => {
                api.lookup(code, None).await?;
                Ok(None)
            }
            Self::Create => {
                let created = api.create_meeting(&CreateMeeting::default()).await?;
                Ok(Some(created.meeting.code))
            }
        }
    }
}
