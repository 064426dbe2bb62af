//! Replays the `wire-*.json` files of `proto/vectors`. The native and the WASM build run this same code, so that both
//! are held to the same bytes; expected bytes and fields are literals in the files and are made by nothing here.

mod case;
mod media;
mod messages;
mod names;

use serde_json::Value;

use case::Case;

/// Checks every case of one vector file (JSON) and says how many there were, or which one failed and how. A section
/// that is not known here is a failure: nothing is passed over.
pub fn check(json: &str) -> Result<usize, String> {
    let file: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let file = file.as_object().ok_or("not an object")?;
    let mut count = 0;
    for (name, cases) in file {
        let check: Check = match name.as_str() {
            "source" | "note" => continue,
            "varints" => media::varint,
            "varints_not_shortest" => media::varint_not_shortest,
            "headers" => media::header,
            "headers_refused" => media::header_refused,
            "groups" => media::group,
            "datagrams" => media::datagram,
            "framed" => messages::framed,
            "client_messages" => messages::client,
            "server_messages" => messages::server,
            "client_controls" => messages::client_control,
            "server_controls" => messages::server_control,
            "track_descriptions" => messages::track_description,
            "commits" => names::commit,
            "group_infos" => names::group_info,
            "removed_leaves" => names::removed_leaves,
            "ids" => names::id,
            "meeting_codes" => names::meeting_code,
            "error_codes" => names::error_code,
            unknown => return Err(format!("{unknown} is not a kind of vector")),
        };
        let cases = cases
            .as_array()
            .ok_or_else(|| format!("{name} is no list"))?;
        for (at, case) in cases.iter().enumerate() {
            check(Case(case)).map_err(|error| format!("{name}[{at}]: {error}"))?;
        }
        if name == "error_codes" {
            names::whole_table(cases.len())?;
        }
        count += cases.len();
    }
    match count {
        0 => Err("no vectors in this file".into()),
        count => Ok(count),
    }
}

type Check = fn(Case<'_>) -> Result<(), String>;
