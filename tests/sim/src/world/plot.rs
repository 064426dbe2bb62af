//! What dishonest servers can do together.

use super::World;
use super::events::Event;
use crate::handler::ToParticipant;

/// Streams that were meant for another get numbers far from the own ones.
const FOREIGN: u64 = 1 << 40;

/// Controller and handler keep somebody in who was sent away: no word of the
/// controller gets through, and whatever another is sent comes here as well.
#[derive(Debug, Clone, Copy)]
pub struct Plot {
    /// Who is kept in.
    pub whom: usize,
    /// Whose frames it gets.
    pub like: usize,
}

impl World {
    /// Whether news of the controller, or the end of the media session, are kept from this end.
    pub(super) fn is_kept_from(&self, end: usize) -> bool {
        self.plot.is_some_and(|plot| plot.whom == end)
    }

    /// Gives the one who is kept in what the handler sends to `end`.
    pub(super) fn leak(&mut self, end: usize, what: &ToParticipant) {
        let Some(plot) = self.plot.filter(|plot| plot.like == end) else {
            return;
        };
        let what = match what {
            ToParticipant::Stream { stream, bytes, fin } => ToParticipant::Stream {
                stream: FOREIGN + stream,
                bytes: bytes.clone(),
                fin: *fin,
            },
            ToParticipant::Reset { stream } => ToParticipant::Reset {
                stream: FOREIGN + stream,
            },
            ToParticipant::Datagram(bytes) => ToParticipant::Datagram(bytes.clone()),
            ToParticipant::Control(_) | ToParticipant::Closed(_) => return,
        };
        let connection = self.ends[plot.whom].connection[1];
        let at = self.now + self.ends[plot.whom].round_trip / 2;
        let end = plot.whom;
        self.queue.send(
            at,
            Event::Media {
                end,
                connection,
                what,
            },
        );
    }
}
