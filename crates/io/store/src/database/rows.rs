//! From a row to what it says, the same for every backend.

use darktower_wire::ids::{MeetingId, ParticipantId};
use darktower_wire::token::Role;

use super::{Account, AuditEntry, Meeting, Participation};
use crate::Error;

/// A row's columns by name, in the few types that are stored.
pub(super) trait Columns {
    fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, Error>;
    fn text(&self, column: &'static str) -> Result<Option<String>, Error>;
    fn number(&self, column: &'static str) -> Result<Option<i64>, Error>;
    fn truth(&self, column: &'static str) -> Result<bool, Error>;
}

/// Columns of a backend's rows.
macro_rules! columns {
    ($row:ty) => {
        impl $crate::database::rows::Columns for $row {
            fn bytes(&self, column: &'static str) -> Result<Option<Vec<u8>>, $crate::Error> {
                Ok(sqlx::Row::try_get(self, column)?)
            }

            fn text(&self, column: &'static str) -> Result<Option<String>, $crate::Error> {
                Ok(sqlx::Row::try_get(self, column)?)
            }

            fn number(&self, column: &'static str) -> Result<Option<i64>, $crate::Error> {
                Ok(sqlx::Row::try_get(self, column)?)
            }

            fn truth(&self, column: &'static str) -> Result<bool, $crate::Error> {
                Ok(sqlx::Row::try_get(self, column)?)
            }
        }
    };
}
pub(super) use columns;

fn unreadable(column: &'static str) -> Error {
    Error::Corrupt(format!("column {column}"))
}

fn there<T>(value: Option<T>, column: &'static str) -> Result<T, Error> {
    value.ok_or_else(|| unreadable(column))
}

fn text(row: &impl Columns, column: &'static str) -> Result<String, Error> {
    there(row.text(column)?, column)
}

fn number<T: TryFrom<i64>>(row: &impl Columns, column: &'static str) -> Result<T, Error> {
    there(optional_number(row, column)?, column)
}

fn optional_number<T: TryFrom<i64>>(
    row: &impl Columns,
    column: &'static str,
) -> Result<Option<T>, Error> {
    let number = row.number(column)?;
    number
        .map(|number| number.try_into().map_err(|_| unreadable(column)))
        .transpose()
}

fn bytes<const N: usize>(row: &impl Columns, column: &'static str) -> Result<[u8; N], Error> {
    there(optional_bytes(row, column)?, column)
}

fn optional_bytes<const N: usize>(
    row: &impl Columns,
    column: &'static str,
) -> Result<Option<[u8; N]>, Error> {
    let bytes = row.bytes(column)?;
    bytes
        .map(|bytes| bytes.try_into().map_err(|_| unreadable(column)))
        .transpose()
}

/// As it is stored. No time of ours is beyond what fits.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// As it is stored.
pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Guest => "guest",
        Role::Member => "member",
        Role::Host => "host",
    }
}

fn role(row: &impl Columns) -> Result<Role, Error> {
    match text(row, "role")?.as_str() {
        "guest" => Ok(Role::Guest),
        "member" => Ok(Role::Member),
        "host" => Ok(Role::Host),
        _ => Err(unreadable("role")),
    }
}

pub(super) fn meeting(row: &impl Columns) -> Result<Meeting, Error> {
    let code = text(row, "code")?.parse();
    Ok(Meeting {
        id: MeetingId(bytes(row, "id")?),
        code: code.map_err(|_| unreadable("code"))?,
        title: text(row, "title")?,
        max_participants: number(row, "max_participants")?,
        key_in_link: row.truth("key_in_link")?,
        host_key_sha256: bytes(row, "host_key_sha256")?,
        created_ms: number(row, "created_ms")?,
        ended_ms: optional_number(row, "ended_ms")?,
    })
}

pub(super) fn account(row: &impl Columns) -> Result<Account, Error> {
    Ok(Account {
        id: bytes(row, "id")?,
        name: text(row, "name")?,
        password_hash: row.text("password_hash")?,
        created_ms: number(row, "created_ms")?,
    })
}

pub(super) fn participation(row: &impl Columns) -> Result<Participation, Error> {
    Ok(Participation {
        participant: ParticipantId(bytes(row, "participant")?),
        meeting: MeetingId(bytes(row, "meeting")?),
        role: role(row)?,
        account: optional_bytes(row, "account")?,
        admitted_ms: number(row, "admitted_ms")?,
        left_ms: optional_number(row, "left_ms")?,
    })
}

pub(super) fn audit_entry(row: &impl Columns) -> Result<AuditEntry, Error> {
    Ok(AuditEntry {
        at_ms: number(row, "at_ms")?,
        action: text(row, "action")?,
        meeting: optional_bytes(row, "meeting")?.map(MeetingId),
        actor: optional_bytes(row, "actor")?.map(ParticipantId),
        trace_id: text(row, "trace_id")?,
    })
}
