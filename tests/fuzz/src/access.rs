//! JSON that an end is handed: the API's answer to "may I join?", and commands.

use darktower_participant::{Access, Command};

/// Reads `data` as both.
pub fn run(data: &[u8]) {
    let _ = serde_json::from_slice::<Access>(data);
    let _ = serde_json::from_slice::<Command>(data);
}
