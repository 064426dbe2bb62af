//! Meetings that somebody comes to while the state store fails: who comes shall get in.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::crowd::{Meeting, Person};
use crate::system::System;

const MEETINGS: usize = 3;
/// Who is not in by then tries anew.
const TRIES_FOR: Duration = Duration::from_secs(2);

/// Meetings of one, on the master that the registry of nodes is on: both fail at once.
pub(crate) struct Visited(Vec<Meeting>);

impl Visited {
    pub(crate) async fn begin(system: &System) -> anyhow::Result<Self> {
        let mut meetings = Vec::new();
        while meetings.len() < MEETINGS {
            let mut meeting = Meeting::create(&system.api()).await?;
            if system.is_beside_the_registry(&meeting.id)? {
                meeting
                    .gather(&system.api(), &system.ways(), 1, None)
                    .await?;
                meetings.push(meeting);
            }
        }
        Ok(Self(meetings))
    }

    /// How long after `began` somebody was in each, by one of these global controllers; `None` where that is longer than
    /// `within`.
    pub(crate) async fn enter(
        &self,
        globals: &[String],
        began: Instant,
        within: Duration,
    ) -> Vec<Option<Duration>> {
        let mut visits = JoinSet::new();
        for meeting in &self.0 {
            let (code, globals) = (meeting.code.clone(), globals.to_owned());
            visits.spawn(async move {
                for server in globals.iter().cycle() {
                    if let Ok(Ok(visitor)) = timeout(TRIES_FOR, Person::visit(server, &code)).await
                    {
                        let took = began.elapsed();
                        visitor.leave().await;
                        return Some(took);
                    }
                    if began.elapsed() > within {
                        break;
                    }
                }
                None
            });
        }
        visits.join_all().await
    }

    pub(crate) async fn leave(self) {
        for meeting in self.0 {
            meeting.leave().await;
        }
    }
}
