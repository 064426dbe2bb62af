//! Exports for tests alone: the vectors of `proto/vectors`, and the key agreement between two ends in one instance.

use std::sync::{Mutex, PoisonError};

use darktower_e2ee::{Group, Identity, LinkSecret};
use darktower_wire::ids::{MeetingId, ParticipantId};

static MESSAGE: Mutex<String> = Mutex::new(String::new());

/// Where the text of the last failure lies.
#[unsafe(no_mangle)]
extern "C" fn dt_message() -> *const u8 {
    MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).as_ptr()
}

/// How long the text of the last failure is.
#[unsafe(no_mangle)]
extern "C" fn dt_message_len() -> usize {
    MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).len()
}

fn told(result: Result<usize, String>) -> i32 {
    match result {
        Ok(count) => count as i32,
        Err(text) => {
            *MESSAGE.lock().unwrap_or_else(PoisonError::into_inner) = text;
            -1
        }
    }
}

/// How many vectors the JSON text at `pointer` holds, or -1 and a message.
///
/// # Safety
/// `pointer` and `len` describe memory of `dt_alloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn dt_check_vectors(pointer: *const u8, len: usize) -> i32 {
    let json = unsafe { std::slice::from_raw_parts(pointer, len) };
    told(std::str::from_utf8(json).map_err(|error| error.to_string()).and_then(darktower_e2ee::vectors::check))
}

/// Founds a group, lets `count` others join it one after the other, and says how large it is and whether all codes are
/// equal; -1 and a message if not.
#[unsafe(no_mangle)]
extern "C" fn dt_join_groups(wall: f64, count: u32) -> i32 {
    told(join_groups(wall as u64, count).map_err(|error| error.to_string()))
}

fn join_groups(wall: u64, count: u32) -> Result<usize, darktower_e2ee::Error> {
    let link = LinkSecret::generate()?;
    let id = |n: u32| Identity::new(ParticipantId(u128::from(n).to_be_bytes()));
    let mut groups = vec![Group::found(id(0)?, MeetingId::default(), Some(&link), wall)?];
    let mut info = groups[0].group_info()?;
    for n in 1..=count {
        let (group, commit) = Group::join(id(n)?, &info, Some(&link), wall)?;
        for member in &mut groups {
            member.process(&commit.message, wall)?;
        }
        groups.push(group);
        info = commit.group_info;
    }
    let code = groups[0].verification_code()?;
    for group in &groups {
        if group.verification_code()? != code {
            return Err(darktower_e2ee::Error::KeysDiffer);
        }
    }
    Ok(groups[0].members().len())
}
