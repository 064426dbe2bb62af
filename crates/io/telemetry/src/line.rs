//! One line of the log: a JSON object with `timestamp`, `level`, `component`,
//! `trace_id`, `span_id`, `meeting_id`, `participant_id`, `message` and
//! `metadata`, all of them always there. What an event or the spans around it
//! say besides is in `metadata`; the innermost word wins.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};

/// Fields of a span or an event.
#[derive(Debug, Clone, Default)]
pub struct Fields(pub(crate) Map<String, Value>);

impl Fields {
    /// Takes a text field out.
    pub(crate) fn take_text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        self.0.insert(field.name().to_owned(), Value::String(text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

/// The line, with its line feed. `fields` are the event's over those of the
/// spans around it.
pub fn format(
    at: SystemTime,
    level: tracing::Level,
    target: &str,
    ids: Option<(&str, &str)>,
    mut fields: Fields,
) -> Vec<u8> {
    let meeting = fields.0.remove("meeting_id").unwrap_or(Value::Null);
    let participant = fields.0.remove("participant_id").unwrap_or(Value::Null);
    let message = fields.0.remove("message").unwrap_or_else(|| "".into());
    let line = json!({
        "timestamp": timestamp(at),
        "level": level.as_str(),
        "component": component(target),
        "trace_id": ids.map(|ids| ids.0),
        "span_id": ids.map(|ids| ids.1),
        "meeting_id": meeting,
        "participant_id": participant,
        "message": message,
        "metadata": fields.0,
    });
    let mut bytes = line.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The part of the house a module belongs to: `darktower_media_handler::shard`
/// is `media-handler`.
pub fn component(target: &str) -> String {
    let krate = target.split("::").next().unwrap_or(target);
    let name = krate.strip_prefix("darktower_").unwrap_or(krate);
    name.replace('_', "-")
}

/// RFC 3339 in UTC with microseconds; the epoch for a clock before it.
pub fn timestamp(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, micros) = (since.as_secs(), since.subsec_micros());
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Year, month and day of a number of days since 1970-01-01, with years
/// counted from March so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}
