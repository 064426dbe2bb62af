//! What people and addresses spell: meeting codes, ids, the secret of a link.

use darktower_e2ee::LinkSecret;
use darktower_wire::ids::{MeetingCode, MeetingId, ParticipantId};

/// Reads `data` as each of them.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(code) = text.parse::<MeetingCode>() {
        let shown = code.to_string();
        assert!(
            shown.eq_ignore_ascii_case(text) || shown.replace('-', "").eq_ignore_ascii_case(text)
        );
        assert_eq!(shown.parse(), Ok(code));
    }
    if let Ok(id) = text.parse::<MeetingId>() {
        assert_eq!(id.to_string(), text, "two texts for one id");
        assert!(text.parse::<ParticipantId>().is_ok());
    }
    if let Ok(link) = LinkSecret::from_fragment(text) {
        assert_eq!(&**link.to_fragment(), text, "two texts for one secret");
    }
}
