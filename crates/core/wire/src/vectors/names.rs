//! Ids, meeting codes, the clear frame of key agreement, and the table of error codes.

use crate::code::{Code, Fault};
use crate::ids::{MeetingCode, MeetingId, NodeId, ParticipantId};
use crate::mls::{self, Committer};

use super::case::{Case, same, same_bytes};

pub(super) fn commit(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    let frame = match mls::commit_frame(&bytes) {
        Ok(frame) => frame,
        Err(error) => return case.refused(error),
    };
    same_bytes("group", frame.group, &case.bytes("group")?)?;
    same("epoch", frame.epoch, case.number("epoch")?)?;
    let committer = match case.0.get("leaf") {
        Some(_) => Committer::Member(case.small("leaf")?),
        None => Committer::Newcomer,
    };
    same("committer", frame.committer, committer)
}

pub(super) fn group_info(case: Case<'_>) -> Result<(), String> {
    let bytes = case.bytes("bytes")?;
    match mls::group_info_frame(&bytes) {
        Ok((group, epoch)) => {
            same_bytes("group", group, &case.bytes("group")?)?;
            same("epoch", epoch, case.number("epoch")?)
        }
        Err(error) => case.refused(error),
    }
}

pub(super) fn removed_leaves(case: Case<'_>) -> Result<(), String> {
    let leaves = match mls::removed_leaves(&case.bytes("bytes")?) {
        Ok(leaves) => leaves,
        Err(error) => return case.refused(error),
    };
    let wanted: Vec<Option<u64>> = case
        .list("leaves")?
        .iter()
        .map(|leaf| leaf.as_u64())
        .collect();
    let leaves = leaves
        .into_iter()
        .map(|leaf| Some(u64::from(leaf)))
        .collect();
    same("leaves", leaves, wanted)
}

pub(super) fn id(case: Case<'_>) -> Result<(), String> {
    let text = case.text("text")?;
    let (meeting, participant, node) = (
        text.parse::<MeetingId>(),
        text.parse::<ParticipantId>(),
        text.parse::<NodeId>(),
    );
    if !case.flag("valid")? {
        return same(
            "validity",
            (meeting.is_ok(), participant.is_ok(), node.is_ok()),
            (false, false, false),
        );
    }
    let bytes = case.bytes("bytes")?;
    let meeting = meeting.map_err(|error| error.to_string())?;
    same_bytes("meeting id", &meeting.0, &bytes)?;
    same_bytes(
        "participant id",
        &participant.map_err(|error| error.to_string())?.0,
        &bytes,
    )?;
    same_bytes(
        "node id",
        &node.map_err(|error| error.to_string())?.0,
        &bytes,
    )?;
    same("text", meeting.to_string().as_str(), text)?;
    same("id", MeetingId::from_slice(&bytes), Ok(meeting))
}

pub(super) fn meeting_code(case: Case<'_>) -> Result<(), String> {
    let parsed = case.text("text")?.parse::<MeetingCode>();
    match (case.flag("valid")?, parsed) {
        (true, Ok(code)) => same("code", code.to_string().as_str(), case.text("code")?),
        (false, Err(_)) => Ok(()),
        (_, parsed) => Err(format!("parsed as {parsed:?}")),
    }
}

pub(super) fn error_code(case: Case<'_>) -> Result<(), String> {
    let code = Code::from_number(case.small("number")?).ok_or("no such number")?;
    same("name", code.name(), case.text("name")?)?;
    same("retryable", code.is_retryable(), case.flag("retryable")?)?;
    let fault = match code.fault() {
        Fault::None => "none",
        Fault::Caller => "caller",
        Fault::Service => "service",
    };
    same("fault", fault, case.text("fault")?)?;
    same("http", code.http_status(), case.small("http")?)?;
    same("grpc", code.grpc_status(), case.small("grpc")?)
}

/// A table that lacks a code is as wrong as one that has another.
pub(super) fn whole_table(cases: usize) -> Result<(), String> {
    same("table length", Code::ALL.len(), cases)
}
