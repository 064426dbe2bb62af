//! What is counted, under the names that dashboards know.

use std::time::Duration;

use darktower_placement::Health;
use darktower_wire::Code;
use metrics::{counter, gauge, histogram};

pub(crate) fn sizes(sessions: usize, meetings: usize) {
    gauge!("darktower_meeting_sessions").set(sessions as f64);
    gauge!("darktower_meeting_meetings").set(meetings as f64);
}

pub(crate) fn received() {
    counter!("darktower_meeting_messages_received_total").increment(1);
}

pub(crate) fn sent() {
    counter!("darktower_meeting_messages_sent_total").increment(1);
}

/// A message was handled, its effects performed.
pub(crate) fn handled(took: Duration) {
    histogram!("darktower_meeting_message_seconds").record(took.as_secs_f64());
}

/// Something was refused: a session, a request.
pub(crate) fn refused(what: &'static str, code: Code) {
    counter!("darktower_meeting_refused_total", "what" => what, "code" => code.name()).increment(1);
}

/// Media comes through a handler otherwise than before.
pub(crate) fn media(before: Health, now: Health) {
    let change = |health, by: f64| match health {
        Health::Sound | Health::Shaky | Health::Cut => {}
        Health::Lossy => gauge!("darktower_meeting_handlers_lossy").increment(by),
        Health::Silent => gauge!("darktower_meeting_handlers_deaf").increment(by),
    };
    change(before, -1.0);
    change(now, 1.0);
}

/// A session ended.
pub(crate) fn session_closed(code: Code) {
    counter!("darktower_meeting_sessions_closed_total", "code" => code.name()).increment(1);
}

/// A meeting came to life here: new, or taken over.
pub(crate) fn opened(how: &'static str) {
    counter!("darktower_meeting_opened_total", "how" => how).increment(1);
}

/// A meeting goes to a controller that carries less.
pub(crate) fn moved() {
    counter!("darktower_meeting_balanced_total").increment(1);
}

/// A meeting leaves a handler of which its participants hear nothing.
pub(crate) fn unheard() {
    counter!("darktower_meeting_handlers_unheard_total").increment(1);
}

/// The log could not be written.
pub(crate) fn unsaved() {
    counter!("darktower_meeting_unsaved_writes_total").increment(1);
}

/// What happened in a meeting will not be known.
pub(crate) fn report_lost() {
    counter!("darktower_meeting_reports_lost_total").increment(1);
}

/// A handler's connection came or went.
pub(crate) fn handler(up: bool) {
    gauge!("darktower_meeting_handlers").increment(if up { 1.0 } else { -1.0 });
}
