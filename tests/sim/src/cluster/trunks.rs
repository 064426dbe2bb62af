//! The trunks that a handler has dialled: connections like those of participants.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use darktower_media::forwarder::SessionId;
use darktower_wire::framing;
use darktower_wire::ids::MeetingId;
use darktower_wire::media_control::{ClientControl, Ping, client_control};

use super::messages::{Conn, MediaCredential, Message, Out, Place};
use crate::handler::ByTrunk;

/// Above those of participants.
const FIRST: Conn = 1 << 62;
/// As the transport of the real ones has it.
const IDLE: Duration = Duration::from_secs(4);
const PING: Duration = Duration::from_secs(1);

struct Trunk {
    to: Place,
    meeting: MeetingId,
    session: SessionId,
    /// The other end has said so.
    is_up: bool,
    heard: Duration,
    ping_at: Duration,
}

pub(super) struct Trunks {
    next: Conn,
    trunks: BTreeMap<Conn, Trunk>,
}

impl Trunks {
    pub(super) fn new(place: Place) -> Self {
        let Place::Handler(n) = place else {
            unreachable!("handlers live at handlers' places");
        };
        Self {
            next: FIRST | u64::from(n) << 32,
            trunks: BTreeMap::new(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        let trunks = self.trunks.values();
        trunks.map(|it| it.ping_at.min(it.heard + IDLE)).min()
    }

    /// Those on which nothing was heard for too long.
    pub(super) fn wake(&mut self, now: Duration, out: &mut Out) -> Vec<(MeetingId, SessionId)> {
        let mut lost = Vec::new();
        self.trunks.retain(|conn, it| {
            if now >= it.heard + IDLE {
                out.send(it.to, Message::Hangup(*conn));
                lost.push((it.meeting, it.session));
                return false;
            }
            if now >= it.ping_at {
                it.ping_at = now + PING;
                let body = Some(client_control::Body::Ping(Ping { sent_us: 0 }));
                let bytes = framing::encode(&ClientControl { body });
                out.send(it.to, control(*conn, bytes));
            }
            true
        });
        lost
    }

    /// Something came on it, or (`up`) the word that it stands, without which there is no connection; whose it is.
    pub(super) fn heard(
        &mut self,
        now: Duration,
        conn: Conn,
        up: bool,
    ) -> Option<(MeetingId, SessionId)> {
        let trunk = self.trunks.get_mut(&conn)?;
        trunk.is_up |= up;
        if !trunk.is_up {
            return None;
        }
        trunk.heard = now;
        Some((trunk.meeting, trunk.session))
    }

    pub(super) fn gone(&mut self, conn: Conn) {
        self.trunks.remove(&conn);
    }

    pub(super) fn perform(
        &mut self,
        now: Duration,
        meeting: MeetingId,
        what: ByTrunk,
        out: &mut Out,
    ) {
        match what {
            ByTrunk::Dial(session, trunk) => {
                let url = format!("{}?ticket=1", trunk.url);
                let Some((to, ..)) = Place::reached_by(&url) else {
                    unreachable!("handlers have URLs");
                };
                self.next += 1;
                let ticket = MediaCredential::Ticket(trunk.ticket.to_vec());
                out.send(to, Message::OpenMedia(self.next, ticket));
                self.trunks.insert(
                    self.next,
                    Trunk {
                        to,
                        meeting,
                        session,
                        is_up: false,
                        heard: now,
                        ping_at: now + PING,
                    },
                );
            }
            ByTrunk::HangUp(session) => {
                if let Some(conn) = self.conn(meeting, session)
                    && let Some(trunk) = self.trunks.remove(&conn)
                {
                    out.send(trunk.to, Message::Hangup(conn));
                }
            }
            ByTrunk::Say(session, bytes) => {
                if let Some(conn) = self.conn(meeting, session)
                    && let Some(trunk) = self.trunks.get(&conn)
                {
                    out.send(trunk.to, control(conn, bytes));
                }
            }
        }
    }

    fn conn(&self, meeting: MeetingId, session: SessionId) -> Option<Conn> {
        let mut trunks = self.trunks.iter();
        let found = trunks.find(|(_, it)| (it.meeting, it.session) == (meeting, session));
        found.map(|(conn, _)| *conn)
    }
}

fn control(conn: Conn, bytes: Bytes) -> Message {
    Message::ToHandler(conn, 0, bytes, false)
}
